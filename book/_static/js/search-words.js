// Words as the index has them. What `book/_ext/search/words.py` does to the pages is done here to
// the query; a test holds one against the other over every word of the book.

"use strict";

var BookSearch = window.BookSearch ?? (window.BookSearch = {});

BookSearch.words = (() => {
  const CHAIN = /[\p{L}\p{N}_]+(?:[-./:#]+[\p{L}\p{N}_]+)*/gu;
  const SEPARATORS = /[./:#]+/;
  const PARTS = /[A-Z]+s?(?![a-z])|[A-Z]?[a-z]+|[0-9]+|(?:(?![a-zA-Z0-9])[\p{L}\p{N}])+/gu;
  const POSSESSIVE = /['’]s(?![\p{L}\p{N}_])/gu;
  const THOUSANDS = /(?<=\d),(?=\d{3})/g;
  const ACCENTS = /[\u0300-\u036f]/g;
  const stems = new Map();

  const plain = (text) =>
    text.normalize("NFKD").replace(ACCENTS, "").replace(POSSESSIVE, "").replace(THOUSANDS, "");

  function stem(word) {
    if (!stems.has(word)) stems.set(word, BookSearch.stemmer.stemWord(word));
    return stems.get(word);
  }

  // Each chain of a text: where it stands in the plain text, its members, and their parts.
  function chains(text) {
    const found = [];
    for (const match of plain(text).matchAll(CHAIN)) {
      const members = match[0]
        .split(SEPARATORS)
        .map((member) => (member.match(PARTS) ?? []).map((part) => part.toLowerCase()))
        .filter((parts) => parts.length);
      if (members.length > 1 && members.at(-1).length === 1 && members.at(-1)[0] === "py") members.pop();
      if (members.length) found.push(members);
    }
    return found;
  }

  const joined = (members) => members.map((parts) => parts.join("")).join(".");
  const nameKey = (text) => chains(text).map(joined).join(".");

  function terms(text, stop) {
    const found = [];
    for (const members of chains(text)) {
      for (const parts of members) {
        for (const part of parts) {
          if (part.length > 1 && !stop?.has(part)) found.push(stem(part));
        }
        if (parts.length > 1) found.push(parts.join(""));
      }
      if (members.length > 1) found.push(joined(members));
    }
    return found;
  }

  // Whether one letter inserted, left out, changed or swapped with the next makes `a` into `b`.
  function oneEditApart(a, b) {
    if (a.length > b.length) [a, b] = [b, a];
    if (b.length - a.length > 1 || a === b) return false;
    let i = 0;
    while (i < a.length && a[i] === b[i]) i += 1;
    if (a.length < b.length) return a.slice(i) === b.slice(i + 1);
    if (a.slice(i + 1) === b.slice(i + 1)) return true;
    return a[i] === b[i + 1] && a[i + 1] === b[i] && a.slice(i + 2) === b.slice(i + 2);
  }

  return { chains, joined, nameKey, oneEditApart, plain, stem, terms };
})();
