// Shows the lines behind a link into the pinned tree: under the pointer, on keyboard focus, and on a
// first tap. The snippets stand in the page itself (#up-previews), so nothing is requested.
(() => {
  "use strict";

  const OPEN_AFTER_MS = 160; // a pointer that only passes over a link opens nothing
  const CLOSE_AFTER_MS = 220; // time to move from the link into the card
  const GAP_PX = 8;

  const source = document.getElementById("up-previews");
  if (!source) return;
  const snippets = JSON.parse(source.textContent);

  const card = document.createElement("aside");
  card.className = "up-card";
  card.id = "up-card";
  card.hidden = true;
  card.setAttribute("role", "tooltip");
  const head = document.createElement("header");
  const name = document.createElement("b");
  const where = document.createElement("span");
  head.append(name, where);
  const box = document.createElement("div");
  box.className = "highlight";
  const code = document.createElement("pre");
  box.append(code);
  const more = document.createElement("footer");
  card.append(head, box, more);
  document.body.append(card);

  let anchor = null; // the link whose card is open
  let timer = 0;

  const snippetOf = (link) => snippets[link.getAttribute("href")];

  function later(action, delay) {
    clearTimeout(timer);
    timer = setTimeout(action, delay);
  }

  function open(link) {
    clearTimeout(timer);
    if (anchor === link) return;
    close();
    const snippet = snippetOf(link);
    name.textContent = snippet.name;
    where.textContent = snippet.where;
    code.innerHTML = snippet.code; // made by Pygments when the book was built
    more.textContent = snippet.more;
    card.hidden = false;
    place(link);
    requestAnimationFrame(() => card.classList.add("up-shown"));
    link.setAttribute("aria-describedby", card.id);
    anchor = link;
  }

  function close() {
    clearTimeout(timer);
    if (!anchor) return;
    anchor.removeAttribute("aria-describedby");
    anchor = null;
    card.classList.remove("up-shown");
    card.hidden = true;
  }

  // Below the link if there is room, else above it; never past the right edge.
  function place(link) {
    const line = link.getClientRects()[0] || link.getBoundingClientRect();
    card.style.left = "0px";
    card.style.top = "0px";
    const width = card.offsetWidth;
    const height = card.offsetHeight;
    const viewport = document.documentElement.clientWidth;
    const left = Math.max(GAP_PX, Math.min(line.left, viewport - width - GAP_PX));
    const below = line.bottom + GAP_PX;
    const fits = below + height <= window.innerHeight || line.top - GAP_PX - height < 0;
    const top = fits ? below : line.top - GAP_PX - height;
    card.style.left = `${left + window.scrollX}px`;
    card.style.top = `${top + window.scrollY}px`;
  }

  card.addEventListener("pointerenter", () => clearTimeout(timer));
  card.addEventListener("pointerleave", () => later(close, CLOSE_AFTER_MS));

  for (const link of document.querySelectorAll("a.up-link")) {
    if (!snippetOf(link)) continue;
    link.removeAttribute("title"); // the card says it better, and two tooltips overlap
    link.addEventListener("pointerenter", (event) => {
      if (event.pointerType !== "touch") later(() => open(link), OPEN_AFTER_MS);
    });
    link.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") later(close, CLOSE_AFTER_MS);
    });
    link.addEventListener("focus", () => {
      if (link.matches(":focus-visible")) open(link);
    });
    link.addEventListener("blur", () => later(close, CLOSE_AFTER_MS));
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
