"""Progress in a browser: ticks, what the `labs` command graded, and a store that holds rubbish."""

from __future__ import annotations

import json
import re

import pytest

from book.reading_time import MOST_MINUTES, in_words

pytestmark = pytest.mark.browser

STORE = "inside-the-engine:progress"
OLD = "inside-the-engine:labs-done"


def labs_of(page, phase: str) -> list[list]:
    """The labs of a phase with their minutes, as the build wrote them."""
    return page.evaluate(f"insideTheEngine.course['{phase}'].labs")


def phase_of(page) -> str:
    return page.locator("[data-progress-phase]").first.get_attribute("data-progress-phase")


def put(page, key: str, value: str) -> None:
    page.evaluate("([key, value]) => localStorage.setItem(key, value)", [key, value])
    page.reload()


def hours(minutes: int) -> str:
    """A part of a whole that is said in hours: in hours and minutes however short it is."""
    parts = [f"{minutes // 60}\u00a0h"] if minutes >= 60 else []
    return "\u00a0".join([*parts, *([f"{minutes % 60}\u00a0min"] if minutes % 60 else [])])


def text_of(page) -> str:
    return page.locator(".progress-text").first.inner_text()


def grade(page, labs: dict, problem: str = "") -> None:
    """Dispatch what the server's script dispatches."""
    state = "damaged" if problem else "ok"
    detail = {"version": 1, "state": state, "problem": problem, "labs": labs}
    page.evaluate(
        "(d) => document.dispatchEvent(new CustomEvent('labs-state', {detail: d}))", detail
    )


def graded(done: int, total: int, *, finished: bool) -> dict:
    return {
        "tasks": list(range(1, done + 1)),
        "done": done,
        "total": total,
        "finished": finished,
        "since": "2026-03-01T19:30:05",
    }


def test_ticked_labs_are_counted_with_their_minutes(tab):
    page = tab.open_first("/00-guide")
    phase = phase_of(page)
    labs = labs_of(page, phase)
    whole = sum(minutes for _, minutes in labs)
    assert whole > MOST_MINUTES
    assert text_of(page).startswith(f"0 / {len(labs)} labs, {in_words(whole)} ·")
    ticked = {labs[0][0]: 1, labs[1][0]: 2}
    put(page, STORE, json.dumps({"version": 1, "labs": ticked, "pages": {}}))
    part = labs[0][1] + labs[1][1]
    said = f"2 / {len(labs)} labs, {hours(part)} of {in_words(whole)} ·"
    assert text_of(page).startswith(said)
    done = page.locator("[data-progress-phase]").first.evaluate(
        "e => [e.style.getPropertyValue('--done'), e.dataset.progress]"
    )
    assert float(done[0]) == pytest.approx(part / whole, abs=1e-4)
    assert done[1] == "some"
    assert tab.errors == []


def test_any_element_of_a_phase_is_filled(tab):
    page = tab.open("index.html")
    phase = page.evaluate("Object.keys(insideTheEngine.course)[0]")
    lab, minutes = labs_of(page, phase)[0]
    page.evaluate(
        """(phase) => {
          for (const [id, of, form] of [["a", phase, ""], ["b", "all", "labs"], ["c", "99", ""],
                                        ["d", phase, "none"]]) {
            const e = document.createElement("p");
            e.id = `made-${id}`;
            e.textContent = "as it was";
            e.dataset.progressPhase = of;
            if (form) e.dataset.progressForm = form;
            document.querySelector("article").append(e);
          }
          window.heard = 0;
          document.addEventListener("progress-changed", () => { heard += 1; });
        }""",
        phase,
    )
    grade(page, {lab: graded(3, 3, finished=True)})
    look = "e => [e.textContent, Number(e.style.getPropertyValue('--done'))]"
    text, done = page.locator("#made-a").evaluate(look)
    assert text.startswith("1 / ")
    assert f", {hours(minutes)} of " in text
    assert 0 < done <= 1
    course_text, course_done = page.locator("#made-b").evaluate(look)
    assert course_text.startswith("1 / ")
    assert "·" not in course_text
    assert 0 < course_done <= done
    assert page.locator("#made-c").evaluate(look) == ["as it was", 0]
    assert page.locator("#made-d").evaluate(look) == ["as it was", done]
    assert page.evaluate("heard") == 1


def test_the_ticks_of_earlier_builds_are_taken_over_once(tab):
    page = tab.open_first("/lab-")
    lab = page.locator(".lab-done").get_attribute("data-lab")
    put(page, OLD, json.dumps([lab, 7, None, "<b>"]))
    button = page.locator(".lab-done button")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    button.click()
    assert page.evaluate(f"localStorage.getItem('{OLD}')") is None
    kept = json.loads(page.evaluate(f"localStorage.getItem('{STORE}')"))
    assert kept["version"] == 1
    assert list(kept["labs"]) == [lab]
    button.click()
    page.reload()
    assert page.locator(".lab-done button").get_attribute("aria-pressed") == "false"


RUBBISH = (
    "",
    "{",
    "null",
    '{"version": 99, "labs": {"phase-01/lab-01": 1}}',
    '{"version": 1, "labs": [1, 2], "pages": "no"}',
    '{"version": 1, "labs": {"<img src=x>": 1, "phase-01/lab-01": "x"}}',
)


def test_rubbish_in_the_store_breaks_nothing_and_is_put_aside(tab):
    page = tab.open_first("/lab-")
    button = page.locator(".lab-done button")
    for rubbish in RUBBISH:
        page.evaluate("localStorage.clear()")
        put(page, STORE, rubbish)
        assert button.get_attribute("aria-pressed") == "false", rubbish
        button.click()
        page.reload()
        assert button.get_attribute("aria-pressed") == "true", rubbish
        aside = page.evaluate(f"localStorage.getItem('{STORE}:set-aside')")
        assert aside == (None if rubbish.startswith('{"version": 1,') else rubbish)
    # A reload may cut off a request that is under way; nothing else may go wrong.
    assert [e for e in tab.errors if not e.startswith("failed: ")] == []


def test_a_browser_that_stores_nothing_still_ticks(browser, address, first_page):
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('refused'); } });"
    )
    errors = []
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.goto(address + first_page("/lab-"))
    page.locator(".lab-done button").click()
    assert page.locator(".lab-done button").get_attribute("aria-pressed") == "true"
    assert not [e for e in errors if "progress" in e]
    context.close()


def test_a_graded_lab_is_done_and_says_who_graded_it(tab):
    page = tab.open_first("/lab-")
    lab = page.locator(".lab-done").get_attribute("data-lab")
    grade(page, {lab: graded(2, 6, finished=False)})
    note = page.locator(".lab-graded")
    assert "2 of 6 tasks" in note.inner_text()
    assert page.locator(".lab-done button").inner_text() == "Mark as done"
    grade(page, {lab: graded(6, 6, finished=True)})
    assert "Graded by the labs command on 2026-03-01" in note.inner_text()
    assert page.locator(".lab-done button").is_hidden()
    assert page.evaluate(f"localStorage.getItem('{STORE}')") is None  # graded is not ticked
    grade(page, {})
    assert note.is_hidden()
    assert page.locator(".lab-done button").is_visible()


def test_a_record_that_cannot_be_read_is_said_to_be_so(tab):
    page = tab.open_first("/lab-")
    grade(page, {}, problem="progress.json: <b>cut off</b>")
    note = page.locator(".lab-graded")
    assert "progress.json: <b>cut off</b>" in note.inner_text()
    assert page.locator(".lab-done button").is_visible()
    grade(page, {})
    assert note.is_hidden()


def test_a_tick_by_hand_outlives_what_the_command_says(tab):
    page = tab.open_first("/lab-")
    lab = page.locator(".lab-done").get_attribute("data-lab")
    button = page.locator(".lab-done button")
    button.click()
    grade(page, {lab: graded(6, 6, finished=True)})
    assert button.is_visible()
    grade(page, {lab: graded(5, 6, finished=False)})
    assert button.get_attribute("aria-pressed") == "true"


def test_the_labs_page_tells_graded_from_ticked(tab):
    page = tab.open_first("labs/phase-")
    tiles = page.locator(".lab-tile")
    first, second, third = (tiles.nth(i).get_attribute("data-lab") for i in range(3))
    put(page, STORE, json.dumps({"version": 1, "labs": {first: 1}, "pages": {}}))
    grade(page, {second: graded(4, 4, finished=True), third: graded(1, 4, finished=False)})
    states = page.locator(".lab-tile-state").all_inner_texts()
    assert states[:3] == ["✓ done", "✓ graded", "1 of 4 tasks green"]
    assert text_of(page).startswith("2 / ")


@pytest.mark.parametrize("detail", ["null", "7", "{version: 2, labs: {}}", "{version: 1, labs: 3}"])
def test_a_foreign_labs_state_changes_nothing(tab, detail):
    page = tab.open_first("/00-guide")
    before = text_of(page)
    page.evaluate(f"document.dispatchEvent(new CustomEvent('labs-state', {{detail: {detail}}}))")
    assert text_of(page) == before
    assert tab.errors == []


def test_a_tick_in_one_tab_shows_in_the_other(tab):
    page = tab.open_first("/00-guide")
    lab, _ = labs_of(page, phase_of(page))[0]
    other = page.context.new_page()
    other.goto(page.url)
    state = json.dumps({"version": 1, "labs": {lab: 1}, "pages": {}})
    other.evaluate("([k, v]) => localStorage.setItem(k, v)", [STORE, state])
    page.wait_for_function("document.querySelector('.progress-text').innerText.startsWith('1 / ')")


def test_a_page_is_ticked_as_read_at_its_foot(tab):
    page = tab.open_first("/01-deep-dive")
    if not page.locator(".page-done").count():
        pytest.skip("this build has no page with minutes")
    here = page.url
    button = page.locator(".page-done button")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert button.inner_text() == "✓ Read"
    tab.open(here.removeprefix(tab.address).replace("01-deep-dive", "00-guide"))
    assert "· 1 / " in text_of(page)
    read = page.locator("[data-progress-phase]").first.evaluate(
        "e => Number(e.style.getPropertyValue('--read'))"
    )
    assert 0 < read < 1


def test_without_scripts_the_totals_stand(browser, address, first_page):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address + first_page("/00-guide"))
    text = page.locator(".progress-text").first.inner_text()
    assert text.startswith("0 / ")
    assert re.search(r", (\d+ minutes|\d+\u00a0h(\u00a0\d+\u00a0min)?)$", text)
    assert page.locator(".tick").count() == 0
    context.close()


def test_the_script_says_a_time_as_the_build_does(browser, address, tab):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address + "index.html")
    built = page.locator(".phase-progress").all_inner_texts()
    context.close()
    assert any("\u00a0h" in text for text in built)
    assert tab.open("index.html").locator(".phase-progress").all_inner_texts() == built


def test_lessons_of_a_module_are_counted_by_their_pages(tab):
    page = tab.open("book/inference-internals/index.html")
    lessons = page.evaluate("insideTheEngine.course['inference-internals'].pages")
    whole = sum(minutes for _, minutes in lessons)
    assert text_of(page) == f"0 / {len(lessons)} lessons, {whole} minutes"
    minutes = lessons[0][1]
    page.locator(".lesson-tile a").first.click()
    page.get_by_role("button", name="Mark this page as read").click()
    page = tab.open("book/inference-internals/index.html")
    assert text_of(page) == f"1 / {len(lessons)} lessons, {minutes} of {whole} minutes"
    done = page.locator("[data-progress-phase]").first.evaluate(
        "e => [e.style.getPropertyValue('--done'), e.dataset.progress]"
    )
    assert float(done[0]) == pytest.approx(minutes / whole, abs=1e-4)
    assert done[1] == ("some" if len(lessons) > 1 else "all")
    assert tab.errors == []
