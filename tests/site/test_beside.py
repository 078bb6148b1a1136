"""Ours beside theirs in a browser: two columns, one column, the fold, both themes."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

PAGE = "phase-03-continuous-batching/01-deep-dive"


@pytest.fixture
def opened(tab):
    def at(width: int):
        tab.page.set_viewport_size({"width": width, "height": 900})
        page = tab.open_first(PAGE)
        box = page.locator(".beside").first
        box.scroll_into_view_if_needed()
        if not box.locator(".beside-theirs").count():
            pytest.skip("this book was built without the pinned tree")
        return page, box

    return at


def sides(box) -> tuple[dict, dict]:
    return tuple(box.locator(f".beside-{side}").bounding_box() for side in ("ours", "theirs"))


def test_two_columns_on_a_wide_screen_reach_past_the_text(opened, tab):
    page, box = opened(1440)
    ours, theirs = sides(box)
    assert abs(ours["y"] - theirs["y"]) < 2
    assert theirs["x"] >= ours["x"] + ours["width"]
    assert abs(ours["width"] - theirs["width"]) < 2
    article = page.locator("article").bounding_box()
    assert article["x"] + article["width"] < theirs["x"] + theirs["width"] <= 1440
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert (tab.foreign, tab.errors) == ([], [])


@pytest.mark.parametrize("width", [390, 1100])
def test_one_below_the_other_on_a_narrow_screen(opened, width: int):
    page, box = opened(width)
    ours, theirs = sides(box)
    assert abs(ours["x"] - theirs["x"]) < 2
    assert theirs["y"] >= ours["y"] + ours["height"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_list_of_contents_does_not_lie_over_it(opened):
    page, box = opened(1440)
    theirs = box.locator(".beside-theirs").bounding_box()
    at = [theirs["x"] + theirs["width"] - 12, min(theirs["y"] + theirs["height"] / 2, 700)]
    on_top = "([x, y]) => document.elementFromPoint(x, y).closest('.beside')"
    page.wait_for_function(on_top, arg=at)  # the list fades


def test_letters_stand_on_both_sides_and_below(opened):
    _, box = opened(1440)
    letters = {
        side: [x for x in box.locator(f".beside-{side} .bl b").all_text_contents() if x]
        for side in ("ours", "theirs")
    }
    legend = box.locator(".beside-legend strong").all_inner_texts()
    assert legend
    assert set(legend) == set(letters["ours"]) == set(letters["theirs"])


def test_a_fold_opens_with_scripts_off(browser, address, first_page):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address + first_page(PAGE))
    fold = page.locator(".beside-rest").first
    if not fold.count():
        pytest.skip("nothing is folded in this build")
    assert not fold.locator("pre").is_visible()
    fold.locator("summary").click()
    assert fold.locator("pre").is_visible()
    context.close()


def test_numbers_are_not_copied(opened):
    _, box = opened(1440)
    copied = box.locator(".beside-ours pre").evaluate(
        """(pre) => {
            const all = document.createRange();
            all.selectNodeContents(pre);
            getSelection().removeAllRanges();
            getSelection().addRange(all);
            return getSelection().toString();
        }"""
    )
    assert copied.lstrip().startswith("while req_index")
    assert "233" not in copied.splitlines()[0]


def test_it_follows_the_theme(opened):
    page, _ = opened(1440)
    ground = "getComputedStyle(document.querySelector('.beside .bl-A')).backgroundColor"
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    light = page.evaluate(ground)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(ground) != light
