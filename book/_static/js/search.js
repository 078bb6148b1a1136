// The search dialog, and the page that shows all results.
//
// A page carries this file only. The index (about a megabyte) and what reads it are loaded when the
// dialog is first opened: as scripts, so that it also works on a page that was opened from a folder.
// Without scripts there is no search button, and search.html says so.

(() => {
  "use strict";

  const ROOT = document.documentElement.dataset.content_root ?? "./";
  const PARTS = [
    "_static/search-stemmer.js",
    "_static/js/search-words.js",
    "_static/js/search-ranking.js",
    "_static/js/search-results.js",
    "search-index.js",
  ];
  const HELP = "Words, a name of our code, or one of vLLM’s: a symbol, a file, a flag, a log line.";
  const IN_DIALOG = { pages: 8, places: 3 };
  const ON_PAGE = { pages: 40, places: 5 };

  window.BookSearch = {};
  let ready = null;

  const script = (path) =>
    new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = ROOT + path;
      element.addEventListener("load", resolve);
      element.addEventListener("error", () => reject(new Error(`${path} cannot be loaded`)));
      document.head.append(element);
    });

  // The index is under way while the scripts that read it are run in order.
  function load() {
    ready ??= (async () => {
      const index = script(PARTS.at(-1));
      for (const part of PARTS.slice(0, -1)) await script(part);
      await index;
      BookSearch.ranking.open(BookSearch.index);
      BookSearch.index = null;
    })();
    return ready;
  }

  const counted = (n) => (n === 1 ? "1 page" : `${n} pages`);

  function say(status, query, found, more) {
    if (!query) status.textContent = HELP;
    else if (!found && [...query].length === 1) status.textContent = `One character is too little to look for; “${query}” names nothing.`;
    else if (!found) status.textContent = `Nothing in the book matches “${query}”.`;
    else status.textContent = more ? `The best ${counted(found)}` : counted(found);
  }

  // ---- the dialog: a combobox whose list are the results ----

  function inDialog(dialog) {
    const form = dialog.querySelector("form");
    const input = form.querySelector("input[type=search]");
    const list = document.createElement("div");
    list.id = "search-list";
    list.className = "search-list";
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "Results");
    list.hidden = true;
    const foot = document.createElement("div");
    foot.className = "search-foot";
    const status = document.createElement("span");
    status.className = "search-status";
    status.setAttribute("role", "status");
    const all = document.createElement("a");
    all.className = "search-all";
    all.textContent = "All results";
    all.hidden = true;
    foot.append(status, all);
    dialog.append(list, foot);
    dialog.setAttribute("aria-label", "Search");
    input.setAttribute("role", "combobox");
    input.setAttribute("aria-autocomplete", "list");
    input.setAttribute("aria-controls", list.id);
    input.setAttribute("aria-expanded", "false");

    let options = [];
    let active = -1;

    function choose(number) {
      options[active]?.setAttribute("aria-selected", "false");
      active = number;
      const option = options[active];
      if (!option) {
        input.removeAttribute("aria-activedescendant");
        return;
      }
      option.setAttribute("aria-selected", "true");
      input.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    }

    function show(query) {
      const pages = query ? BookSearch.ranking.rank(query, IN_DIALOG.pages + 1) : [];
      const shown = pages.slice(0, IN_DIALOG.pages);
      options = [];
      let first = 0;
      const groups = shown.map((page, p) => {
        const group = document.createElement("div");
        group.className = "search-group";
        group.setAttribute("role", "group");
        group.setAttribute("aria-label", [page.title, page.crumb].filter(Boolean).join(", "));
        const { links, best } = BookSearch.results.page(ROOT, page, query, IN_DIALOG.places);
        if (p === 0) first = best;
        for (const link of links) {
          link.setAttribute("role", "option");
          link.setAttribute("aria-selected", "false");
          link.tabIndex = -1;
          link.id = `search-option-${options.length}`;
          link.addEventListener("click", () => dialog.close());
          options.push(link);
        }
        group.append(...links);
        return group;
      });
      list.replaceChildren(...groups);
      list.hidden = !options.length;
      list.scrollTop = 0;
      input.setAttribute("aria-expanded", String(options.length > 0));
      all.hidden = pages.length <= shown.length;
      all.href = `${ROOT}search.html?q=${encodeURIComponent(query)}`;
      say(status, query, shown.length, pages.length > shown.length);
      active = -1;
      choose(options.length ? first : -1);
    }

    async function refresh() {
      try {
        await load();
      } catch (error) {
        status.textContent = `The index is not here: ${error.message}.`;
        return;
      }
      show(input.value.trim());
    }

    say(status, "", 0, false);
    input.addEventListener("input", refresh);
    input.addEventListener("focus", () => load().catch(() => {}));
    input.addEventListener("keydown", (event) => {
      if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
      const last = options.length - 1;
      const moves = {
        ArrowDown: active >= last ? 0 : active + 1,
        ArrowUp: active <= 0 ? last : active - 1,
        PageDown: Math.min(last, active + 6),
        PageUp: Math.max(0, active - 6),
      };
      if (!(event.key in moves) || !options.length) return;
      event.preventDefault();
      choose(moves[event.key]);
    });
    form.addEventListener("submit", (event) => {
      if (!options[active]) return;
      event.preventDefault();
      options[active].click();
    });
  }

  // ---- the page of all results ----

  function onPage(place) {
    const input = document.querySelector("#main-content form.bd-search input, article form.bd-search input");
    const status = document.createElement("p");
    status.className = "search-status";
    status.setAttribute("role", "status");
    const list = document.createElement("ol");
    list.className = "search-all-results";
    place.append(status, list);

    async function show(query) {
      if (query) await load();
      const pages = query ? BookSearch.ranking.rank(query, ON_PAGE.pages) : [];
      list.replaceChildren(
        ...pages.map((page) => {
          const item = document.createElement("li");
          item.className = "search-group";
          item.append(...BookSearch.results.page(ROOT, page, query, ON_PAGE.places).links);
          return item;
        }),
      );
      say(status, query, pages.length, pages.length === ON_PAGE.pages);
    }

    const asked = new URLSearchParams(location.search).get("q") ?? "";
    if (input) {
      input.value = asked;
      input.addEventListener("input", () => {
        const query = input.value.trim();
        history.replaceState(null, "", query ? `?q=${encodeURIComponent(query)}` : location.pathname);
        show(query);
      });
      input.form.addEventListener("submit", (event) => event.preventDefault());
      input.focus();
    }
    show(asked.trim());
  }

  document.addEventListener("DOMContentLoaded", () => {
    const dialog = document.querySelector("#pst-search-dialog");
    if (dialog) inDialog(dialog);
    const place = document.querySelector("#search-results");
    if (place) onPage(place);
  });
})();
