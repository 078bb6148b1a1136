// Which pages answer a query, best first. No DOM in here: a query goes in, an array comes out.
//
// A query is a row of words, and a word may be met in several ways: as it is, as the beginning of a
// longer one (the last word, which may still be typed), or with a letter wrong. For each entry of
// the index the best of them counts. An entry adds up its words, each times its rarity, and is
// better the more of the words it has; a page is as good as its best entry, and a little better
// when the words it lacks stand elsewhere on the page. Who asks a question in plain words wants the
// text about a thing; who types a name wants the thing. So in a question without a name what our
// code says of itself counts half. Who asks what a thing is wants the place that introduces it.

"use strict";

BookSearch.ranking = (() => {
  const { chains, joined, nameKey, oneEditApart, stem } = BookSearch.words;
  const DIGITS = new Map(
    [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"].map((c, i) => [c, i]),
  );
  const PARTIAL = 0.75; // a term that only begins like the word
  const MISSPELT = 0.55; // a term that is a letter away from it
  const IN_PARTS = 0.6; // the parts of a name, apart from each other
  const OF_CODE = 0.5; // the text of an object of our code, to a question in plain words
  const INTRODUCED = 8; // an entry that introduces what is asked for
  const ASKING = new Set(
    "how why what when where which who whose can could is are do does did should will".split(" "),
  );
  const MOST_EXPANSIONS = 40;
  const LOOKED_THROUGH = 60; // entries whose text is searched for the query as it stands

  let index = null;

  // Take the file apart once.
  function open(raw) {
    const terms = raw.terms.split(" ");
    index = {
      pages: raw.pages.map(([name, title, crumb, prior]) => ({ name, title, crumb, prior })),
      entries: raw.entries.map(([page, kind, anchor, title, text]) => ({ page, kind, anchor, title, text })),
      terms,
      postings: raw.postings.split(" "),
      at: new Map(terms.map((term, i) => [term, i])),
      stop: new Set(raw.stop.split(" ")),
      introduced: new Map(Object.entries(raw.introduced)),
      upstream: raw.upstream.map(([where, name, uses, keys]) => ({ where, name, uses, keys })),
      names: new Map(),
      guides: new Map(),
      upstreamNames: new Map(),
    };
    index.entries.forEach((entry, i) => note(index.names, entryKeys(entry), i));
    index.entries.forEach((entry, i) => {
      const guided = entry.kind === "page" && /^Phase \d+: (.+)$/.exec(entry.title);
      if (guided && /\/00-guide$/.test(index.pages[entry.page].name)) index.guides.set(nameKey(guided[1]), i);
    });
    index.upstream.forEach((one, i) => note(index.upstreamNames, one.keys.split(" "), i));
    return index;
  }

  function note(map, keys, value) {
    for (const key of new Set(keys)) {
      if (!map.has(key)) map.set(key, []);
      map.get(key).push(value);
    }
  }

  function entryKeys(entry) {
    const key = nameKey(entry.title);
    if (entry.kind !== "code") return [key];
    const full = nameKey(entry.anchor).split(".");
    return [...full.map((_, i) => full.slice(i).join("."))];
  }

  function decode(text) {
    const pairs = [];
    let entry = 0;
    for (let i = 0; i < text.length; ) {
      let gap = 0;
      let shift = 0;
      for (;;) {
        const digit = DIGITS.get(text[i++]);
        gap |= (digit & 31) << shift;
        if (digit < 32) break;
        shift += 5;
      }
      entry += gap;
      pairs.push(entry, DIGITS.get(text[i++]) / 63);
    }
    return pairs;
  }

  // ---- a query as words, each with the terms that stand for it ----

  function wordsOf(query) {
    const found = [];
    const unfinished = /[\p{L}\p{N}_]$/u.test(query);
    const all = chains(query);
    all.forEach((members, i) => {
      const parts = members.flat();
      const alternatives = new Map();
      const offer = (term, weight) => {
        if (index.at.has(term)) alternatives.set(term, Math.max(weight, alternatives.get(term) ?? 0));
      };
      const name = joined(members);
      const wholes = [name, members.map((m) => m.join("")).at(-1)];
      if (parts.length === 1) wholes.push(stem(parts[0]));
      offer(wholes[0], 1);
      if (parts.length === 1) offer(wholes.at(-1), 1);
      const last = i === all.length - 1 && unfinished;
      if (last && name.length > 1) {
        for (const term of startingWith(name)) offer(term, PARTIAL * Math.sqrt(name.length / term.length));
      }
      const stop = parts.length === 1 && (index.stop.has(name) || name.length < 2);
      const word = { name, parts, stop, alternatives };
      if (parts.length > 1) word.pieces = parts.filter((p) => p.length > 1 && !index.stop.has(p)).map((p) => pieceOf(p));
      if (!alternatives.size && !stop && !word.pieces?.some((p) => p.size)) misspelt(name).forEach((t) => offer(t, MISSPELT));
      found.push(word);
    });
    return found;
  }

  function pieceOf(part) {
    const terms = new Map();
    for (const term of [part, stem(part)]) if (index.at.has(term)) terms.set(term, 1);
    if (!terms.size) for (const term of misspelt(part)) terms.set(term, MISSPELT);
    return terms;
  }

  function startingWith(prefix) {
    const { terms } = index;
    let low = 0;
    let high = terms.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (terms[middle] < prefix) low = middle + 1;
      else high = middle;
    }
    const found = [];
    while (low < terms.length && terms[low].startsWith(prefix) && found.length < MOST_EXPANSIONS) found.push(terms[low++]);
    return found;
  }

  // Terms a letter away; or, when there are none, those that differ in the ending only.
  function misspelt(word) {
    if (word.length < 4) return [];
    const forms = [word, stem(word)];
    const near = index.terms.filter((term) => forms.some((form) => oneEditApart(form, term)));
    if (near.length || word.length < 7) return near;
    const start = word.slice(0, -2);
    return startingWith(start).filter((term) => term.length <= word.length + 1);
  }

  // ---- scores ----

  const rarity = (count) => Math.log(1 + (index.entries.length - count + 0.5) / (count + 0.5));

  // Entry → how well it meets a set of terms that mean the same.
  function met(alternatives) {
    const values = new Map();
    for (const [term, weight] of alternatives) {
      const pairs = decode(index.postings[index.at.get(term)]);
      const rare = rarity(pairs.length / 2);
      for (let i = 0; i < pairs.length; i += 2) {
        const value = weight * rare * pairs[i + 1];
        if (value > (values.get(pairs[i]) ?? 0)) values.set(pairs[i], value);
      }
    }
    return values;
  }

  function metWord(word) {
    const values = met(word.alternatives);
    if (!word.pieces?.length) return values;
    const lists = word.pieces.map((piece) => met(piece));
    const sums = new Map();
    for (const list of lists) {
      for (const [entry, value] of list) {
        const sum = sums.get(entry) ?? { value: 0, count: 0 };
        sum.value += value;
        sum.count += 1;
        sums.set(entry, sum);
      }
    }
    for (const [entry, { value, count }] of sums) {
      const share = count / lists.length;
      const apart = (IN_PARTS * value * share * share) / Math.sqrt(lists.length);
      values.set(entry, Math.max(apart, values.get(entry) ?? 0) + 0.1 * apart);
    }
    return values;
  }

  // A sentence that begins as a question does, and in which no word is a name of code.
  function asks(words) {
    return words.length > 2 && ASKING.has(words[0].name) && words.every((word) => word.parts.length === 1);
  }

  function rank(query, most = 20) {
    const words = wordsOf(query);
    const asked = asks(words);
    const said = words.filter((word) => !word.stop);
    const counted = said.length ? said : words;
    const entries = new Map();
    words.forEach((word, w) => {
      const counts = counted.includes(word);
      for (const [entry, value] of metWord(word)) {
        if (!entries.has(entry)) entries.set(entry, { sum: 0, words: new Map() });
        const one = entries.get(entry);
        one.sum += counts ? value : 0.3 * value;
        if (counts) one.words.set(w, value);
      }
    });
    if (counted === said) for (const [entry, one] of entries) if (!one.words.size) entries.delete(entry);
    const named = exactNames(query);
    for (const entry of asked ? introducing(words, said) : []) named.set(entry, (named.get(entry) ?? 0) + INTRODUCED);
    for (const entry of named.keys()) if (!entries.has(entry)) entries.set(entry, { sum: 0, words: new Map() });
    for (const [entry, one] of entries) {
      one.score = one.sum * (one.words.size / counted.length || 0.1) + (named.get(entry) ?? 0);
      if (asked && index.entries[entry].kind === "code") one.score *= OF_CODE;
    }
    phrases(query, entries);
    return pagesOf(entries, counted.length, upstreamNamed(query), most);
  }

  // The query is the name of a thing or the title of a place.
  function exactNames(query) {
    const key = nameKey(query);
    const bonus = new Map();
    for (const entry of index.names.get(key) ?? []) {
      const { kind, title } = index.entries[entry];
      if (kind !== "code" && isFile(query)) continue; // `core.py` is not the section "Core"
      const whole = kind !== "code" || nameKey(title) === key || key.includes(".");
      bonus.set(entry, kind === "page" ? 30 : whole ? 14 : 4);
    }
    return bonus;
  }

  // "What is a token": the entries that have the word in italics, and the guide of that name.
  function introducing(words, said) {
    if (!/^(what|who)$/.test(words[0].name) || !/^(is|are)$/.test(words[1].name)) return [];
    const terms = said.map((word) => stem(word.parts[0])).join(" ");
    const guide = index.guides.get(said.map((word) => word.name).join("."));
    return [...(index.introduced.get(terms) ?? []), ...(guide === undefined ? [] : [guide])];
  }

  const isFile = (query) => /\.py$/i.test(query.trim());

  function upstreamNamed(query) {
    const key = nameKey(query);
    const file = (isFile(query) && index.upstreamNames.get(`${key}.py`)) || [];
    const found = new Set([...(index.upstreamNames.get(key) ?? []), ...file]);
    return [...found].map((i) => index.upstream[i]);
  }

  // Words that stand together in the query and on the page belong together.
  function phrases(query, entries) {
    const wanted = query.trim().toLowerCase().replace(/\s+/g, " ").split(" ");
    if (wanted.length < 2) return;
    const best = [...entries].sort((a, b) => b[1].score - a[1].score).slice(0, LOOKED_THROUGH);
    for (const [entry, one] of best) {
      const { title, text } = index.entries[entry];
      const said = `${title} ${text}`.toLowerCase();
      let pairs = 0;
      for (let i = 0; i + 1 < wanted.length; i += 1) if (said.includes(`${wanted[i]} ${wanted[i + 1]}`)) pairs += 1;
      const whole = said.includes(wanted.join(" "));
      one.score *= 1 + (0.35 * pairs) / (wanted.length - 1) + (whole ? 0.5 : 0);
    }
  }

  function pagesOf(entries, count, upstream, most) {
    const pages = new Map();
    for (const [number, one] of entries) {
      const entry = index.entries[number];
      if (!pages.has(entry.page)) pages.set(entry.page, { entries: [], words: new Map(), uses: [] });
      const page = pages.get(entry.page);
      page.entries.push({ ...entry, number, score: one.score });
      for (const [w, value] of one.words) page.words.set(w, Math.max(value, page.words.get(w) ?? 0));
    }
    for (const one of upstream) {
      for (let i = 0; i < one.uses.length; i += 2) {
        const [page, times] = [one.uses[i], one.uses[i + 1]];
        if (!pages.has(page)) pages.set(page, { entries: [], words: new Map(), uses: [] });
        pages.get(page).uses.push({ ...one, times });
      }
    }
    const ranked = [...pages].map(([number, page]) => {
      page.entries.sort((a, b) => b.score - a.score || a.number - b.number);
      const whole = [...page.words.values()].reduce((a, b) => a + b, 0) * (page.words.size / count) ** 2;
      const others = page.entries.slice(1, 4).reduce((sum, entry) => sum + entry.score, 0);
      const times = page.uses.reduce((sum, use) => sum + use.times, 0);
      const score = (page.entries[0]?.score ?? 0) + 0.3 * whole + 0.12 * others + (8 * times) / (times + 3);
      return { ...index.pages[number], number, score: score * index.pages[number].prior, entries: page.entries, uses: page.uses };
    });
    ranked.sort((a, b) => b.score - a.score || a.number - b.number);
    return ranked.slice(0, most);
  }

  return { decode, open, rank, wordsOf };
})();
