"""What a reader does in a browser: keys, theme, search, narrow screens, progress, print."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.browser


def test_a_page_asks_no_other_host_and_has_no_errors(tab, page_type):
    page = tab.open(page_type)
    page.wait_for_timeout(150)
    page.mouse.wheel(0, 2000)
    page.wait_for_timeout(100)
    assert tab.foreign == []
    assert tab.errors == []


WIDTHS = (320, 390, 768)


@pytest.fixture(scope="module")
def narrow_tab(browser, address):
    """One tab for all pages: what is measured leaves nothing behind."""
    context = browser.new_context(color_scheme="light", reduced_motion="reduce")
    yield context.new_page()
    context.close()


def test_nothing_overflows_a_narrow_screen(narrow_tab, address, any_page):
    page = narrow_tab
    page.goto(address + any_page, wait_until="load")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 844})
        widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        culprits = page.evaluate(
            """() => [...document.querySelectorAll('article *')].filter((e) => {
                const box = e.getBoundingClientRect();
                if (box.right <= innerWidth + 1 || !box.width) return false;
                for (let n = e.parentElement; n; n = n.parentElement) {
                  const o = getComputedStyle(n).overflowX;
                  if (['auto', 'scroll', 'hidden', 'clip'].includes(o)) return false;
                }
                return true;
            }).slice(0, 5).map((e) => e.tagName + '.' + e.className)"""
        )
        assert widths[0] <= widths[1], (width, culprits)
        assert culprits == [], width


def test_text_stands_out_from_its_background_in_both_themes(tab, page_type):
    page = tab.open(page_type)
    page.add_style_tag(content="* { transition: none !important; }")
    for theme in ("light", "dark"):
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        page.wait_for_timeout(50)
        worst = page.evaluate(CONTRAST)
        assert worst["ratio"] >= 4.5, (theme, worst)


CONTRAST = """() => {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const numbers = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  // A mixed colour is told as color(srgb ...), with channels from 0 to 1.
  const parse = (c) => c.startsWith('color(srgb')
    ? numbers(c).map((v, i) => (i < 3 ? v * 255 : v)) : numbers(c);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (e) => {
    for (let n = e; n; n = n.parentElement) {
      const c = parse(getComputedStyle(n).backgroundColor);
      if (c.length === 3 || c[3] > 0.95) return c;
    }
    return [255, 255, 255];
  };
  let worst = { ratio: 99 };
  const walker = document.createTreeWalker(document.querySelector('article') ?? document.body, 4);
  for (let n = walker.nextNode(); n; n = walker.nextNode()) {
    const e = n.parentElement;
    if (!n.data.trim() || e.closest('svg, script, style, .headerlink, [hidden]')) continue;
    if (!e.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const c = getComputedStyle(e).color;
    if (!/^(rgb|color\\(srgb)/.test(c)) continue;
    const a = light(parse(c)), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const text = n.data.trim().slice(0, 40);
    if (ratio < worst.ratio) worst = { ratio, text, colour: c, class: e.className };
  }
  return worst;
}"""


def test_arrows_move_between_pages(tab):
    page = tab.open_first("/00-guide")
    after = page.evaluate("document.querySelector('link[rel=next]').href")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(after)
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(lambda url: url.endswith("00-guide.html"))


def test_arrows_keep_still_at_both_ends(tab):
    page = tab.open("index.html")
    here = page.url
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(150)
    assert page.url == here


@pytest.mark.parametrize("key", ["s", "/", "Control+k"])
def test_search_opens_takes_the_text_and_closes(tab, key):
    page = tab.open_first("/00-guide")
    page.keyboard.press(key)
    field = page.locator("#pst-search-dialog input[type=search]")
    field.wait_for(state="visible")
    assert page.evaluate("document.activeElement.matches('input[type=search]')")
    here = page.url
    page.keyboard.type("s/? budget")
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(100)
    assert field.input_value() == "s/? budget"
    assert page.url == here
    assert not page.locator("dialog.keys-help[open]").count()
    page.keyboard.press("Escape")
    field.wait_for(state="hidden")


def test_help_opens_and_gives_the_focus_back(tab):
    page = tab.open_first("/00-guide")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    before = page.evaluate("document.activeElement.outerHTML")
    page.keyboard.press("?")
    help_box = page.locator("dialog.keys-help")
    help_box.wait_for(state="visible")
    assert "previous page" in help_box.inner_text()
    assert page.evaluate("document.activeElement.closest('dialog') !== null")
    here = page.url
    page.keyboard.press("ArrowRight")  # the help is open: the page stays
    page.wait_for_timeout(150)
    assert page.url == here
    page.keyboard.press("Escape")
    help_box.wait_for(state="hidden")
    assert page.evaluate("document.activeElement.outerHTML") == before


def test_the_hint_on_the_page_opens_the_help(tab):
    page = tab.open("index.html")
    page.locator(".keys-hint").click()
    page.locator("dialog.keys-help").wait_for(state="visible")
    page.locator("dialog.keys-help button").click()
    page.locator("dialog.keys-help").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.className") == "keys-hint"


@pytest.mark.parametrize("modifier", ["Control", "Alt", "Meta", "Shift"])
def test_keys_with_a_modifier_belong_to_the_browser(tab, modifier):
    page = tab.open_first("/00-guide")
    here = page.url
    page.evaluate(
        """(modifier) => {
            for (const key of ['ArrowRight', 'ArrowLeft', 's', '/']) {
              document.body.dispatchEvent(new KeyboardEvent('keydown', {
                key, bubbles: true, cancelable: true,
                ctrlKey: modifier === 'Control', altKey: modifier === 'Alt',
                metaKey: modifier === 'Meta', shiftKey: modifier === 'Shift'}));
            }
        }""",
        modifier,
    )
    page.wait_for_timeout(200)
    assert page.url == here
    assert not page.locator("dialog[open]").count()


@pytest.mark.parametrize(
    "element",
    [
        "<input type='text'>",
        "<textarea></textarea>",
        "<select><option>a</option></select>",
        "<div contenteditable='true'>x</div>",
        "<div role='application' tabindex='0'>player</div>",
        "<pre tabindex='0' style='overflow-x:auto;width:50px'>a long line of code</pre>",
    ],
)
def test_no_key_fires_where_the_reader_types_plays_or_scrolls(tab, element):
    page = tab.open_first("/00-guide")
    here = page.url
    page.evaluate(
        """(html) => {
            const box = document.createElement('div');
            box.id = 'probe';
            box.innerHTML = html;
            document.querySelector('article').prepend(box);
            box.firstElementChild.focus();
        }""",
        element,
    )
    assert page.evaluate("document.activeElement.closest('#probe') !== null")
    keys = ["ArrowRight", "ArrowLeft"]
    if not element.startswith("<pre"):
        keys += ["s", "/", "?"]
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_timeout(200)
    assert page.url == here
    assert not page.locator("dialog[open]").count()


def test_code_that_scrolls_sideways_can_be_reached_and_scrolled(tab):
    tab.page.set_viewport_size({"width": 390, "height": 844})
    page = tab.open_first("/01-deep-dive")
    here = page.url
    reached = page.evaluate(
        """() => {
            const wide = (b) => b.scrollWidth > b.clientWidth + 40;
            const block = [...document.querySelectorAll('pre')].find(wide);
            block.focus();
            return document.activeElement === block;
        }"""
    )
    assert reached
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")
    assert page.url == here


def test_the_theme_toggles_and_is_remembered(tab):
    page = tab.open("index.html")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.locator(".theme-switch-button").first.click()
    page.locator(".theme-change-button[data-mode=dark]").first.click()
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    dark = page.evaluate(ground)
    assert dark != light
    tab.open_first("/00-guide")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate(ground) == dark


def test_figures_follow_the_theme(tab):
    page = tab.open_first("/01-deep-dive")
    colour = """() => {
        const text = document.querySelector('svg.figure-svg text');
        return getComputedStyle(text).fill;
    }"""
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    light = page.evaluate(colour)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(colour) != light


def test_the_typeface_of_the_book_is_loaded(tab):
    page = tab.open("index.html")
    page.evaluate("document.fonts.ready")
    loaded = page.evaluate(
        "[...document.fonts].filter((f) => f.status === 'loaded').map((f) => f.family)"
    )
    assert any("IBM Plex Serif" in family for family in loaded)
    assert any("IBM Plex Sans" in family for family in loaded)


def test_hovering_over_an_anchor_shows_the_lines(tab):
    page = tab.open_first("/01-deep-dive")
    link = page.locator("article a.up-link:not(.up-quiet)").first
    link.scroll_into_view_if_needed()
    lines = re.search(r"#L(\d+)", link.get_attribute("href") or "")
    if lines is None:
        pytest.skip("this book was built without the pinned tree")
    link.hover()
    page.locator(".up-card").wait_for(state="visible")
    numbers = page.locator(".up-card pre i").all_inner_texts()
    assert lines[1] in [number.strip() for number in numbers]
    assert tab.foreign == []


def test_a_lab_can_be_ticked_and_the_progress_counts_it(tab):
    page = tab.open_first("/lab-")
    lab = page.url.removeprefix(tab.address)
    button = page.locator(".lab-done button")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    tab.open_first("/00-guide")
    text = page.locator(".progress-text").first.inner_text()
    assert text.startswith("1 / ")
    tab.open(lab)
    page.locator(".lab-done button").click()
    tab.open_first("/00-guide")
    assert page.locator(".progress-text").first.inner_text().startswith("0 / ")


def test_answers_unfold_on_a_click_and_for_print(tab):
    page = tab.open_first("/INTERVIEW")
    answer = page.locator("details.entry-answer").first
    assert not answer.evaluate("e => e.open")
    answer.locator("summary").click()
    assert answer.evaluate("e => e.open")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.querySelectorAll('article details:not([open])').length") == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.querySelectorAll('article details[open]').length") == 1


def test_a_page_can_be_read_without_scripts(browser, address, first_page):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address + first_page("/00-guide"))
    assert page.locator("article h1").inner_text()
    assert page.locator("article .progress-text").first.is_visible()
    context.close()


def test_the_contents_list_the_headings_of_the_page(tab):
    page = tab.open_first("/00-guide")
    listed = page.locator(".bd-sidebar-secondary .page-toc a").all_inner_texts()
    headings = [h.rstrip("#") for h in page.locator("article h2").all_inner_texts()]
    assert headings
    assert [text for text in listed if text in headings] == headings
