// What a result looks like: the title, the kind of thing, a piece of the text with the hits marked.
// Text becomes nodes and never HTML, so nothing that stands on a page can run here.

"use strict";

BookSearch.results = (() => {
  const { nameKey, terms, stem } = BookSearch.words;
  const CHAIN = /[\p{L}\p{N}_]+(?:[-./:#]+[\p{L}\p{N}_]+)*/gu;
  const WORD = /[\p{L}\p{N}]+/gu;
  const SNIPPET = 190;
  const KINDS = {
    section: "section",
    code: "our code",
    question: "question",
    exercise: "exercise",
    invariant: "invariant",
  };

  function make(tag, className, ...children) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children.filter((child) => child != null && child !== ""));
    return element;
  }

  // All terms that a query is met by, to be marked.
  function wanted(query) {
    const found = new Set();
    for (const { alternatives, pieces, stop, name } of BookSearch.ranking.wordsOf(query)) {
      if (stop) continue;
      for (const term of alternatives.keys()) found.add(term);
      // The parts of a name are marked only where the name itself is unknown.
      for (const piece of alternatives.size ? [] : (pieces ?? [])) for (const term of piece.keys()) found.add(term);
      found.add(stem(name));
    }
    return found;
  }

  // Where the hits stand: a chain that was asked for as a whole, or the words in it that were.
  function hits(text, hit) {
    const found = [];
    for (const chain of text.matchAll(CHAIN)) {
      if (hit.has(nameKey(chain[0]))) {
        found.push(chain);
        continue;
      }
      for (const word of chain[0].matchAll(WORD)) {
        if (!terms(word[0]).some((term) => hit.has(term))) continue;
        word.index += chain.index;
        found.push(word);
      }
    }
    return found;
  }

  // The text as nodes, the words that were looked for in <mark>.
  function marked(text, hit, found = hits(text, hit)) {
    const out = document.createDocumentFragment();
    let done = 0;
    for (const match of found) {
      out.append(text.slice(done, match.index), make("mark", "", match[0]));
      done = match.index + match[0].length;
    }
    out.append(text.slice(done));
    return out;
  }

  // The stretch of the text with the most different hits in it.
  function snippet(text, hit) {
    if (!text) return null;
    const found = hits(text, hit);
    let [start, most] = [0, 0];
    found.forEach((first, i) => {
      const within = found.slice(i, i + 12).filter((m) => m.index < first.index + SNIPPET - 40);
      const different = new Set(within.map((m) => stem(m[0].toLowerCase()))).size + within.length / 20;
      if (different > most) [start, most] = [first.index, different];
    });
    start = start < SNIPPET / 2 ? 0 : text.indexOf(" ", start - 45) + 1;
    let end = Math.min(text.length, start + SNIPPET);
    if (end < text.length) end = text.lastIndexOf(" ", end);
    const piece = text.slice(start, Math.max(end, start + 1));
    const node = make("span", "search-snippet", start > 0 ? "… " : null, marked(piece, hit));
    if (end < text.length) node.append(" …");
    return node;
  }

  function link(root, page, entry, className) {
    const a = make("a", className);
    a.href = `${root}${page.name}.html${entry?.anchor ? `#${encodeURIComponent(entry.anchor)}` : ""}`;
    return a;
  }

  // One line on what the page has to do with the upstream name that was asked for.
  function discussed(page) {
    if (!page.uses.length) return null;
    const [most] = [...page.uses].sort((a, b) => b.times - a.times);
    const times = page.uses.reduce((sum, use) => sum + use.times, 0);
    const name = /[/.]/.test(most.where) ? most.name || most.where : most.name;
    const said = times === 1 ? "discussed here" : `discussed here, ${times} places`;
    return make("span", "search-upstream", make("span", "search-kind", "upstream"), make("code", "", name), ` ${said}`);
  }

  // A page and its best places: links, the page's own first, then one for each place.
  function page(root, found, query, places) {
    const hit = wanted(query);
    const head = link(root, found, null, "search-page");
    head.append(make("span", "search-title", marked(found.title, hit)));
    if (found.crumb) head.append(make("span", "search-crumb", found.crumb));
    const uses = discussed(found);
    if (uses) head.append(uses);
    const links = [head];
    const own = found.entries.find((entry) => entry.kind === "page");
    for (const entry of found.entries.slice(0, places)) {
      if (entry.score < 0.3 * found.entries[0].score) break;
      if (entry.kind === "page") continue;
      const a = link(root, found, entry, "search-place");
      const title = make("span", "search-title", marked(entry.title, hit));
      if (entry.kind === "code") title.classList.add("search-name");
      a.append(make("span", "search-kind", KINDS[entry.kind]), title, snippet(entry.text, hit) ?? "");
      links.push(a);
    }
    if (links.length === 1 && own?.text) head.append(snippet(own.text, hit));
    const best = found.entries[0];
    return { links, best: best && best.kind !== "page" && links.length > 1 ? 1 : 0 };
  }

  return { make, page };
})();
