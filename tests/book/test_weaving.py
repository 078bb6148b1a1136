"""Docstrings, objects and listings on a page of a small site."""

from __future__ import annotations

import re
import zlib

import pytest


def inventory(site) -> dict[str, str]:
    """Object name to kind, from objects.inv."""
    data = (site.html / "objects.inv").read_bytes()
    body = data.split(b"\n", 4)[4]
    rows = zlib.decompress(body).decode().splitlines()
    return {row.split(" ")[0]: row.split(" ")[1] for row in rows}


def text_of(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html)


def test_headings_of_a_module_nest_below_the_section_of_the_directive(built):
    page = built.page("woven")
    headings = re.findall(r"<h(\d)>([^<]+)<a class=.headerlink", page)
    assert headings == [
        ("1", "Woven"),
        ("2", "The module on this page"),
        ("3", "First heading of the module"),
        ("4", "A heading below it"),
        ("3", "Second heading of the module"),
        ("2", "The objects"),
    ]


def test_text_of_a_module_stands_before_its_first_heading(built):
    page = text_of(built.page("woven"))
    order = ["The module on this page", "This text opens the module", "First heading of the module"]
    order += ["Its paragraph", "Second heading", "The end of the module", "The objects"]
    main = page[page.index("The module on this page", page.index("Woven")) :]
    positions = [main.index(text) for text in order]
    assert positions == sorted(positions)


def test_names_in_the_inventory_are_those_of_the_source(built):
    names = inventory(built)
    assert names["sample.shapes"] == "py:module"
    assert names["sample.shapes.Box"] == "py:class"
    assert names["sample.shapes.Box.area"] == "py:method"
    assert names["sample.shapes.Box.grow"] == "py:method"
    assert names["sample.shapes.pack"] == "py:function"
    assert names["sample.shapes.LARGEST"] == "py:data"
    assert not [n for n in names if n.startswith("sample") and n.count("shapes") > 1]


def test_each_object_has_one_home(built):
    woven, rest = built.page("woven"), built.page("rest")
    for name in ("sample.shapes.Box", "sample.shapes.Box.area", "sample.shapes.Box.grow"):
        assert f'id="{name}"' in woven
        assert f'id="{name}"' not in rest
    for name in ("sample.shapes.pack", "sample.shapes.Colour", "sample.rules.enforce"):
        assert f'id="{name}"' in rest


def test_private_and_undocumented_members_are_not_shown(built):
    everything = built.page("woven") + built.page("rest")
    assert "Nobody sees this" not in everything
    assert "undocumented" not in text_of(everything)


def test_signatures_say_what_the_source_says(built):
    page = text_of(built.page("woven") + built.page("rest"))
    page = " ".join(page.replace("¶", " ").split())
    assert "Box(width: int, height: int = 1, labels: list[str] = [])" in page
    assert "area(mode: Literal['fast', 'slow'] = 'fast')" in page
    assert "pack(boxes: Sequence[Box], *, mode: Mode = 'fast')" in page
    assert re.search(r"class Colour (enum\.Enum )?A colour", page)
    assert "*args" not in page
    assert "LARGEST = 99 The largest box that anybody wants." in page
    assert "property volume: int The same as the area" in page
    assert "Mode = Literal['fast', 'slow']" in page


def test_annotations_link_to_the_objects_they_name(built):
    page = built.page("rest")
    assert 'href="woven.html#sample.shapes.Box"' in page
    assert 'href="#sample.shapes.Mode"' in page


def test_a_listing_has_the_code_without_the_docstring(built):
    page = built.page("woven")
    listing = page[page.index("How it grows") :]
    listing = text_of(listing[: listing.index("</pre>")])
    assert "taller += step" in listing
    assert "A larger box" not in listing
    path = "sample/shapes.py"
    assert path in text_of(page)
    assert re.search("lines [0-9]+–\N{WORD JOINER}[0-9]+", text_of(page))


def test_the_emphasised_line_is_the_one_with_the_fragment(built):
    page = built.page("woven")
    marked = re.findall(r'<span class="hll">(.*?)</span>\n', page, re.DOTALL)
    assert [text_of(m).strip() for m in marked] == ["taller += step"]


@pytest.mark.parametrize(
    ("directive", "complaint"),
    [
        ("```{listing} sample.shapes.Box.grow\n:emphasize: no such text\n```", "stands on 0 lines"),
        ("```{listing} sample.shapes.Box.grow\n:emphasize: 77\n```", "of a listing that has"),
        ("```{listing} sample.shapes.Nobody\n```", "has no 'Nobody'"),
        ("```{object} sample.shapes.Nobody\n```", "there is no 'sample.shapes.Nobody'"),
        ("```{docstring} sample.shapes.Box\n```", "is no module"),
        ("{qty}`no-such-number`", "no quantity is named 'no-such-number'"),
        ("{qty}`llama3-8b-kv-bytes-per-token in ms`", "measures time"),
        ("{inv}`no-such-rule`", "reference target not found"),
        ("{q}`no-such-question`", "reference target not found"),
        ("A formula $\\frac{a$ here.", "cannot set"),
    ],
)
def test_what_cannot_be_shown_fails_the_build(built, directive, complaint):
    built.write("wrong.md", f"---\norphan: true\n---\n# Wrong\n\n{directive}\n")
    try:
        log = built.build(check=False)
        assert complaint in log
        assert "WARNING" in log or "ERROR" in log
    finally:
        (built.source / "wrong.md").unlink()


def test_two_pages_share_a_package_and_the_longer_name_wins(site):
    share = "---\norphan: true\n---\n# Share\n\n```{remaining-objects} sample.shapes\n```\n"
    site.write("share.md", share)
    site.build()
    assert 'id="sample.shapes.pack"' in site.page("share")
    assert 'id="sample.shapes.pack"' not in site.page("rest")
    assert 'id="sample.rules' in site.page("rest")
    assert 'id="sample.rules' not in site.page("share")
    (site.source / "share.md").unlink()
    site.build()
    assert 'id="sample.shapes.pack"' in site.page("rest")


def test_claiming_an_object_takes_it_from_the_reference_page(site):
    site.build()
    assert 'id="sample.shapes.pack"' in site.page("rest")
    claim = "---\norphan: true\n---\n# Claim\n\n```{object} sample.shapes.pack\n```\n"
    for name in ("before", "zebra"):  # on either side of the reference page, in the alphabet
        site.write(f"{name}.md", claim)
        site.build()
        assert 'id="sample.shapes.pack"' in site.page(name)
        assert 'id="sample.shapes.pack"' not in site.page("rest")
        (site.source / f"{name}.md").unlink()


def test_an_edited_docstring_is_read_again_and_its_page_only(site):
    site.build()
    path = site.source / "sample" / "shapes.py"
    path.write_text(path.read_text().replace("A larger box", "A taller box"))
    site.build()
    assert "A taller box" in site.page("woven")
    assert "woven" in site.read
    assert "questions" not in site.read


def test_numbers_references_and_equations_on_a_page(built):
    page = built.page("woven")
    assert "128\N{NARROW NO-BREAK SPACE}KiB" in page
    assert 'href="rest.html#inv-sides-positive"' in page
    assert 'href="questions.html#question-first"' in page
    assert 'aria-label="a = \\frac{b}{c}"' in page
    assert text_of(page).count("(1)") == 2  # at the equation, and where it is referred to


def test_an_inline_formula_stands_on_the_baseline(built):
    page = built.page("woven")
    formula = re.search(r'<svg[^>]*aria-label="O\(1\)"[^>]*>', page)
    assert formula is not None
    depth = float(re.search(r"vertical-align: (-?[\d.]+)em", formula[0])[1])
    assert -0.35 < depth < -0.1  # brackets reach below the line
    assert "currentColor" in page
