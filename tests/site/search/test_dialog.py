"""The dialog: results as one types, by keyboard, told to a screen reader, without another host."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[3]

FIELD = "#pst-search-dialog input[type=search]"
OPTIONS = "#pst-search-dialog [role=option]"


def opened(tab, query: str):
    """A page with the dialog open and the query typed, once its results are there."""
    page = tab.open_first("/00-guide")
    page.keyboard.press("/")
    page.locator(FIELD).wait_for(state="visible")
    page.keyboard.type(query)
    return page


def test_results_come_as_one_types(tab):
    page = opened(tab, "preempt")
    page.locator(OPTIONS).first.wait_for()
    assert "Preemption" in page.locator("#pst-search-dialog [role=listbox]").inner_text()
    assert page.locator("#pst-search-dialog mark").count() > 3
    assert tab.foreign == []
    assert tab.errors == []


def test_the_button_opens_it(tab):
    page = tab.open_first("/00-guide")
    page.locator(".search-button__button:visible").first.click()
    page.locator(FIELD).wait_for(state="visible")


def test_a_page_that_is_only_read_does_not_load_the_index(tab):
    loaded: list[str] = []
    tab.page.on("request", lambda request: loaded.append(request.url))
    page = tab.open_first("/00-guide")
    page.wait_for_timeout(150)
    heavy = re.compile(r"search-(index|stemmer|words|ranking|results)|searchindex|searchtools")
    assert [url for url in loaded if heavy.search(url)] == []
    page.keyboard.press("/")
    page.wait_for_function("window.BookSearch?.ranking")
    assert any("search-index" in url for url in loaded)


def test_arrows_choose_and_enter_goes_there(tab):
    page = opened(tab, "FreeBlockQueue")
    field, options = page.locator(FIELD), page.locator(OPTIONS)
    options.first.wait_for()

    def chosen():
        return page.evaluate(
            "[...document.querySelectorAll('#pst-search-dialog [role=option]')]"
            ".findIndex((o) => o.getAttribute('aria-selected') === 'true')"
        )

    # The best place stands chosen: not the page's top, but the class.
    assert options.nth(chosen()).get_attribute("href").endswith(".FreeBlockQueue")
    start, count = chosen(), options.count()
    page.keyboard.press("ArrowDown")
    assert chosen() == (start + 1) % count
    page.keyboard.press("ArrowUp")
    assert chosen() == start
    for _ in range(start + 1):
        page.keyboard.press("ArrowUp")
    assert chosen() == count - 1  # from the first to the last
    page.keyboard.press("ArrowDown")
    assert chosen() == 0
    for _ in range(start):
        page.keyboard.press("ArrowDown")
    assert field.input_value() == "FreeBlockQueue"
    assert page.evaluate("document.activeElement.matches('input[type=search]')")
    page.keyboard.press("Enter")
    page.wait_for_url("**/01-deep-dive.html#mini_vllm.core.free_block_queue.FreeBlockQueue")


def test_a_screen_reader_is_told(tab):
    page = opened(tab, "EngineCore.step")
    page.locator(OPTIONS).first.wait_for()
    field = page.locator(FIELD)
    assert field.get_attribute("role") == "combobox"
    assert field.get_attribute("aria-expanded") == "true"
    listbox = page.locator(f"#{field.get_attribute('aria-controls')}")
    assert listbox.get_attribute("role") == "listbox"
    active = field.get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("aria-selected") == "true"
    assert page.locator(f"{OPTIONS}[aria-selected=true]").count() == 1
    groups = listbox.locator("> [role=group]")
    assert groups.count() > 3
    assert all(g.get_attribute("aria-label") for g in groups.all())
    assert groups.locator("> :not([role=option])").count() == 0
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    status = page.locator("#pst-search-dialog [role=status]")
    assert re.search(r"\d+ pages", status.inner_text())
    page.locator(FIELD).fill("")
    page.wait_for_function(
        "document.querySelector('#pst-search-dialog input').ariaExpanded === 'false'"
    )


def test_kinds_of_result_are_told_apart(tab):
    page = opened(tab, "EngineCore.step")
    page.locator(OPTIONS).first.wait_for()
    text = page.locator("#pst-search-dialog [role=listbox]").inner_text()
    for kind in ("our code", "upstream", "section", "deep dive", "lab"):
        assert kind in text, kind
    assert re.search(r"discussed here, \d+ places", text)


def test_nothing_found_is_said(tab):
    page = opened(tab, "blorptang zzqqx")
    status = page.locator("#pst-search-dialog [role=status]")
    page.wait_for_function(
        "document.querySelector('#pst-search-dialog [role=status]').textContent.includes('Nothing')"
    )
    assert "blorptang zzqqx" in status.inner_text()
    assert page.locator(OPTIONS).count() == 0
    assert page.locator(FIELD).get_attribute("aria-expanded") == "false"


def test_what_was_typed_and_what_was_written_never_becomes_html(tab):
    page = tab.open("search.html?q=%3Cimg%20src%3Dx%20onerror%3D%22window.hit%3D1%22%3E%20engine")
    page.wait_for_selector("#search-results li")
    page.evaluate(
        """() => {
            const nasty = '<img src=x onerror="window.hit = 1"> engine';
            const entry = { kind: 'section', anchor: 'a"b', title: nasty, text: nasty, score: 1 };
            const found = { name: 'x', title: nasty, crumb: nasty, entries: [entry], uses: [] };
            const made = BookSearch.results.page('', found, 'engine', 3).links;
            document.querySelector('#search-results').append(...made);
        }"""
    )
    page.wait_for_timeout(100)
    assert page.evaluate("window.hit") is None
    assert page.locator("#search-results img").count() == 0
    assert page.locator("#search-results mark", has_text="engine").count() > 0


def test_the_search_page_follows_what_is_typed(tab):
    page = tab.open("search.html?q=FreeBlockQueue")
    page.wait_for_selector("#search-results li")
    first = page.locator("#search-results a").first.get_attribute("href")
    assert "phase-02-paged-attention/01-deep-dive.html" in first
    field = page.locator("#main-content form.bd-search input")
    field.fill("preemption")
    page.wait_for_function("location.search === '?q=preemption'")
    assert "Preemption" in page.locator("#search-results li").first.inner_text()
    field.fill("blorptang zzqqx")
    page.wait_for_selector("#search-results [role=status]:has-text('Nothing')")
    assert page.locator("#search-results li").count() == 0
    assert tab.foreign == []


def test_it_says_so_without_scripts(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address + "search.html?q=engine")
    assert "scripts are off" in page.locator("#main-content, article").first.inner_text()
    page.goto(address + "index.html")
    assert page.locator(".search-button__button:visible").count() == 0
    context.close()


def test_it_works_on_a_page_opened_from_a_folder(browser, address, first_page):
    built = Path(os.environ.get("BOOK_HTML", ROOT / "_build" / "html"))
    page = browser.new_page()
    page.goto((built / first_page("/00-guide")).resolve().as_uri())
    page.keyboard.press("/")
    page.keyboard.type("preempt")
    page.locator(OPTIONS).first.wait_for()
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_it_fits_and_can_be_read(tab, theme, width):
    tab.page.set_viewport_size({"width": width, "height": 844})
    page = opened(tab, "max_num_batched_tokens EngineCore.step_with_batch_queue")
    page.locator(OPTIONS).first.wait_for()
    page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    page.wait_for_timeout(50)
    box = page.locator("#pst-search-dialog").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert box["y"] + box["height"] <= 844
    wider = page.evaluate(
        "[...document.querySelectorAll('#pst-search-dialog *')]"
        ".filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth"
        " && getComputedStyle(e).display !== 'inline' && e.tagName !== 'INPUT')"
        ".map((e) => e.className)"
    )
    assert wider == []
    for part in (".search-snippet", ".search-crumb", ".search-kind", "mark", ".search-status"):
        assert page.evaluate(CONTRAST, f"#pst-search-dialog {part}") >= 4.5, part


CONTRAST = """(selector) => {
  const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (e) => {
    for (let n = e; n; n = n.parentElement) {
      const c = parse(getComputedStyle(n).backgroundColor);
      if (c.length === 3 || c[3] > 0.95) return c;
    }
    return [255, 255, 255];
  };
  return Math.min(...[...document.querySelectorAll(selector)].map((e) => {
    const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
}"""
