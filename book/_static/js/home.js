// The map of the phases: whoever points at one sees what it goes on from, and what goes on from it.

(() => {
  "use strict";

  const map = document.querySelector(".phase-map");
  if (!map) return;
  const items = new Map();
  for (const item of map.querySelectorAll(".phase-node")) {
    items.set(item.querySelector(".phase-number").textContent, item);
  }
  const lines = [...map.querySelectorAll(".phase-lines path")];

  // All that can be reached along the lines, in one direction.
  function reach(number, from, to, found = new Set()) {
    for (const line of lines) {
      if (line.dataset[from] !== number || found.has(line)) continue;
      found.add(line);
      reach(line.dataset[to], from, to, found);
    }
    return found;
  }

  function show(number) {
    const before = number ? reach(number, "to", "from") : new Set();
    const after = number ? reach(number, "from", "to") : new Set();
    map.classList.toggle("is-asked", Boolean(number));
    for (const line of lines) {
      line.classList.toggle("is-before", before.has(line));
      line.classList.toggle("is-after", after.has(line));
    }
    const lit = new Set([...before].map((line) => line.dataset.from));
    for (const line of after) lit.add(line.dataset.to);
    for (const [other, item] of items) {
      item.classList.toggle("is-near", lit.has(other));
      item.classList.toggle("is-it", other === number);
    }
  }

  for (const [number, item] of items) {
    for (const kind of ["pointerenter", "focusin"]) item.addEventListener(kind, () => show(number));
    for (const kind of ["pointerleave", "focusout"]) item.addEventListener(kind, () => show(""));
  }
})();
