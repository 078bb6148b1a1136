// Shows the lines behind a link into the pinned tree: under the pointer, on keyboard focus, and on a
// first tap. The lines of a file lie in a script beside its local page; the first link that asks for
// them loads it, and a script, unlike a request for data, loads from a file as well.
(() => {
  "use strict";

  const OPEN_AFTER_MS = 160; // a pointer that only passes over a link opens nothing
  const CLOSE_AFTER_MS = 220; // time to move from the link into the card
  const GAP_PX = 8;
  const LOCAL = /^(?!https?:)([^#]*)\.html(?:#(L\d+(?:-L\d+)?))?$/;

  const files = new Map(); // a file's script, without its suffix → a promise of its previews
  const arrived = new Map(); // path → what the script brought
  window.upstreamLines = (path, data) => arrived.set(path, data);

  const addressOf = (link) => LOCAL.exec(link.getAttribute("href"));

  function load(stem) {
    if (!files.has(stem)) {
      files.set(
        stem,
        new Promise((resolve, reject) => {
          const script = document.createElement("script");
          script.src = `${stem}.js`;
          script.onload = () => {
            const path = decodeURIComponent(stem).replace(/^(\.\.\/|\.\/)*upstream\//, "");
            script.remove();
            if (arrived.has(path)) resolve(arrived.get(path));
            else reject(new Error(`${stem}.js brought no lines`));
          };
          script.onerror = () => {
            files.delete(stem); // the next pointer may try again
            script.remove();
            reject(new Error(`${stem}.js could not be loaded`));
          };
          document.head.append(script);
        }),
      );
    }
    return files.get(stem);
  }

  const make = (tag, name, ...inside) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    element.append(...inside);
    return element;
  };

  const card = make("aside", "up-card");
  card.hidden = true;
  card.setAttribute("aria-label", "Preview of upstream's lines");
  const name = make("b");
  const where = make("span");
  const head = make("header", "", name, " ", where);
  head.id = "up-card-head";
  const code = make("pre");
  const more = make("a", "up-more");
  const github = make("a", "up-github");
  github.textContent = "on GitHub";
  // Everything in the card is also at the end of the link, so the keyboard need not pass through it.
  more.tabIndex = github.tabIndex = -1;
  card.append(head, make("div", "highlight", code), make("footer", "", more, github));
  document.body.append(card);

  let anchor = null; // the link whose card is open
  let wanted = null; // the link whose card is to be opened, while its lines are on the way
  let timer = 0;

  function later(action, delay) {
    clearTimeout(timer);
    timer = setTimeout(action, delay);
  }

  function fill(link, stem, fragment, data) {
    const snippet = data.snippets[fragment];
    name.textContent = snippet.name;
    where.textContent = snippet.where;
    const numberOf = (i) => snippet.numbers[i] ?? snippet.first + i;
    const width = String(numberOf(snippet.code.length - 1)).length;
    code.replaceChildren(
      ...snippet.code.map((line, i) => {
        const row = make("span", numberOf(i) === snippet.marked ? "up-marked" : "");
        row.innerHTML = line; // made by the book's build, escaped there
        row.prepend(make("i", "", String(numberOf(i)).padStart(width)), " ");
        return row;
      }),
    );
    more.href = link.href;
    more.textContent = snippet.more || "open the file here";
    github.href = data.github + (fragment && `#${fragment}`);
  }

  async function open(link) {
    clearTimeout(timer);
    if (anchor === link) return;
    wanted = link;
    const [, stem, fragment = ""] = addressOf(link);
    let data;
    try {
      data = await load(stem);
    } catch {
      return; // the link still leads to the lines
    }
    if (wanted !== link || !data.snippets[fragment]) return;
    close();
    fill(link, stem, fragment, data);
    card.hidden = false;
    place(link);
    requestAnimationFrame(() => card.classList.add("up-shown"));
    link.setAttribute("aria-describedby", head.id);
    anchor = link;
  }

  function close() {
    clearTimeout(timer);
    wanted = null;
    if (!anchor) return;
    anchor.removeAttribute("aria-describedby");
    anchor = null;
    card.classList.remove("up-shown");
    card.hidden = true;
  }

  // The pointer is gone; what the keyboard's focus opened stays for as long as the focus does.
  function left() {
    if (anchor?.matches(":focus-visible")) return;
    close();
  }

  // Below the link if there is room, else where there is more; never past an edge of the window.
  function place(link) {
    const line = link.getClientRects()[0] || link.getBoundingClientRect();
    card.style.left = card.style.top = "0px";
    code.style.maxHeight = "";
    const above = line.top - 2 * GAP_PX;
    const below = window.innerHeight - line.bottom - 2 * GAP_PX;
    const under = card.offsetHeight <= below || below >= above;
    const surplus = card.offsetHeight - (under ? below : above);
    if (surplus > 0) code.style.maxHeight = `${Math.max(60, code.offsetHeight - surplus)}px`;
    const viewport = document.documentElement.clientWidth;
    const left = Math.max(GAP_PX, Math.min(line.left, viewport - card.offsetWidth - GAP_PX));
    const top = under ? line.bottom + GAP_PX : line.top - GAP_PX - card.offsetHeight;
    card.style.left = `${left + window.scrollX}px`;
    card.style.top = `${top + window.scrollY}px`;
  }

  card.addEventListener("pointerenter", () => clearTimeout(timer));
  card.addEventListener("pointerleave", (event) => {
    if (event.pointerType !== "touch") later(left, CLOSE_AFTER_MS);
  });

  for (const link of document.querySelectorAll("a.up-link:not(.up-quiet)")) {
    const address = addressOf(link);
    if (!address) continue;
    link.removeAttribute("title"); // the card says it better, and two tooltips overlap
    link.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "touch") return;
      load(address[1]).catch(() => {});
      later(() => open(link), OPEN_AFTER_MS);
    });
    link.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "touch") return;
      if (wanted === link && anchor !== link) wanted = null;
      later(left, CLOSE_AFTER_MS);
    });
    link.addEventListener("focus", () => {
      if (link.matches(":focus-visible")) open(link);
    });
    link.addEventListener("blur", () => {
      if (wanted === link) wanted = null;
      later(close, CLOSE_AFTER_MS);
    });
    // On a touch screen the first tap shows the lines, the second follows the link.
    let tapped = false;
    link.addEventListener("pointerdown", (event) => {
      tapped = event.pointerType === "touch" && anchor !== link;
    });
    link.addEventListener("click", (event) => {
      if (!tapped) return;
      tapped = false;
      event.preventDefault();
      open(link);
    });
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  document.addEventListener("pointerdown", (event) => {
    if (anchor && !card.contains(event.target) && !anchor.contains(event.target)) close();
  });
  window.addEventListener("resize", close);
})();
