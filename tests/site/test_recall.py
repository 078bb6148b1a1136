"""Recall in a browser: marks, intervals, order, and the page of what is due."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

pytestmark = pytest.mark.browser

STORE = "inside-the-engine:recall"
NOON = datetime(2026, 3, 10, 12)


def asked(tab, part: str = "/CHEATSHEET"):
    """A page that asks, on the tenth of March; a cheat sheet, since it loads more quickly."""
    tab.page.clock.set_fixed_time(NOON)
    return tab.open_first(part)


def put(page, items: dict) -> None:
    text = json.dumps({"version": 1, "items": items})
    page.evaluate("([k, v]) => localStorage.setItem(k, v)", [STORE, text])


def kept(page) -> dict:
    return json.loads(page.evaluate(f"localStorage.getItem('{STORE}')"))["items"]


def keys(page) -> list[str]:
    return page.locator(".recall-item").evaluate_all("all => all.map((i) => i.dataset.recall)")


def mark(item, name: str) -> None:
    details = item.locator("details")
    if not details.evaluate("d => d.open"):
        details.locator("summary").click()
    item.get_by_role("button", name=name).click()


def test_a_known_question_rests_longer_each_time(tab):
    page = asked(tab)
    first = keys(page)[0]
    item = page.locator(f"[data-recall='{first}']")
    mark(item, "Knew it")
    assert kept(page)[first] == {"box": 1, "due": "2026-03-11"}
    assert item.locator(".recall-when").inner_text() == "Comes back tomorrow."
    for box, due in ((2, "2026-03-13"), (3, "2026-03-17"), (4, "2026-03-26"), (5, "2026-04-14")):
        put(page, {first: {"box": box - 1, "due": "2026-03-10"}})
        page.reload()
        mark(item, "Knew it")
        assert kept(page)[first] == {"box": box, "due": due}
    put(page, {first: {"box": 5, "due": "2026-03-10"}})
    page.reload()
    mark(item, "Knew it")
    assert kept(page)[first] == {"box": 5, "due": "2026-04-14"}
    assert [e for e in tab.errors if not e.startswith("failed: ")] == []


def test_one_mark_a_visit_counts_and_may_be_changed(tab):
    page = asked(tab)
    first = keys(page)[0]
    item = page.locator(f"[data-recall='{first}']")
    for _ in range(3):
        mark(item, "Knew it")
    assert kept(page)[first]["box"] == 1
    mark(item, "Not yet")
    assert kept(page)[first] == {"box": 0, "due": "2026-03-10"}
    pressed = item.locator("button").evaluate_all("bs => bs.map((b) => b.ariaPressed)")
    assert pressed == ["false", "true"]
    mark(item, "Knew it")
    assert kept(page)[first] == {"box": 1, "due": "2026-03-11"}


def test_what_still_rests_is_not_moved_by_knowing_it_again(tab):
    page = asked(tab)
    first = keys(page)[0]
    before = {"box": 3, "due": "2026-03-15"}
    put(page, {first: before})
    page.reload()
    item = page.locator(f"[data-recall='{first}']")
    mark(item, "Knew it")
    assert kept(page)[first] == before
    mark(item, "Not yet")
    assert kept(page)[first] == {"box": 0, "due": "2026-03-10"}


def test_not_yet_comes_first_then_due_then_new_then_resting(tab):
    page = asked(tab)
    order = keys(page)
    put(
        page,
        {
            order[0]: {"box": 4, "due": "2026-03-20"},
            order[2]: {"box": 2, "due": "2026-03-10"},
            order[3]: {"box": 0, "due": "2026-03-01"},
        },
    )
    page.reload()
    assert keys(page) == [order[3], order[2], order[1], *order[4:], order[0]]
    assert page.locator(".recall-badge").all_inner_texts() == ["not yet", "due", "resting"]


def test_marking_by_keyboard_keeps_the_focus_and_is_said(tab):
    page = asked(tab, "/01-deep-dive")
    item = page.locator(".recall-item").first
    item.locator("summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    inside = "document.activeElement.closest('.recall-item details') !== null"
    while page.evaluate("document.activeElement.textContent") != "Knew it":
        assert page.evaluate(inside)  # links of the answer, then the buttons
        page.keyboard.press("Tab")
    place = item.bounding_box()["y"]
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Knew it"
    assert item.bounding_box()["y"] == pytest.approx(place, abs=1)
    status = page.locator(".recall-status")
    assert status.get_attribute("role") == "status"
    assert status.inner_text() == "Knew it. Comes back tomorrow."
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Not yet"


def test_rubbish_in_the_store_is_put_aside(tab):
    page = asked(tab)
    first = keys(page)[0]
    for rubbish in ("{", "[]", '{"version": 7, "items": {}}'):
        page.evaluate("([k, v]) => localStorage.setItem(k, v)", [STORE, rubbish])
        page.reload()
        mark(page.locator(f"[data-recall='{first}']"), "Knew it")
        assert kept(page)[first]["box"] == 1
        assert page.evaluate(f"localStorage.getItem('{STORE}:set-aside')") == rubbish
    put(page, {first: {"box": 77, "due": "soon"}, "x": 3, "y": None})
    page.reload()
    assert page.locator(".recall-badge").count() == 0
    assert [e for e in tab.errors if not e.startswith("failed: ")] == []


def test_the_page_of_what_is_due_shows_that_and_no_more(tab):
    page = asked(tab)
    order = keys(page)
    page = tab.open_first("reference/recall")
    assert "Nothing is marked yet" in page.locator(".recall-summary").inner_text()
    assert page.locator(".recall-item:visible").count() == 0
    put(
        page,
        {
            order[0]: {"box": 2, "due": "2026-03-12"},
            order[1]: {"box": 0, "due": "2026-03-09"},
            order[2]: {"box": 2, "due": "2026-03-10"},
        },
    )
    page.reload()
    assert page.locator(".recall-item:visible").count() == 2
    assert page.locator(".recall-phase:visible").count() == 1
    assert page.locator(".recall-summary").inner_text().startswith("2 due, 1 resting")
    for key in order[1:3]:
        mark(page.locator(f"[data-recall='{key}']"), "Knew it")
    assert page.locator(".recall-item:visible").count() == 2  # nothing jumps away under the hand
    page.reload()
    assert page.locator(".recall-item:visible").count() == 0
    text = page.locator(".recall-summary").inner_text()
    assert text == "Nothing is due today. 3 resting; the next comes on 11 March."
    page.get_by_role("button", name="Show every question").click()
    assert page.locator(".recall-item:visible").count() == len(keys(page)) > len(order)


def test_without_scripts_the_questions_are_folded_and_all_there(browser, address, first_page):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    for part in ("/01-deep-dive", "reference/recall"):
        page.goto(address + first_page(part))
        items = page.locator(".recall-item")
        assert items.count() >= 4
        assert items.first.locator(".recall-prompt").is_visible()
        answer = items.first.locator(".entry-part").first
        assert not answer.is_visible()
        items.first.locator("summary").click()
        assert answer.is_visible()
        assert page.locator(".recall-item button").count() == 0
    context.close()
