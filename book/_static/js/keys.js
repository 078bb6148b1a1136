// Keys of the book: arrows move between pages, s or / searches, ? explains, Escape closes.
// Nothing fires while the reader types, scrolls code, or holds a modifier.

(() => {
  "use strict";

  const KEYS = [
    ["←", "previous page"],
    ["→", "next page"],
    ["s", "search (also / or Ctrl+K)"],
    ["?", "show these keys"],
    ["Esc", "close this, or the search"],
  ];
  const PLAYERS = "input, textarea, select, [contenteditable], audio, video, [role='slider'], [role='application']";

  const page = (relation) => document.querySelector(`link[rel="${relation}"]`)?.href;

  const scrolls = (element) =>
    element.scrollWidth > element.clientWidth + 1 &&
    ["auto", "scroll"].includes(getComputedStyle(element).overflowX);

  // The focus is in something that has its own use for the key.
  function busy(target, key) {
    if (!(target instanceof Element)) return false;
    if (target.closest(PLAYERS)) return true;
    if (document.querySelector("dialog[open]")) return true;
    if (!key.startsWith("Arrow")) return false;
    for (let node = target; node && node !== document.body; node = node.parentElement) {
      if (scrolls(node)) return true;
    }
    return Boolean(target.closest("[role='tablist'], [role='menu'], .dropdown-menu"));
  }

  // Code that scrolls sideways can be reached and scrolled by the keyboard. All are measured before
  // one is changed: a page is laid out again for whoever measures after a change.
  function makeScrollersReachable() {
    const blocks = document.querySelectorAll("pre, .figure-scroll, .pst-scrollable-table-container, .math-line");
    const out = [...blocks].filter((block) => !block.hasAttribute("tabindex") && scrolls(block));
    for (const block of out) {
      block.tabIndex = 0;
      if (!block.hasAttribute("aria-label")) block.setAttribute("aria-label", "scrolls sideways");
      if (!block.hasAttribute("role")) block.setAttribute("role", "group");
    }
  }

  let dialog = null;
  let cameFrom = null;

  function build() {
    dialog = document.createElement("dialog");
    dialog.className = "keys-help";
    dialog.setAttribute("aria-labelledby", "keys-help-title");
    const title = document.createElement("h2");
    title.id = "keys-help-title";
    title.textContent = "Keys";
    const list = document.createElement("dl");
    for (const [key, meaning] of KEYS) {
      const term = document.createElement("dt");
      const cap = document.createElement("kbd");
      cap.textContent = key;
      term.append(cap);
      const description = document.createElement("dd");
      description.textContent = meaning;
      list.append(term, description);
    }
    const close = document.createElement("button");
    close.type = "button";
    close.textContent = "Close";
    close.addEventListener("click", () => dialog.close());
    dialog.append(title, list, close);
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
    dialog.addEventListener("close", () => cameFrom?.focus?.());
    document.body.append(dialog);
  }

  function help() {
    if (!dialog) build();
    if (dialog.open) return;
    cameFrom = document.activeElement;
    dialog.showModal();
  }

  function search() {
    const button = document.querySelector(".search-button__button");
    const dialogOfSearch = document.querySelector("#pst-search-dialog");
    if (button) button.click();
    else dialogOfSearch?.showModal();
    dialogOfSearch?.querySelector("input[type=search]")?.focus();
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (event.key === "?" && dialog?.open) {
      event.preventDefault();
      dialog.close();
      return;
    }
    if (busy(event.target, event.key)) return;
    if (event.shiftKey && event.key !== "?") return;
    const actions = {
      ArrowLeft: () => page("prev") && location.assign(page("prev")),
      ArrowRight: () => page("next") && location.assign(page("next")),
      s: search,
      S: search,
      "/": search,
      "?": help,
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelector(".keys-hint")?.addEventListener("click", help);
    makeScrollersReachable();
    window.addEventListener("resize", makeScrollersReachable, { passive: true });
  });
})();
