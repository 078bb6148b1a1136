// A local page of an upstream file: which lines the address names, and naming others by a click.
// Without this script the address still leads to the line, or to the first line of its range.
(() => {
  "use strict";

  const code = document.querySelector(".up-file pre");
  if (!code) return;
  const lineOf = (number) => document.getElementById(`L${number}`);
  const github = document.querySelector(".up-facts .up-github");
  const file = github.getAttribute("href");

  function range() {
    const match = /^#L(\d+)(?:-L(\d+))?$/.exec(location.hash);
    if (!match) return null;
    const ends = [Number(match[1]), Number(match[2] ?? match[1])].sort((a, b) => a - b);
    return lineOf(ends[0]) && lineOf(ends[1]) ? ends : null;
  }

  function show({ scroll }) {
    for (const line of code.querySelectorAll(".up-lit")) line.classList.remove("up-lit");
    const lines = range();
    github.href = lines ? `${file}${github.dataset.plain}${location.hash}` : file;
    github.textContent = lines ? "these lines on GitHub" : "on GitHub";
    if (!lines) return;
    for (let number = lines[0]; number <= lines[1]; number += 1) {
      lineOf(number).classList.add("up-lit");
    }
    if (scroll) lineOf(lines[0]).scrollIntoView({ block: "start" });
  }

  // The number in the margin names its line; with Shift, the lines from the last one named.
  code.addEventListener("click", (event) => {
    const line = event.target.closest("span[id^=L]");
    if (!line || event.target.closest("a")) return;
    const margin = line.getBoundingClientRect().left + code.scrollLeft;
    const wide = parseFloat(getComputedStyle(line, "::before").width);
    if (event.clientX > margin + wide + 24) return;
    const number = Number(line.id.slice(1));
    const from = event.shiftKey ? range()?.[0] : null;
    const [first, last] = [number, from ?? number].sort((a, b) => a - b);
    const hash = first === last ? `#L${first}` : `#L${first}-L${last}`;
    history.pushState(null, "", hash);
    getSelection()?.removeAllRanges();
    show({ scroll: false });
  });

  window.addEventListener("hashchange", () => show({ scroll: true }));
  window.addEventListener("popstate", () => show({ scroll: false }));
  show({ scroll: true });
  // Typefaces that arrive later move the lines.
  window.addEventListener("load", () => show({ scroll: true }));
})();
