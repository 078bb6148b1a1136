"""Thirty queries, written before the index was: the right page is among the first three.

`pytest tests/site/search -s -k thirty` prints the table.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

WANTED = 27  # of thirty
ANSWERED = 9  # of twelve
AMONG = 3


def test_the_queries_are_thirty_and_of_every_kind(queries):
    assert len(queries) == 30
    assert len({query["text"] for query in queries}) == 30
    kinds = {query["kind"] for query in queries}
    assert kinds == {"words", "ours", "upstream", "log", "error", "typing"}
    assert all(query["right"] and query["because"] for query in queries)


def test_every_right_page_is_a_page(queries, questions, search):
    names = {page[0] for page in search.raw["pages"]}
    missing = {page for query in [*queries, *questions] for page in query["right"]} - names
    assert not missing


def ranked(queries, search) -> tuple[int, str]:
    """How many have a right page among the first, and the table that says which."""
    answers = search.pages(*(query["text"] for query in queries))
    rows, found = [], 0
    for query, pages in zip(queries, answers, strict=True):
        places = [pages.index(page) + 1 for page in query["right"] if page in pages]
        rank = min(places, default=None)
        found += rank is not None and rank <= AMONG
        first = pages[0] if pages else "nothing"
        rows.append(f"{rank or '-':>4}  {query['text']:58}  {first}")
    table = "\n".join(["rank  query" + " " * 55 + "first page", *rows])
    print(f"\n{table}\n{found} of {len(queries)} among the first {AMONG}")
    return found, table


def test_the_right_page_is_among_the_first_three_for_27_of_thirty(queries, search):
    found, table = ranked(queries, search)
    assert found >= WANTED, table


def test_questions_in_a_strangers_words(questions, search):
    found, table = ranked(questions, search)
    assert found >= ANSWERED, table


def test_what_a_request_is_stands_where_the_book_says_it(search):
    # Italics introduce a term; where they stressed this word, a page that pads requests came first.
    (first, *_), *_ = search.pages("what is a request")
    assert first == "book/phase-01-architecture-and-request-lifecycle/01-deep-dive"
