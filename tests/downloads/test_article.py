"""A page of the site becomes a chapter: ids, links, folds, headings, code."""

from __future__ import annotations

import pytest

from book.downloads.article import BrokenLink, chapter_of, in_book
from book.downloads.chapters import NotBuilt, chapters
from upstream_anchors.pin import the_pin


def made(site, every, page):
    text = (site / f"{page}.html").read_text()
    return chapter_of(text, every[page], every, "../html")


def test_links_between_pages_stay_inside(site, every):
    links = [a.get("href") for a in made(site, every, "index").find_all("a")]
    assert links == [
        "#part.guide--labs",
        "#part.guide",
        None,  # the index is no chapter
        "https://example.org/x#y",
        "#index--home",
    ]


def test_two_pages_with_the_same_section_get_different_ids(site, every):
    guide, exercises = made(site, every, "part/guide"), made(site, every, "part/exercises")
    ids = [[e["id"] for e in article.find_all(id=True)] for article in (guide, exercises)]
    assert "part.guide--labs" in ids[0]
    assert "part.exercises--labs" in ids[1]
    assert not set(ids[0]) & set(ids[1])


def test_what_a_drawing_names_is_renamed_with_it(site, every):
    svg = made(site, every, "part/guide").svg
    assert svg["aria-labelledby"] == svg.title["id"] == "part.guide--t"
    assert svg.g["fill"] == f"url(#{svg.g['id']})"
    assert svg.use["href"] == f"#{svg.g['id']}"


def test_nothing_is_left_that_needs_a_screen(site, every):
    article = made(site, every, "index")
    assert not article.select("button, script, .headerlink, a[target]")
    assert "#" not in article.h1.get_text()
    assert "\n5 labs, 98 minutes of 10 / 20" in article.get_text()
    assert "0 / 5" not in article.get_text()


def test_a_fold_is_open_and_its_code_keeps_every_blank(site, every):
    article = made(site, every, "part/guide")
    assert not article.find(["details", "summary"])
    assert article.select_one(".opened .opened-summary").get_text() == "The code of the cell"
    assert article.pre.get_text() == "if a:\n    b\n"


def test_pictures_are_found_from_the_joined_file(site, every):
    image = made(site, every, "part/guide").img
    assert image["src"] == "../html/_images/a.png"
    assert "loading" not in image.attrs


def test_headings_take_their_place_in_the_whole_book(site, every):
    assert [h.name for h in made(site, every, "part/guide").select(".on-page")] == ["h1", "h2"]
    below = made(site, every, "part/exercises")
    assert [(h.name, h["class"]) for h in below.select(".on-page")] == [
        ("h2", ["on-page", "level-1"])
    ]


def test_a_link_that_leaves_the_book_is_refused(every):
    with pytest.raises(BrokenLink, match=r"part/guide: ../../x.html"):
        in_book("../../x.html", every["part/guide"], every)


def test_a_link_to_an_upstream_file_goes_to_its_lines_on_github(every):
    def led(href: str) -> str | None:
        return in_book(f"../upstream/{href}", every["part/guide"], every)

    pin = the_pin()
    path = "vllm/v1/engine/core.py"
    assert led(f"{path}.html#L428-L457") == pin.permalink(path, 428, 457)
    assert led(f"{path}.html#L428") == pin.permalink(path, 428)
    assert led(f"{path}.html") == pin.permalink(path)
    assert led("index.html") is None


def test_a_build_without_contents_or_with_a_page_missing_is_refused(site):
    (site / "part/guide.html").unlink()
    with pytest.raises(NotBuilt, match="part/guide"):
        chapters(site)
    (site / "contents.json").unlink()
    with pytest.raises(NotBuilt, match="nox -s book"):
        chapters(site)


@pytest.mark.parametrize(
    ("href", "end"),
    [
        ("../upstream/vllm/v1/a.py.html#L3-L9", "/vllm/v1/a.py#L3-L9"),
        ("../upstream/vllm/v1/a.py.html#L3", "/vllm/v1/a.py#L3"),
        ("../upstream/README.md.html", "/README.md"),
    ],
)
def test_a_page_of_an_upstream_file_becomes_its_permalink(every, href, end):
    address = in_book(href, every["part/guide"], every)
    assert address.startswith("https://github.com/vllm-project/vllm/")
    assert address.endswith(end)


def test_parts_are_opened_by_pages_of_depth_zero(every):
    parts = [c.part for c in every.values()]
    assert parts == ["Index", "Part/Guide", "Part/Guide"]
