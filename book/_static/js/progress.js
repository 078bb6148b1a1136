// Progress: labs done and pages read, kept in this browser and nowhere else.
//
// What is kept: localStorage["inside-the-engine:progress"] =
//   {"version": 1, "labs": {"phase-01/lab-03": <when, in ms>}, "pages": {"book/...": <when>}}
// The list of labs that earlier builds kept is taken over once. What cannot be used is put aside
// (see store.js), and the page goes on with nothing ticked.
//
// What each phase consists of comes from course.js, which every build writes:
//   window.insideTheEngine.course = {"02": {labs: [[id, minutes], ...], pages: [[...], ...]}, ...}
//
// CONTRACT for maps, tiles and cards. Any element with
//   data-progress-phase="02"   (or "all", for the whole course)
// gets two custom properties and one attribute,
//   --done   0..1, the share of the minutes of labs that are done
//   --read   0..1, the share of the minutes of pages that are read
//   data-progress="none" | "some" | "all"   (of the labs)
// and this text, in its descendant .progress-text if it has one, else in itself:
//   "2 / 5 labs, 1 h 38 min of 5 h 20 min · 3 / 6 pages"   by default
//   "2 / 5 labs, 1 h 38 min of 5 h 20 min"                 with data-progress-form="labs"
//   "2 / 5 lessons, 40 of 98 minutes"                      with data-progress-form="lessons": of pages
//   no text at all                                         with data-progress-form="none"
// Up to two hours a whole is said in minutes, as book/reading_time.py says it, and so is its part.
// A module beside the phases is counted under its folder's name and has pages only; with the form
// "lessons", data-progress and --done speak of pages.
// A phase that is not written keeps its text, and gets --done: 0. Whenever anything changes,
// document receives the event "progress-changed". Without scripts the built text stays: totals.
//
// What the `labs` command graded comes, when the book is served by `nox -s book`, as the event
// "labs-state" on document, its detail as book/labs_state.py writes it. It counts as done beside
// the reader's own ticks, is shown as graded, is not stored, and erases no tick.

(() => {
  "use strict";

  const { isMap, store, takeOver, course = {} } = window.insideTheEngine;
  const OLD = "inside-the-engine:labs-done";
  const MOST_MINUTES = 120; // said in minutes
  let graded = {};
  let damage = ""; // what could not be read of the command's record

  const isId = (x) => typeof x === "string" && /^[\w./-]{1,200}$/.test(x);

  function ticks(x) {
    if (!isMap(x)) return {};
    return Object.fromEntries(Object.entries(x).filter(([id, at]) => isId(id) && at >= 0));
  }

  const kept = store("progress", 1, ({ labs, pages }) => ({
    labs: ticks(labs),
    pages: ticks(pages),
  }));

  if (kept.isEmpty()) {
    takeOver(OLD, (list) => {
      const labs = Array.isArray(list) ? list.filter(isId).map((lab) => [lab, 0]) : [];
      kept.save({ labs: Object.fromEntries(labs), pages: {} });
    });
  }

  function toggle(kind, id) {
    const state = kept.load();
    if (id in state[kind]) delete state[kind][id];
    else state[kind][id] = Date.now();
    kept.save(state);
    show();
  }

  // ---- what is shown --------------------------------------------------------------------------

  const isGraded = (lab) => graded[lab]?.finished === true;

  function count(entries, isDone) {
    const sum = { all: entries.length, done: 0, minutes: 0, doneMinutes: 0 };
    for (const [id, minutes] of entries) {
      sum.minutes += minutes;
      if (!isDone(id)) continue;
      sum.done += 1;
      sum.doneMinutes += minutes;
    }
    sum.share = sum.minutes ? sum.doneMinutes / sum.minutes : 0;
    return sum;
  }

  // Hours and minutes; the blanks within a time do not break.
  function timeInWords(minutes) {
    const hours = Math.floor(minutes / 60);
    const parts = [hours && `${hours} h`, (minutes % 60 || !hours) && `${minutes % 60} min`];
    return parts.filter(Boolean).join(" ").replaceAll(" ", "\u00a0");
  }

  function counted(sum, noun) {
    const words = sum.minutes > MOST_MINUTES ? timeInWords : String;
    const part = sum.done > 0 ? `${words(sum.doneMinutes)} of ` : "";
    const unit = sum.minutes > MOST_MINUTES ? "" : " minutes";
    return `${sum.done} / ${sum.all} ${noun}, ${part}${words(sum.minutes)}${unit}`;
  }

  function sentence(labs, pages, form) {
    if (form === "lessons") return counted(pages, "lessons");
    const first = counted(labs, "labs");
    if (form === "labs" || !pages.all) return first;
    return `${first} · ${pages.done} / ${pages.all} pages`;
  }

  function fill(element, state) {
    const name = element.dataset.progressPhase;
    const phases = name === "all" ? Object.values(course) : [course[name]].filter(Boolean);
    const labs = count(phases.flatMap((p) => p.labs), (id) => id in state.labs || isGraded(id));
    const pages = count(phases.flatMap((p) => p.pages), (id) => id in state.pages);
    const form = element.dataset.progressForm;
    const shown = form === "lessons" ? pages : labs;
    element.style.setProperty("--done", shown.share.toFixed(4));
    element.style.setProperty("--read", pages.share.toFixed(4));
    element.dataset.progress = !shown.done ? "none" : shown.done < shown.all ? "some" : "all";
    if (!shown.all || form === "none") return;
    const text = element.querySelector(".progress-text") ?? element;
    text.textContent = sentence(labs, pages, form);
  }

  function part(holder, tag, css) {
    let found = holder.querySelector(`.${css}`);
    if (!found) {
      found = document.createElement(tag);
      found.className = css;
      if (tag === "button") found.type = "button";
      holder.append(found);
    }
    return found;
  }

  function byCommand(lab) {
    const { done, total, since } = graded[lab] ?? {};
    if (!(done > 0)) return "";
    if (!isGraded(lab)) return `${done} of ${total} tasks green, says the labs command`;
    const when = typeof since === "string" ? ` on ${since.slice(0, 10)}` : "";
    return `Graded by the labs command${when}: ${done} of ${total} tasks`;
  }

  function showTile(tile, state) {
    const lab = tile.dataset.lab;
    const ticked = lab in state.labs;
    tile.classList.toggle("is-done", ticked || isGraded(lab));
    tile.classList.toggle("is-graded", isGraded(lab));
    const { done, total } = graded[lab] ?? {};
    const started = done > 0 ? `${done} of ${total} tasks green` : "";
    const text = isGraded(lab) ? "✓ graded" : ticked ? "✓ done" : started;
    part(tile, "span", "lab-tile-state").textContent = text;
  }

  function showLab(holder, state) {
    const lab = holder.dataset.lab;
    const ticked = lab in state.labs;
    const button = tick(holder, ticked, ["Mark as done", "✓ Done"], () => toggle("labs", lab));
    // What was graded needs no tick by hand; one that is there can still be taken back.
    button.hidden = isGraded(lab) && !ticked;
    const note = part(holder, "p", "lab-graded");
    const unread = damage && `Not all of the labs command's record can be read: ${damage}`;
    note.textContent = (isGraded(lab) ? "✓ " : "") + (byCommand(lab) || unread);
    note.hidden = !note.textContent;
  }

  function tick(holder, pressed, labels, act) {
    const button = part(holder, "button", "tick");
    if (!holder.dataset.listens) {
      button.addEventListener("click", act);
      holder.dataset.listens = "yes";
    }
    button.setAttribute("aria-pressed", String(pressed));
    button.textContent = labels[Number(pressed)];
    return button;
  }

  function show() {
    const state = kept.load();
    for (const element of document.querySelectorAll("[data-progress-phase]")) fill(element, state);
    for (const tile of document.querySelectorAll(".lab-tile[data-lab]")) showTile(tile, state);
    for (const holder of document.querySelectorAll(".lab-done")) showLab(holder, state);
    for (const holder of document.querySelectorAll(".page-done")) {
      const page = holder.dataset.page;
      const labels = ["Mark this page as read", "✓ Read"];
      tick(holder, page in state.pages, labels, () => toggle("pages", page));
    }
    document.dispatchEvent(new CustomEvent("progress-changed"));
  }

  document.addEventListener("labs-state", (event) => {
    const detail = event.detail;
    const known = isMap(detail) && detail.version === 1 && isMap(detail.labs);
    graded = known ? detail.labs : {};
    damage = known && detail.state === "damaged" ? String(detail.problem) : "";
    show();
  });
  document.addEventListener("DOMContentLoaded", show);
  window.addEventListener("pageshow", (event) => event.persisted && show());
  window.addEventListener("storage", (event) => event.key === kept.key && show());
})();
