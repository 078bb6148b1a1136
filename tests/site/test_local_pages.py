"""Upstream's files as pages of the site: every line that is linked to is there."""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
HTML = Path(os.environ.get("BOOK_HTML", ROOT / "_build" / "html"))
FOLDER = HTML / "upstream"
HREF = re.compile(r'<a\b[^>]*?\bhref="([^"]*)"')
IDS = re.compile(r'\bid="([^"]+)"')
SCHEDULER = "upstream/vllm/v1/core/sched/scheduler.py.html"
LIMIT = 1_500_000


@functools.cache
def ids_of(page: Path) -> frozenset[str]:
    return frozenset(IDS.findall(page.read_text(encoding="utf-8")))


@functools.cache
def links_of(page: Path) -> tuple[str, ...]:
    return tuple(HREF.findall(page.read_text(encoding="utf-8")))


def local_pages() -> list[Path]:
    found = sorted(FOLDER.rglob("*.html"))
    if not found:
        pytest.skip("this book was built without the pinned tree")
    return found


def resolve(page: Path, link: str) -> tuple[Path, str] | None:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    target = page if not parts.path else page.parent / unquote(parts.path)
    return Path(os.path.normpath(target)), unquote(parts.fragment)


def test_every_line_that_a_page_links_to_is_on_its_local_page():
    assert local_pages()
    broken, seen = [], 0
    for page in sorted(HTML.rglob("*.html")):
        for link in links_of(page):
            found = resolve(page, link)
            if found is None or FOLDER not in found[0].parents:
                continue
            target, fragment = found
            seen += bool(re.match(r"L\d", fragment))
            if not target.is_file():
                broken.append(f"{page.relative_to(HTML)} -> {link}")
            elif fragment and fragment not in ids_of(target):
                broken.append(f"{page.relative_to(HTML)} -> {link} (no such line)")
    assert broken == []
    assert seen > 100


def test_every_link_back_leads_to_a_page_and_a_heading():
    broken, back = [], 0
    for page in local_pages():
        for link in links_of(page):
            found = resolve(page, link)
            if found is None or FOLDER in found[0].parents:
                continue
            target, fragment = found
            back += 1
            if not target.is_file() or (fragment and fragment not in ids_of(target)):
                broken.append(f"{page.relative_to(HTML)} -> {link}")
    assert broken == []
    assert back > 100


def test_every_line_has_its_address_and_no_page_is_heavy():
    for page in local_pages():
        text = page.read_text(encoding="utf-8")
        assert len(text.encode()) < LIMIT, page
        ids = IDS.findall(text)
        assert len(ids) == len(set(ids)), page
        numbers = [int(i[1:]) for i in ids if re.fullmatch(r"L\d+", i)]
        assert numbers == list(range(1, len(numbers) + 1)), page
        if page.name != "index.html":
            assert numbers, page


def test_upstreams_notice_and_licence_are_kept():
    for page in local_pages():
        text = page.read_text(encoding="utf-8")
        if page.name in {"index.html", "LICENSE.html"}:
            continue
        assert "Upstream’s text, unchanged." in text, page
        assert re.search(r'href="[./]*LICENSE\.html"', text), page
        if "SPDX-License-Identifier" in text.split('class="highlight up-file"')[1]:
            assert "SPDX-License-Identifier" in text.split('class="highlight up-file"')[0], page
    assert "Apache License" in (FOLDER / "LICENSE.html").read_text(encoding="utf-8")


def test_the_index_has_its_folders_beside_it():
    assert local_pages()
    index = (FOLDER / "index.html").read_text(encoding="utf-8")
    outline = index.split('class="up-outline"')[1].split("</nav>")[0]
    beside = re.findall(r'<a href="#(in/[^"]*)">', outline)
    assert len(beside) > 10
    assert beside == re.findall(r'<section class="up-folder" id="(in/[^"]*)">', index)


def test_every_preview_belongs_to_a_line_of_its_page():
    for page in local_pages():
        script = page.with_suffix(".js")
        if page.name == "index.html":
            continue
        path, data = json.loads(
            f"[{script.read_text(encoding='utf-8')[len('upstreamLines(') : -3]}]"
        )
        assert page == FOLDER / f"{path}.html"
        for fragment, snippet in data["snippets"].items():
            assert not fragment or fragment in ids_of(page), (page, fragment)
            assert snippet["code"], (page, fragment)


def test_they_are_not_in_the_search():
    index = (HTML / "search-index.js").read_text(encoding="utf-8")
    assert r"[\"UPSTREAM_PIN\"," in index
    assert r"[\"upstream/" not in index


@pytest.fixture
def scheduler(tab):
    if not (HTML / SCHEDULER).is_file():
        pytest.skip("this build has no page of the scheduler")
    return tab


def test_a_range_is_marked_and_in_sight(scheduler):
    wanted = next(i for i in sorted(ids_of(HTML / SCHEDULER)) if re.fullmatch(r"L\d+-L\d+", i))
    first, last = (int(n) for n in re.findall(r"\d+", wanted))
    page = scheduler.open(f"{SCHEDULER}#{wanted}")
    lit = page.locator(".up-lit")
    assert lit.count() == last - first + 1
    box = page.locator(f"#L{first}").bounding_box()
    assert 40 < box["y"] < 600
    github = page.locator(".up-facts .up-github").get_attribute("href")
    assert github.endswith(f"/vllm/v1/core/sched/scheduler.py#{wanted}")
    assert (scheduler.foreign, scheduler.errors) == ([], [])


def test_the_numbers_in_the_margin_are_upstreams(scheduler):
    page = scheduler.open(f"{SCHEDULER}#L300")
    protocol = page.context.new_cdp_session(page)
    shot = protocol.send("DOMSnapshot.captureSnapshot", {"computedStyles": []})
    strings, document = shot["strings"], shot["documents"][0]
    seen = {
        strings[index]: bounds[1] - document["scrollOffsetY"]
        for index, bounds in zip(document["layout"]["text"], document["layout"]["bounds"])
        if index >= 0 and strings[index].isdecimal()
    }
    for number in (290, 300, 310):
        top = page.locator(f"#L{number}").bounding_box()["y"]
        assert abs(seen[str(number)] - top) < 8, (number, seen[str(number)], top)


def test_without_scripts_the_address_of_a_range_finds_its_first_line(browser, address):
    if not (HTML / SCHEDULER).is_file():
        pytest.skip("this build has no page of the scheduler")
    wanted = next(i for i in sorted(ids_of(HTML / SCHEDULER)) if re.fullmatch(r"L\d+-L\d+", i))
    context = browser.new_context(
        java_script_enabled=False, viewport={"width": 1200, "height": 800}
    )
    page = context.new_page()
    page.goto(f"{address}{SCHEDULER}#{wanted}")
    first = page.locator(f"#{wanted.split('-')[0]}")
    box = first.bounding_box()
    assert 0 < box["y"] < 800
    context.close()


def test_a_click_on_a_number_names_the_line_and_shift_a_range(scheduler):
    page = scheduler.open(SCHEDULER)
    for number, modifiers in ((4, []), (7, ["Shift"])):
        page.locator(f"#L{number}").click(position={"x": 30, "y": 6}, modifiers=modifiers)
    assert page.evaluate("location.hash") == "#L4-L7"
    assert page.locator(".up-lit").count() == 4
    page.locator("#L9").click(position={"x": 300, "y": 6})  # in the text: the reader selects
    assert page.evaluate("location.hash") == "#L4-L7"


def test_a_mark_in_the_margin_leads_back_to_the_book(scheduler):
    page = scheduler.open(SCHEDULER)
    mark = page.locator("a.up-said:not([href^='#'])").first
    mark.scroll_into_view_if_needed()
    label = mark.get_attribute("aria-label")
    assert label.startswith("Discussed in ")
    mark.click()
    page.wait_for_load_state()
    assert "/upstream/" not in page.url
    assert page.locator("article h1").inner_text().rstrip("#")[:20] in label


def test_a_mark_with_several_places_opens_their_list(scheduler):
    page = scheduler.open(SCHEDULER)
    mark = page.locator("a.up-said[href^='#d']").first
    entry = page.locator(mark.get_attribute("href"))
    mark.scroll_into_view_if_needed()
    mark.click()
    entry.wait_for(state="visible")
    assert entry.locator("a").count() > 1


@pytest.mark.parametrize("width", [390, 1440])
def test_it_fits_the_screen_and_follows_the_theme(scheduler, width: int):
    scheduler.page.set_viewport_size({"width": width, "height": 844})
    page = scheduler.open(SCHEDULER)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ground = "getComputedStyle(document.querySelector('.up-file pre')).backgroundColor"
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    light = page.evaluate(ground)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(ground) != light
