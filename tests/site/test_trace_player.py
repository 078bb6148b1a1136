"""The trace player in a browser: playing, stepping, scrubbing, keys, voice, theme, width, print."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

PAGE = "phase-01-architecture-and-request-lifecycle/01-deep-dive"
PLAYER = "#trace-first-requests"


@pytest.fixture
def opened(tab):
    """The page, and the player on it."""
    page = tab.open_first(PAGE)
    player = page.locator(PLAYER)
    if not player.count():
        pytest.skip("this build has no trace on that page")
    player.scroll_into_view_if_needed()
    return page, player


def recording(page) -> dict:
    return json.loads(page.locator(f"{PLAYER} .tp-data").text_content())


def step_of(player) -> int:
    return int(player.locator(".tp-scrub").input_value())


def told(player) -> str:
    return player.locator("[role=status]").inner_text()


def test_it_begins_at_its_step_and_all_panels_are_drawn(tab, opened):
    page, player = opened
    data = recording(page)
    lane = data["lanes"][0]
    step, requests, _, _, queue, _, events = lane["frames"][2]
    assert step_of(player) == step == 2
    for _, text in events:
        assert text in told(player)
    assert player.locator(".tp-row").count() == len(requests)
    assert player.locator(".tp-block").count() == lane["blocks"] - 1
    assert player.locator(".tp-chips:not(.tp-ghost) li").all_inner_texts() == [
        str(block) for block in queue
    ]
    assert tab.errors == []
    assert tab.foreign == []


def test_every_step_shows_what_was_recorded(opened):
    page, player = opened
    lane = recording(page)["lanes"][0]
    player.locator(".tp-scrub").focus()
    page.keyboard.press("Home")
    for step, requests, refs, _, queue, marks, events in lane["frames"]:
        assert step_of(player) == step
        assert player.locator(".tp-where").inner_text() == f"step {step} of 9"
        shown = player.evaluate(
            """(root) => ({
                queue: [...root.querySelectorAll('.tp-chips:not(.tp-ghost) li')]
                  .map((e) => +e.textContent),
                tables: [...root.querySelectorAll('.tp-row')].map((row) =>
                  [...row.querySelectorAll('.tp-id')].map((e) => +e.textContent).filter(Boolean)),
                computing: [...root.querySelectorAll('.tp-row')].map((row) =>
                  row.querySelectorAll('.tp-n').length),
                budget: [...root.querySelectorAll('.tp-part')].map((e) => e.textContent),
                refs: [...root.querySelectorAll('.tp-block .tp-count')]
                  .map((e) => +e.textContent.slice(1)),
                marks: [...root.querySelectorAll('.tp-block .tp-mark')].map((e) => e.textContent),
            })"""
        )
        assert shown["queue"] == queue
        assert shown["tables"] == [request[7] for request in requests]
        names = [plan[0] for plan in lane["requests"]]
        scheduled = [request[3] for request in requests]
        assert shown["budget"] == [f"{n} {c}" for n, c in zip(names, scheduled, strict=True) if c]
        # Full colour: exactly the tokens of this step, as long as their blocks are still there.
        assert shown["computing"] == scheduled
        assert shown["refs"] == refs[1:]
        assert shown["marks"] == [marks.get(str(i), "") for i in range(1, lane["blocks"])]
        text = told(player)
        assert all(sentence in text for _, sentence in events)
        page.keyboard.press("ArrowRight")
    assert step_of(player) == 9


def test_buttons_step_and_stop_at_both_ends(opened):
    _, player = opened
    back, forward = player.locator(".tp-back"), player.locator(".tp-forward")
    forward.click()
    assert step_of(player) == 3
    back.click()
    back.click()
    back.click()
    assert step_of(player) == 0
    assert back.get_attribute("aria-disabled") == "true"
    back.click(force=True)
    assert step_of(player) == 0
    assert "Before the first step" in told(player)


def test_it_plays_pauses_and_ends_by_itself(opened):
    page, player = opened
    player.locator("select").select_option("4")
    play = player.locator(".tp-play")
    play.click()
    assert "Pause" in play.get_attribute("aria-label")
    # In one breath: on a busy machine the run may be over before a click from outside arrives.
    page.wait_for_function(
        f"""() => {{
            const player = document.querySelector('{PLAYER}');
            if (+player.querySelector('.tp-scrub').value <= 3) return false;
            player.querySelector('.tp-play').click();
            return true;
        }}"""
    )
    stopped = step_of(player)
    assert 3 < stopped < 9
    page.wait_for_timeout(600)
    assert step_of(player) == stopped
    play.click()
    page.wait_for_function(f"+document.querySelector('{PLAYER} .tp-scrub').value === 9")
    assert "Play" in play.get_attribute("aria-label")
    # From the end it begins again.
    play.click()
    assert step_of(player) < 3
    play.click()


def test_while_it_plays_it_does_not_talk(opened):
    _, player = opened
    voice = player.locator("[role=status]")
    assert voice.get_attribute("aria-live") == "polite"
    player.locator(".tp-play").click()
    assert voice.get_attribute("aria-live") == "off"
    player.locator(".tp-play").click()
    assert voice.get_attribute("aria-live") == "polite"


def test_the_slider_and_the_table_of_steps_lead_to_a_step(opened):
    _, player = opened
    player.locator(".tp-scrub").fill("6")
    assert player.locator(".tp-where").inner_text() == "step 6 of 9"
    assert player.locator(".tp-scrub").get_attribute("aria-valuetext") == "step 6 of 9"
    player.locator(".tp-grid td[data-step='4']").first.click()
    assert step_of(player) == 4
    assert player.locator(".tp-grid thead .tp-now").inner_text() == "4"


def test_keys_step_and_never_turn_the_page(opened):
    page, player = opened
    here = page.url
    player.locator(".tp-scrub").focus()
    for key, step in (("ArrowRight", 3), ("ArrowLeft", 2), ("End", 9), ("ArrowRight", 9)):
        page.keyboard.press(key)
        assert step_of(player) == step
    player.locator(".tp-forward").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(150)
    assert step_of(player) == 0
    assert page.url == here
    # Space plays, except on a button, which it presses.
    page.keyboard.press(" ")
    assert step_of(player) == 1
    assert "Play" in player.locator(".tp-play").get_attribute("aria-label")
    player.locator(".tp-scrub").focus()
    page.keyboard.press(" ")
    assert "Pause" in player.locator(".tp-play").get_attribute("aria-label")
    page.keyboard.press("ArrowLeft")
    assert "Play" in player.locator(".tp-play").get_attribute("aria-label")


def test_outside_the_player_the_arrows_still_turn_pages(opened):
    page, _ = opened
    before = page.evaluate("document.querySelector('link[rel=prev]').href")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(before)


def test_one_tab_stop_for_all_blocks_and_each_says_what_it_is(opened):
    page, player = opened
    assert player.locator(".tp-block[tabindex='0']").count() == 1
    player.locator(".tp-block").first.focus()
    step = step_of(player)
    detail = player.locator(".tp-detail")
    assert detail.inner_text().startswith("Block 1: held by A (ref_cnt 1) for its tokens 0 to 3;")
    page.keyboard.press("ArrowRight")
    assert detail.inner_text().startswith("Block 2: ")
    page.keyboard.press("End")
    assert detail.inner_text().startswith("Block 16: free, number 11 in the free queue;")
    page.keyboard.press("ArrowUp")
    focused = page.evaluate("document.activeElement.querySelector('.tp-number').textContent")
    assert int(focused) < 16
    assert player.locator(".tp-block[tabindex='0']").count() == 1
    assert step_of(player) == step
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label == detail.inner_text()


def test_a_link_leads_to_a_step(tab, opened):
    page, player = opened
    player.locator(".tp-scrub").fill("7")
    link = player.locator(".tp-link").get_attribute("href")
    assert link == "#trace=first-requests&step=7"
    tab.open("index.html")
    tab.page.goto(page.url)
    tab.open_first(PAGE)
    page.goto(page.url.split("#")[0] + link)
    assert step_of(page.locator(PLAYER)) == 7
    page.evaluate("location.hash = 'trace=first-requests&step=99'")
    page.wait_for_function(f"+document.querySelector('{PLAYER} .tp-scrub').value === 9")


def test_nothing_moves_in_height_while_it_plays(opened):
    _, player = opened
    heights = set()
    for step in range(10):
        player.locator(".tp-scrub").fill(str(step))
        heights.add(player.locator(".tp-stage").evaluate("e => Math.round(e.scrollHeight)"))
    assert len(heights) == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_in_the_player_stand_out(opened, theme):
    page, player = opened
    page.add_style_tag(content="* { transition: none !important; }")
    page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    for step in (2, 7, 9):
        player.locator(".tp-scrub").fill(str(step))
        page.wait_for_timeout(50)
        worst = page.evaluate(CONTRAST, PLAYER)
        assert worst["ratio"] >= 4.5, worst


# Backgrounds are mixed colours, so they are painted to be read; gradients count with each colour.
CONTRAST = """(selector) => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (colour, under) => {
    canvas.fillStyle = under; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const css = (c) => `rgb(${c.join(',')})`;
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const COLOURS = /(?:color|rgba?)\\([^()]*\\)/g;
  const grounds = (e) => {
    const chain = [];
    for (let n = e; n; n = n.parentElement) chain.unshift(n);
    let found = [rgb(getComputedStyle(document.body).backgroundColor, 'white')];
    for (const n of chain) {
      const style = getComputedStyle(n);
      found = found.map((under) => rgb(style.backgroundColor, css(under)));
      const stops = style.backgroundImage.match(COLOURS) ?? [];
      if (stops.length) found = found.flatMap((under) => stops.map((s) => rgb(s, css(under))));
    }
    return found;
  };
  let worst = { ratio: 99 };
  const walker = document.createTreeWalker(document.querySelector(selector), 4);
  for (let n = walker.nextNode(); n; n = walker.nextNode()) {
    const e = n.parentElement;
    if (!n.data.trim() || e.closest('script, .tp-glyph, [aria-disabled=true]')) continue;
    if (!e.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    for (const ground of grounds(e)) {
      const a = light(rgb(getComputedStyle(e).color, css(ground))), b = light(ground);
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < worst.ratio)
        worst = { ratio, text: n.data.trim().slice(0, 40), ground, class: e.className };
    }
  }
  return worst;
}"""


def test_a_narrow_screen_needs_no_sideways_scroll(opened):
    page, player = opened
    page.set_viewport_size({"width": 390, "height": 844})
    for step in range(10):
        player.locator(".tp-scrub").fill(str(step))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        inside = player.evaluate(
            """(root) => [...root.querySelectorAll('*')].filter((e) => {
                const box = e.getBoundingClientRect();
                return box.width && box.right > root.getBoundingClientRect().right + 0.5;
            }).map((e) => e.className)"""
        )
        assert inside == []
    cells = player.locator(".tp-scroll").first.evaluate("e => [e.scrollWidth, e.clientWidth]")
    assert cells[0] <= cells[1]


def test_with_reduced_motion_nothing_is_animated(opened):
    page, player = opened
    # In one breath: what is animated may have come to rest before a question from outside arrives.
    count = """(player) => {
        const slider = player.querySelector('.tp-scrub');
        slider.value = 7;
        slider.dispatchEvent(new Event('input', { bubbles: true }));
        return player.getAnimations({ subtree: true }).length;
    }"""
    assert player.evaluate(count) > 0
    page.emulate_media(reduced_motion="reduce")
    player.locator(".tp-scrub").fill("3")
    page.wait_for_timeout(350)
    assert player.evaluate(count) == 0


def test_print_shows_the_tables_and_the_words(opened):
    page, player = opened
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert player.locator(".tp-grid").is_visible()
    assert player.locator(".tp-map").is_visible()
    assert player.locator(".tp-words li").last.is_visible()
    assert player.locator(".tp-grid caption").is_visible()
    assert not player.locator(".tp-stage").is_visible()
    assert not player.locator(".tp-controls").is_visible()


def test_without_scripts_the_whole_run_can_be_read(browser, address, first_page):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address + first_page(PAGE))
    player = page.locator(PLAYER)
    assert player.locator(".tp-grid").is_visible()
    assert player.locator(".tp-map").is_visible()
    assert player.locator(".tp-grid td.tp-prompt").count() > 3
    ground = player.locator(".tp-prompt span").first.evaluate(
        "e => getComputedStyle(e).backgroundColor"
    )
    assert not re.fullmatch(r"rgba\(0, 0, 0, 0\)|transparent", ground)
    player.locator(".tp-words summary").click()
    assert "B gives back blocks" in player.locator(".tp-words").inner_text()
    assert player.locator("button").count() == 0
    context.close()


def test_it_stays_small():
    static = Path(__file__).resolve().parents[2] / "book" / "_static"
    size = sum((static / f"trace-player.{kind}").stat().st_size for kind in ("js", "css"))
    assert size < 40_000
