// Recall: the reader marks what was known and what was not; what was not comes back first.
//
// Boxes as in a card index. "Knew it" moves a question up one box, "not yet" puts it into box 0.
// A question of box 0 is due at once, one of box n rests for DAYS[n] days and is due from the
// morning of that day. What counts is one mark a visit: changing one's mind changes that mark, and
// "knew it" for a question that still rests moves nothing.
//
// Kept as localStorage["inside-the-engine:recall"] =
//   {"version": 1, "items": {"question/p02-why-blocks": {"box": 2, "due": "2026-03-01"}}}
// See store.js for what happens to anything else that stands there.

(() => {
  "use strict";

  const { isMap, store } = window.insideTheEngine;
  const DAYS = [0, 1, 3, 7, 16, 35];
  const isDay = (x) => typeof x === "string" && /^\d{4}-\d\d-\d\d$/.test(x);

  const kept = store("recall", 1, ({ items }) => {
    const good = ([, x]) => isMap(x) && Number.isInteger(x.box) && x.box in DAYS && isDay(x.due);
    return { items: isMap(items) ? Object.fromEntries(Object.entries(items).filter(good)) : {} };
  });

  // Days of the reader's own calendar, as text that sorts.
  function day(offset) {
    const now = new Date();
    const then = new Date(now.getFullYear(), now.getMonth(), now.getDate() + offset, 12);
    const two = (n) => String(n).padStart(2, "0");
    return `${then.getFullYear()}-${two(then.getMonth() + 1)}-${two(then.getDate())}`;
  }

  const isDue = (mark) => mark !== undefined && mark.due <= day(0);

  function after(before, knew) {
    if (!knew) return { box: 0, due: day(0) };
    if (before && !isDue(before)) return before;
    const box = Math.min((before?.box ?? 0) + 1, DAYS.length - 1);
    return { box, due: day(DAYS[box]) };
  }

  function inWords(mark) {
    if (!mark) return "";
    if (isDue(mark)) return mark.box === 0 ? "Comes first next time." : "Due.";
    const left = Math.round((new Date(`${mark.due}T12:00`) - new Date(`${day(0)}T12:00`)) / 864e5);
    return `Comes back ${left === 1 ? "tomorrow" : `in ${left} days`}.`;
  }

  // ---- one component --------------------------------------------------------------------------

  function made(tag, css, text = "") {
    const element = document.createElement(tag);
    element.className = css;
    element.textContent = text;
    if (tag === "button") element.type = "button";
    return element;
  }

  // Not yet, then due, then never asked, then resting: the earlier in this list, the earlier asked.
  function rank(mark) {
    if (!mark) return 2;
    if (!isDue(mark)) return 3;
    return mark.box === 0 ? 0 : 1;
  }

  function arrange(component, marks) {
    const items = [...component.querySelectorAll(".recall-item")];
    items
      .map((item, place) => ({ item, place, rank: rank(marks[item.dataset.recall]) }))
      .sort((a, b) => a.rank - b.rank || a.place - b.place)
      .forEach(({ item }) => component.append(item));
  }

  function equip(item, before, say) {
    const id = item.dataset.recall;
    const row = made("div", "recall-marks");
    const buttons = [made("button", "tick", "Knew it"), made("button", "tick", "Not yet")];
    const when = made("span", "recall-when");
    let chosen = null;

    function show(mark) {
      buttons.forEach((button, n) => {
        button.setAttribute("aria-pressed", String(chosen === (n === 0)));
      });
      when.textContent = inWords(mark);
      item.dataset.state = ["not-yet", "due", "new", "resting"][rank(mark)];
    }

    buttons.forEach((button, n) => {
      button.addEventListener("click", () => {
        chosen = n === 0;
        const state = kept.load();
        state.items[id] = after(before, chosen);
        kept.save(state);
        show(state.items[id]);
        say(`${button.textContent}. ${inWords(state.items[id])}`);
      });
    });
    row.append(...buttons, when);
    item.querySelector("details").append(row);
    show(before);
    const badge = { "not-yet": "not yet", due: "due", resting: "resting" }[item.dataset.state];
    if (badge) item.querySelector(".recall-kind").append(made("span", "recall-badge", badge));
  }

  // ---- the page with all that is due ----------------------------------------------------------

  function summary(marks) {
    const ids = [...document.querySelectorAll(".recall-item")].map((i) => i.dataset.recall);
    const asked = ids.map((id) => marks[id]).filter(Boolean);
    const due = asked.filter(isDue).length;
    if (!asked.length) {
      return "Nothing is marked yet. Questions come here once you mark them at a deep dive’s end.";
    }
    const rest = asked.length - due;
    if (due) return `${due} due, ${rest} resting, ${ids.length - asked.length} not asked yet.`;
    const next = asked.map((mark) => mark.due).sort()[0];
    const form = { day: "numeric", month: "long" };
    const date = new Date(`${next}T12:00`).toLocaleDateString("en-GB", form);
    return `Nothing is due today. ${rest} resting; the next comes on ${date}.`;
  }

  function onlyDue(holder, marks) {
    const text = made("p", "recall-summary", summary(marks));
    const all = made("button", "tick", "Show every question");
    const groups = [...holder.querySelectorAll(".recall")];
    function show() {
      const every = all.getAttribute("aria-pressed") === "true";
      for (const item of holder.querySelectorAll(".recall-item")) {
        item.hidden = !every && !isDue(marks[item.dataset.recall]);
      }
      for (const group of groups) {
        group.hidden = !group.querySelector(".recall-item:not([hidden])");
      }
    }
    all.setAttribute("aria-pressed", "false");
    all.addEventListener("click", () => {
      all.setAttribute("aria-pressed", String(all.getAttribute("aria-pressed") !== "true"));
      show();
    });
    holder.prepend(text, all);
    show();
  }

  document.addEventListener("DOMContentLoaded", () => {
    const marks = kept.load().items; // as they were before this visit
    for (const component of document.querySelectorAll(".recall")) {
      const status = made("p", "recall-status");
      status.setAttribute("role", "status");
      arrange(component, marks);
      for (const item of component.querySelectorAll(".recall-item")) {
        equip(item, marks[item.dataset.recall], (text) => (status.textContent = text));
      }
      component.append(status);
    }
    for (const holder of document.querySelectorAll(".recall-due")) onlyDue(holder, marks);
  });
})();
