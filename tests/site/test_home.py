"""The page the book opens with: the run, the anchor, the task, the map."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

PLAYER = ".home-trace .trace-player"
STEP = f"+document.querySelector('{PLAYER} .tp-scrub').value"


def test_all_four_things_are_seen_without_scrolling(tab):
    page = tab.open("index.html")
    for part in ("h1", ".home-lead", PLAYER, ".home-anchor a.up-link", ".first-task .highlight-sh"):
        box = page.locator(f"article {part}").first.bounding_box()
        assert box["y"] + box["height"] <= 900, part


def test_the_run_plays_by_itself_and_stops_for_the_reader(tab):
    page = tab.open("index.html")
    page.wait_for_function(f"{STEP} >= 2")
    page.locator(f"{PLAYER} .tp-play").click()
    stopped = page.evaluate(STEP)
    page.wait_for_timeout(1800)
    assert page.evaluate(STEP) == stopped
    assert tab.errors == []


def test_the_run_comes_to_an_end(tab):
    tab.page.clock.install()
    page = tab.open("index.html")
    page.clock.run_for(1000)
    page.wait_for_function(f"document.querySelector('{PLAYER}').classList.contains('tp-playing')")
    steps = set()
    for _ in range(60):
        page.clock.run_for(1500)
        steps.add(page.evaluate(STEP))
    assert steps == set(range(1, 10))
    assert page.evaluate(STEP) == 9
    assert "tp-playing" not in page.locator(PLAYER).get_attribute("class")


def test_with_less_motion_it_stands_still(browser, address):
    context = browser.new_context(reduced_motion="reduce", viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(address + "index.html")
    page.wait_for_timeout(1900)
    assert page.evaluate(STEP) == 1
    page.locator(f"{PLAYER} .tp-forward").click()
    assert page.evaluate(STEP) == 2
    context.close()


def test_the_anchor_opens_the_lines(tab):
    page = tab.open("index.html")
    link = page.locator(".home-anchor a.up-link").first
    link.hover()
    card = page.locator(".up-card")
    card.wait_for(state="visible")
    assert "def step" in card.inner_text()
    assert tab.foreign == []


def test_the_task_is_the_starters_and_says_how_it_is_graded(tab):
    page = tab.open("index.html")
    text = page.locator(".first-task").inner_text()
    assert "# TODO task 1: write down one moment" in text
    assert ".venv/bin/labs check phase-01/lab-01" in text


def test_written_phases_are_links_and_the_others_say_that_they_are_not(tab, address):
    page = tab.open("index.html")
    nodes = page.locator(".phase-node").all()
    assert len(nodes) == 20
    for node in nodes:
        links = node.locator("a")
        if "not-written" in node.get_attribute("class"):
            assert links.count() == 0
            assert "not written yet" in node.inner_text()
        else:
            reply = page.request.get(address + links.first.get_attribute("href"))
            assert reply.ok


def test_the_map_shows_what_leads_to_a_phase_by_pointer_and_by_key(tab):
    page = tab.open("index.html")
    third = page.locator(".phase-node a").nth(2)
    third.focus()
    lit = page.evaluate("[...document.querySelectorAll('.is-before')].map((e) => e.dataset.from)")
    assert lit == ["00", "01"]
    page.locator(".phase-node").nth(7).hover()
    lit = page.evaluate(
        "[...document.querySelectorAll('.is-before')].map((e) => e.dataset.from).sort()"
    )
    assert lit == ["00", "01", "02", "02", "03", "04", "06"]
    page.mouse.move(5, 5)
    assert page.locator(".is-before").count() == 0


def test_lines_end_at_the_phases_that_they_join(tab):
    page = tab.open("index.html")
    gaps = page.evaluate(
        """() => {
          const at = new Map([...document.querySelectorAll('.phase-node')]
            .map((e) => [e.querySelector('.phase-number').textContent, e.getBoundingClientRect()]));
          return [...document.querySelectorAll('.phase-lines path')].flatMap((line) => {
            const m = line.getScreenCTM();
            const p = line.getPointAtLength(line.getTotalLength()).matrixTransform(m);
            const to = at.get(line.dataset.to), from = at.get(line.dataset.from);
            if (Math.abs(to.y - from.y) < 2) return [];
            return [Math.abs(p.x - (to.x + to.width / 2)), Math.abs(p.y - to.y)];
          });
        }"""
    )
    assert len(gaps) > 30
    assert max(gaps) < 3


def test_on_a_phone_the_map_is_a_list(tab):
    tab.page.set_viewport_size({"width": 390, "height": 844})
    page = tab.open("index.html")
    assert not page.locator(".phase-lines").is_visible()
    tops = [node.bounding_box()["y"] for node in page.locator(".phase-node").all()]
    assert tops == sorted(tops)
    assert "Goes on from 04 and 06." in page.locator(".phase-node").nth(7).inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator(PLAYER).scroll_into_view_if_needed()
    page.wait_for_function(f"{STEP} >= 2")
    assert tab.errors == []


def test_drawings_can_be_read_on_a_phone_and_pan_in_their_own_box(tab):
    tab.page.set_viewport_size({"width": 390, "height": 844})
    page = tab.open_first("/00-guide")
    least = page.evaluate(
        """() => Math.min(...[...document.querySelectorAll('article .figure-scroll svg text')]
          .map((t) => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a))"""
    )
    assert least >= 10.9
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("article .figure-scroll").first
    assert box.evaluate("e => e.scrollWidth > e.clientWidth")
    assert box.get_attribute("tabindex") == "0"


def test_lines_are_of_a_length_to_read_and_code_of_88_columns_fits(tab):
    page = tab.open_first("/01-deep-dive")
    lines = page.evaluate(
        """() => [...document.querySelectorAll('article section > p')]
          .filter((p) => p.textContent.length > 300)
          .map((p) => p.textContent.length /
            (p.getBoundingClientRect().height / parseFloat(getComputedStyle(p).lineHeight)))
          .sort((a, b) => a - b)"""
    )
    assert 60 <= lines[len(lines) // 2] <= 75
    columns = page.evaluate(
        """() => {
          const pre = document.querySelector('article div.highlight pre');
          const style = getComputedStyle(pre);
          const probe = document.createElement('span');
          probe.textContent = '0'.repeat(88);
          pre.append(probe);
          const padding = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
          return pre.clientWidth - padding - probe.getBoundingClientRect().width;
        }"""
    )
    assert columns >= 0
