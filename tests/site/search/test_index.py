"""What must hold of the index, whatever is asked: everything can be found by its own name."""

from __future__ import annotations

import pytest

from book._ext.search.pages import spelled
from book._ext.search.words import STOP_WORDS, chains, name_key, stem, terms

pytestmark = pytest.mark.browser


def homes(search, kind: str) -> dict[str, set[str]]:
    """Title of an entry of this kind → the pages that have it."""
    pages = [page[0] for page in search.raw["pages"]]
    found: dict[str, set[str]] = {}
    for page, this, _, title, _ in search.raw["entries"]:
        if this == kind:
            found.setdefault(title, set()).add(pages[page])
    return found


def test_every_page_is_found_first_by_its_title(search):
    titles = homes(search, "page")
    answers = search.pages(*titles)
    wrong = {
        title: found[: len(pages)]
        for (title, pages), found in zip(titles.items(), answers, strict=True)
        if set(found[: len(pages)]) != pages
    }
    assert not wrong


def test_every_name_of_our_code_finds_its_home(search):
    names = homes(search, "code")
    assert len(names) > 500
    answers = search.pages(*names, most=5)
    wrong = {
        name: found
        for (name, pages), found in zip(names.items(), answers, strict=True)
        if not pages & set(found[: 2 + len(pages)])
    }
    assert not wrong


def test_every_upstream_name_finds_a_page_that_has_it(search):
    pages = [page[0] for page in search.raw["pages"]]
    having: dict[str, set[str]] = {}
    for where, name, uses, _ in search.raw["upstream"]:
        for form in spelled(where, name):
            having.setdefault(form, set()).update(pages[use] for use in uses[::2])
    logs = [name for where, name, *_ in search.raw["upstream"] if where == "log"]
    for log in logs:  # one page quotes more of a line than another
        having[log] = set().union(*(having[one] for one in logs if log in one))
    wanted = {
        form: having[form]
        for where, name, *_ in search.raw["upstream"]
        for form in spelled(where, name)[:3][-1:]
        if name or not form.isidentifier()  # a folder at the top, `tests`, is a plain word
    }
    # A name that several of our own modules have as well, `main`: their homes stand before it.
    ours = homes(search, "code")
    wanted = {form: right for form, right in wanted.items() if len(ours.get(form, ())) < 3}
    assert len(wanted) > 200
    answers = search.pages(*wanted, most=8)
    wrong = {
        form: found
        for (form, right), found in zip(wanted.items(), answers, strict=True)
        # Of what is ours as well, `Attention`, or a file that many name, some pages speak more.
        if not right & set(found[: 5 if form in ours or form.endswith(".py") else 3])
    }
    assert not wrong


def test_the_page_that_discusses_a_symbol_most_stands_first_in_its_row(search):
    for _, name, uses, _ in search.raw["upstream"]:
        times = uses[1::2]
        assert times == sorted(times, reverse=True), name


@pytest.mark.parametrize("query", ["", "   ", "...", "zqxv", "blorptang zzqqx", "§§§ ---"])
def test_nonsense_finds_nothing(search, query):
    assert search.pages(query) == [[]]


def test_a_name_is_found_however_it_is_spelled(search):
    spellings = ["FreeBlockQueue", "freeblockqueue", "free_block_queue", "free-block-queue"]
    first = {found[0] for found in search.pages(*spellings)}
    assert first == {"book/phase-02-paged-attention/01-deep-dive"}
    flag, field = search.pages("--max-num-batched-tokens", "max_num_batched_tokens")
    assert set(flag[:3]) & set(field[:3])
    path, module = search.pages("vllm/v1/core/block_pool.py", "vllm.v1.core.block_pool")
    assert path[:3] == module[:3]


def test_a_file_goes_by_its_name_and_is_no_word(search):
    """`core.py` is discussed in many places, and is not the exercises' section "Core"."""
    file, word = search.pages("core.py", "core")
    rows = [used for where, _, used, _ in search.raw["upstream"] if where.endswith("/core.py")]
    named = {search.raw["pages"][page][0] for used in rows for page in used[::2]}
    assert set(file[:4]) <= named
    assert any(page.endswith("/EXERCISES") for page in word[:4])


def test_who_asks_what_a_phase_is_about_finds_its_guide(search):
    found = search.pages("what is paged attention", "what is continuous batching")
    assert [pages[0] for pages in found] == [
        "book/phase-02-paged-attention/00-guide",
        "book/phase-03-continuous-batching/00-guide",
    ]


def test_the_browser_cuts_words_as_the_build_does(search):
    """Every title and text of the book, cut twice."""
    texts = [entry[3] for entry in search.raw["entries"]]
    texts += [entry[4] for entry in search.raw["entries"]]
    script = """([texts, stop]) => {
        const words = new Set(stop);
        const { terms, nameKey } = BookSearch.words;
        return texts.map((text) => [terms(text, words), nameKey(text)]);
    }"""
    theirs = search.evaluate(script, [texts, sorted(STOP_WORDS)])
    for text, (cut, key) in zip(texts, theirs, strict=True):
        assert cut == terms(text), text
        assert key == name_key(text), text
    vocabulary = sorted({part for text in texts for c in chains(text) for m in c for part in m})
    stems = search.evaluate("(words) => words.map(BookSearch.words.stem)", vocabulary)
    assert stems == [stem(word) for word in vocabulary]


def test_lists_come_apart_as_they_were_put_together(search):
    """The browser's reading of the postings against the numbers of the build."""
    from book._ext.search.index import DIGITS, encoded

    rows = [[(0, 1), (1, 63), (33, 7), (1200, 9), (40000, 5)], [(5, 5)], [(31, 2), (63, 3)]]
    script = """(text) => BookSearch.ranking.decode(text)"""
    for row in rows:
        pairs = search.evaluate(script, encoded(row))
        assert [(pairs[i], round(pairs[i + 1] * 63)) for i in range(0, len(pairs), 2)] == row
    assert len(set(DIGITS)) == 64


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("schedular", "scheduler"), ("preemtion", "preemption"), ("fragmantation", "fragmentation")],
)
def test_a_misspelt_word_finds_what_was_meant(search, typed, meant):
    found, wanted = search.pages(typed, meant)
    assert set(found[:3]) & set(wanted[:3])
