"""Answers move to the end of their page, and both ways lead somewhere."""

from __future__ import annotations

from book.downloads import answers
from book.downloads.article import chapter_of


def collected(site, every, page="part/exercises"):
    article = chapter_of((site / f"{page}.html").read_text(), every[page], every, "../html")
    return article, answers.collect(article)


def test_each_answer_stands_after_every_question(site, every):
    article, count = collected(site, every)
    assert count == 2
    text = article.get_text(" ", strip=True)
    assert text.index("How?") < text.index("Answers") < text.index("Because.") < text.index("So.")


def test_links_lead_from_question_to_answer_and_back(site, every):
    article, _ = collected(site, every)
    ids = {e["id"] for e in article.find_all(id=True)}
    ways = [a["href"][1:] for a in article.select("a.page-number, a.answer-back")]
    assert len(ways) == 4
    assert set(ways) <= ids
    assert [p.get_text() for p in article.select(".entry-number")] == ["Exercise 1", "Exercise 2"]


def test_the_answers_heading_is_one_level_below_the_page(site, every):
    article, _ = collected(site, every)
    heading = article.select_one(".answers > .level-2")
    assert (heading.name, heading.get_text()) == ("h3", "Answers")


def test_a_page_without_questions_is_left_alone(site, every):
    article, count = collected(site, every, "part/guide")
    assert count == 0
    assert not article.select(".answers")
