r"""What is a word, to somebody who looks for one?

A reader types `max_num_batched_tokens`, `--max-num-batched-tokens`, *batched tokens* or
`SchedulerConfig.max_num_batched_tokens`, and means one thing. So a text is cut into *chains*:
words joined by dots, slashes, colons, hyphens or underscores. A chain gives up to three kinds of
terms.

| term | of `core.py#EngineCore.step` | what it is for |
|---|---|---|
| the chain | `core.py.enginecore.step` | a qualified name, a path, a module |
| each name in it, its parts run together | `enginecore`, `step` | a name, however it is spelled |
| the parts, stemmed | `engin`, `core`, `step` | a word that is in a name, or a name in a sentence |

Slashes, dots, hashes and colons are one separator, so a path and a module path agree; a `.py` at
the end of a chain is dropped for the same reason. The stemmer is Snowball's for English; Sphinx
brings the same one for browsers. `search-words.js` does what this module does, and a test holds
one against the other over every word of the book.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

import snowballstemmer
from sphinx.search.en import SearchEnglish

_CHAIN = re.compile(r"\w+(?:[-./:#]+\w+)*")
_SEPARATORS = re.compile(r"[./:#]+")
_PARTS = re.compile(r"[A-Z]+s?(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W_a-zA-Z0-9]+")
_POSSESSIVE = re.compile(r"['’]s\b")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3})")
_ACCENTS = re.compile(r"[\u0300-\u036f]")
_SNOWBALL = snowballstemmer.stemmer("english")

# A little more than Sphinx's list: the words with which questions begin.
STOP_WORDS = frozenset(SearchEnglish.stopwords) | {
    *("how", "why", "what", "when", "where", "which", "who", "whose", "does", "do", "did", "done"),
    *("is", "are", "was", "were", "be", "been", "can", "could", "may", "should", "would", "has"),
    *("have", "had", "my", "your", "our", "its", "it", "he", "she", "we", "you", "i", "me", "us"),
    *("so", "than", "too", "very", "from", "about", "between", "without", "take", "takes", "get"),
    *("difference", "explain", "happens", "mean", "means", "somebody", "someone", "work", "works"),
}


@cache
def stem(word: str) -> str:
    """The stem of a word in lower case."""
    return _SNOWBALL.stemWord(word)


def plain(text: str) -> str:
    """The text without accents, possessives, and commas within numbers."""
    text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    return _THOUSANDS.sub("", _POSSESSIVE.sub("", text))


def chains(text: str) -> Iterator[list[list[str]]]:
    """Each chain of a text: its members, and of each member the parts in lower case."""
    for match in _CHAIN.finditer(plain(text)):
        members = []
        for member in _SEPARATORS.split(match[0]):
            parts = [part.lower() for part in _PARTS.findall(member)]
            if parts:
                members.append(parts)
        if len(members) > 1 and members[-1] == ["py"]:
            members.pop()
        if members:
            yield members


def joined(members: list[list[str]]) -> str:
    """A chain as one term."""
    return ".".join("".join(parts) for parts in members)


def name_key(text: str) -> str:
    """A name, a path or a title as one term: equal for all its spellings."""
    return ".".join(joined(members) for members in chains(text))


def terms(text: str, *, stop: bool = True) -> list[str]:
    """All terms of a text, in order; without `stop`, words that every page has stay in."""
    found: list[str] = []
    for members in chains(text):
        for parts in members:
            for part in parts:
                if len(part) > 1 and not (stop and part in STOP_WORDS):
                    found.append(stem(part))
            if len(parts) > 1:
                found.append("".join(parts))
        if len(members) > 1:
            found.append(joined(members))
    return found
