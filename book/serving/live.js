// Sent with a page by `nox -s book`, and in no published page: reloads the page when it, or
// something that it has loaded, was built anew; says when a build failed; passes on what the
// `labs` command has graded.

(() => {
  "use strict";

  const PLACE = "inside-the-engine:live-place";
  let seen = document.currentScript.dataset.seen;
  let source = null;

  const here = () => location.pathname.replace(/\/$/, "/index.html");

  function concerned(paths) {
    const loaded = performance.getEntriesByType("resource").map((e) => new URL(e.name).pathname);
    const mine = new Set([here(), ...loaded]);
    return paths.some((path) => mine.has(path));
  }

  function reload() {
    try {
      sessionStorage.setItem(PLACE, JSON.stringify([location.href, scrollX, scrollY]));
    } catch {
      // Without storage the browser's own memory of the place has to do.
    }
    location.reload();
  }

  function comeBack() {
    try {
      const [href, x, y] = JSON.parse(sessionStorage.getItem(PLACE) ?? "[]");
      sessionStorage.removeItem(PLACE);
      if (href === location.href) scrollTo({ left: x, top: y, behavior: "instant" });
    } catch {
      // Nothing was kept.
    }
  }

  async function labs() {
    try {
      const answer = await fetch("/_live/labs.json");
      const detail = await answer.json();
      document.dispatchEvent(new CustomEvent("labs-state", { detail }));
    } catch {
      // The server has ended; the page stays as it is.
    }
  }

  const LOOK = `
    position: fixed; inset: auto 1rem 1rem auto; z-index: 2000; max-width: min(34rem, 100vw - 2rem);
    padding: 0.5rem 0.75rem; font: 0.8rem/1.4 var(--pst-font-family-base, sans-serif);
    color: var(--pst-color-text-base); background: var(--pst-color-surface);
    border: 1px solid var(--pst-color-border); border-left: 4px solid var(--pst-color-danger);`;

  function banner(complaints) {
    document.querySelector(".live-banner")?.remove();
    if (!complaints) return;
    const box = document.createElement("details");
    box.className = "live-banner";
    box.setAttribute("role", "status");
    box.style.cssText = LOOK;
    const summary = document.createElement("summary");
    const count = complaints.length;
    summary.textContent = `The last build failed${
      count ? `: ${count} complaint${count > 1 ? "s" : ""}` : ""
    }. This page is the one before it.`;
    const list = document.createElement("pre");
    list.textContent = complaints.slice(0, 8).join("\n") || "The terminal says why.";
    list.style.cssText = "margin: 0.5rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere";
    list.tabIndex = 0;
    box.append(summary, list);
    document.body.append(box);
  }

  function on(kind, react) {
    source.addEventListener(kind, (event) => {
      seen = event.lastEventId;
      react(JSON.parse(event.data));
    });
  }

  function listen() {
    if (source || document.hidden) return;
    source = new EventSource(`/_live/events?seen=${encodeURIComponent(seen)}`);
    on("changed", ({ paths, all }) => {
      if (all || concerned(paths)) reload();
      else banner(null);
    });
    on("failed", ({ complaints }) => banner(complaints));
    on("labs", labs);
  }

  // A browser allows six connections to one server: hidden tabs let go of theirs.
  function silence() {
    source?.close();
    source = null;
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? silence() : listen()));
  addEventListener("pagehide", silence);
  addEventListener("pageshow", (event) => {
    listen();
    if (event.persisted) labs();
  });
  addEventListener("load", comeBack);
  labs();
  listen();
})();
