// Progress through the labs, kept in this browser and nowhere else.

(() => {
  "use strict";

  const STORE = "inside-the-engine:labs-done";

  function done() {
    try {
      return new Set(JSON.parse(localStorage.getItem(STORE) ?? "[]"));
    } catch {
      return new Set();
    }
  }

  function keep(labs) {
    try {
      localStorage.setItem(STORE, JSON.stringify([...labs].sort()));
    } catch {
      // Private windows may refuse; the tick then lasts as long as the page.
    }
  }

  function show(labs) {
    for (const holder of document.querySelectorAll(".progress-holder")) {
      const all = holder.dataset.labs.split(" ").filter(Boolean);
      const minutes = holder.dataset.minutes.split(" ").map(Number);
      const finished = all.filter((lab) => labs.has(lab));
      const left = all.reduce((sum, lab, i) => sum + (labs.has(lab) ? 0 : minutes[i]), 0);
      const total = minutes.reduce((a, b) => a + b, 0);
      const text = holder.querySelector(".progress-text");
      text.textContent = `${finished.length} / ${all.length} labs, ~${total} min total`;
      if (finished.length) text.textContent += left ? `, ~${left} min left` : ", all done";
      let fill = holder.querySelector(".progress-bar-fill");
      if (!fill) {
        const track = document.createElement("span");
        track.className = "progress-bar-track";
        track.setAttribute("aria-hidden", "true");
        fill = document.createElement("span");
        fill.className = "progress-bar-fill";
        track.append(fill);
        holder.append(track);
      }
      fill.style.width = `${(100 * finished.length) / all.length}%`;
    }
    for (const tile of document.querySelectorAll(".lab-tile")) {
      tile.classList.toggle("is-done", labs.has(tile.dataset.lab));
    }
    for (const holder of document.querySelectorAll(".lab-done")) {
      let button = holder.querySelector("button");
      if (!button) {
        button = document.createElement("button");
        button.type = "button";
        button.addEventListener("click", () => {
          const now = done();
          if (!now.delete(holder.dataset.lab)) now.add(holder.dataset.lab);
          keep(now);
          show(now);
        });
        holder.append(button);
      }
      const ticked = labs.has(holder.dataset.lab);
      button.setAttribute("aria-pressed", String(ticked));
      button.textContent = ticked ? "✓ Done" : "Mark as done";
    }
  }

  document.addEventListener("DOMContentLoaded", () => show(done()));
  window.addEventListener("storage", (event) => {
    if (event.key === STORE) show(done());
  });
  window.addEventListener("pageshow", () => show(done()));
})();
