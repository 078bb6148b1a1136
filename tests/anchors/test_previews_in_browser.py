"""A reader's hand on the page: pointer, keyboard, finger, and a narrow screen."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("myst_parser", reason="the book's dependencies are not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CORE = "vllm/engine/core.py"
PAGE = (
    f"# A page\n\nIt is {{up}}`{CORE}#Core.step`, and {{up}}`vllm/engine` is a folder.\n\n"
    + "A paragraph that pushes the rest down.\n\n" * 40
    + f"At the foot: {{up}}`the class <{CORE}#Core>`.\n"
)

pytestmark = pytest.mark.browser


@pytest.fixture
def open_page(build, browser):
    """Open the built page from disk; every request that leaves the machine is recorded and cut."""
    app = build({"index": PAGE})
    url = (Path(app.outdir) / "index.html").as_uri()
    contexts = []

    def open_it(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.left = []
        page.mistakes = []

        def cut(route) -> None:
            page.left.append(route.request.url)
            route.abort()

        page.route(lambda address: not address.startswith("file:"), cut)
        page.on("pageerror", lambda error: page.mistakes.append(str(error)))
        page.goto(url)
        return page

    yield open_it
    for context in contexts:
        context.close()


def card(page):
    """The card of the page."""
    return page.locator(".up-card")


def tab_to_link(page) -> None:
    """Press Tab until an anchor has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('a.up-link')"):
            return
    pytest.fail("no anchor can be reached by keyboard")


def test_the_pointer_opens_it_and_may_enter_it(open_page) -> None:
    page = open_page()
    link = page.locator("a.up-link").first
    assert link.get_attribute("title") is None  # two tooltips would overlap
    link.hover()
    sync_api.expect(card(page)).to_be_visible()
    assert "return value" in card(page).inner_text()
    described = page.locator(f"#{link.get_attribute('aria-describedby')}")
    assert "Core.step" in described.inner_text()
    card(page).hover()
    page.wait_for_timeout(400)  # longer than it takes to close
    sync_api.expect(card(page)).to_be_visible()
    page.mouse.move(900, 700)
    sync_api.expect(card(page)).to_be_hidden()
    assert link.get_attribute("aria-describedby") is None
    assert (page.left, page.mistakes) == ([], [])


def test_a_pointer_that_passes_over_opens_nothing(open_page) -> None:
    page = open_page()
    page.locator("a.up-link").first.hover()
    page.mouse.move(900, 700)
    page.wait_for_timeout(400)
    sync_api.expect(card(page)).to_be_hidden()


def test_the_keyboard_opens_it_and_escape_closes_it(open_page) -> None:
    page = open_page()
    tab_to_link(page)
    sync_api.expect(card(page)).to_be_visible()
    page.keyboard.press("Escape")
    sync_api.expect(card(page)).to_be_hidden()
    assert page.evaluate("document.activeElement.matches('a.up-link')")


def test_a_finger_sees_first_and_follows_second(open_page) -> None:
    page = open_page(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 800})
    link = page.locator("a.up-link").first
    link.tap()
    sync_api.expect(card(page)).to_be_visible()
    page.locator("h1").tap()
    sync_api.expect(card(page)).to_be_hidden()
    link.tap()
    sync_api.expect(card(page)).to_be_visible()
    assert page.left == []
    link.tap()
    page.wait_for_url(lambda url: f"upstream/{CORE}.html#L" in url)
    assert page.left == []


def test_the_lines_are_asked_for_once_and_only_when_wanted(open_page) -> None:
    page = open_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url.rsplit("/", 1)[-1]))
    page.wait_for_timeout(100)
    assert asked == []
    for link in (page.locator("a.up-link").first, page.locator("a.up-link").last):
        link.scroll_into_view_if_needed()
        link.hover()
        sync_api.expect(card(page)).to_be_visible()
    assert asked == ["core.py.js"]


def test_the_card_leads_to_the_page_here_and_to_github(open_page) -> None:
    page = open_page()
    link = page.locator("a.up-link").first
    link.hover()
    sync_api.expect(card(page)).to_be_visible()
    fragment = link.get_attribute("href").split("#")[1]
    github = card(page).locator(".up-github").get_attribute("href")
    assert github == f"https://example.org/blob/v9.9.9/{CORE}#{fragment}"
    card(page).locator(".up-more").click()
    page.wait_for_url(lambda url: url.endswith(f"{CORE}.html#{fragment}"))
    assert page.locator(".up-lit").count() > 1
    assert page.mistakes == []


def test_escape_closes_what_the_pointer_holds_open(open_page) -> None:
    page = open_page()
    page.locator("a.up-link").first.hover()
    sync_api.expect(card(page)).to_be_visible()
    page.keyboard.press("Escape")
    sync_api.expect(card(page)).to_be_hidden()


def test_the_pointers_leaving_does_not_close_what_the_focus_opened(open_page) -> None:
    page = open_page()
    tab_to_link(page)
    sync_api.expect(card(page)).to_be_visible()
    card(page).hover()
    page.mouse.move(900, 700)
    page.wait_for_timeout(400)
    sync_api.expect(card(page)).to_be_visible()
    page.keyboard.press("Tab")
    sync_api.expect(card(page)).to_be_hidden()


def test_a_folder_keeps_its_title_and_has_no_card(open_page) -> None:
    page = open_page()
    folder = page.locator("a.up-link").nth(1)
    assert folder.get_attribute("title") == "vllm/engine"
    folder.hover()
    page.wait_for_timeout(400)
    sync_api.expect(card(page)).to_be_hidden()


@pytest.mark.parametrize("width", [320, 1200])
def test_it_stays_on_the_screen(open_page, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 600})
    last = page.locator("a.up-link").last
    last.scroll_into_view_if_needed()
    scroll_width = page.evaluate("document.documentElement.scrollWidth")
    last.hover()
    sync_api.expect(card(page)).to_be_visible()
    page.wait_for_timeout(200)
    box = card(page).bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert box["y"] >= 0
    # The link stands at the foot of the window, so the card opened above it.
    assert box["y"] + box["height"] <= last.bounding_box()["y"]
    assert page.evaluate("document.documentElement.scrollWidth") == scroll_width


def test_reduced_motion_is_respected(open_page) -> None:
    page = open_page(reduced_motion="reduce")
    page.locator("a.up-link").first.hover()
    sync_api.expect(card(page)).to_be_visible()
    style = "getComputedStyle(document.querySelector('.up-card'))"
    assert page.evaluate(f"{style}.transitionDuration") == "0s"


def test_paper_keeps_it_away(open_page) -> None:
    page = open_page()
    page.locator("a.up-link").first.hover()
    sync_api.expect(card(page)).to_be_visible()
    page.emulate_media(media="print")
    sync_api.expect(card(page)).to_be_hidden()
