"""axe-core on a page of every kind: light and dark, wide and narrow, no violation.

What depends on neither colours nor width is looked at once, and colours once in each theme and
width. axe-core comes with a development package and is put into the page by the test alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest

axe = pytest.importorskip("axe_playwright_python", reason="the dev requirements are not installed")

pytestmark = pytest.mark.browser

SCRIPT = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
COLOURS = ["color-contrast", "link-in-text-block"]
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
# "experimental" rules are axe's own trials; everything that it calls a standard or a best practice
# is asked for.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

RUN = """async (rules) => {
  const found = await axe.run(document, { resultTypes: ['violations'], ...rules });
  return found.violations.map((v) => ({
    rule: v.id, help: v.help, count: v.nodes.length,
    where: v.nodes.slice(0, 4).map((n) => n.target.join(' ') + '  ' + n.html.slice(0, 160)),
  }));
}"""


@pytest.fixture(scope="module")
def page(browser):
    """One tab for all page types: nothing that axe does is kept."""
    context = browser.new_context(viewport=WIDE, color_scheme="light", reduced_motion="reduce")
    opened = context.new_page()
    yield opened
    context.close()


# Of a list of thousands of equal rows its beginning is looked at: axe compares every element with
# every other, and takes minutes over the index.
SHORTEN = """() => {
  const beyond = [...document.querySelectorAll('article *')].slice(4000);
  const parents = new Set(beyond.map((element) => element.parentElement));
  beyond.forEach((element) => element.remove());
  // What the cut went through is not what the reader gets.
  for (const parent of parents) {
    if (parent.tagName === 'DL' && parent.lastElementChild?.tagName !== 'DD') parent.remove();
    if (parent.tagName === 'A' && !parent.textContent.trim()) parent.remove();
  }
}"""

# The theme looks at what scrolls a while after the window was given another size.
SETTLE_MS = 450


def violations(page, rules: dict) -> list[str]:
    found = page.evaluate(RUN, rules)
    return [
        f"{v['rule']} ({v['count']}): {v['help']}\n    " + "\n    ".join(v["where"]) for v in found
    ]


def test_axe_finds_no_violation(page, address, page_type):
    page.set_viewport_size(WIDE)
    page.goto(address + page_type, wait_until="load")
    page.add_style_tag(content="*, ::before, ::after { transition: none !important; }")
    page.evaluate(SHORTEN)
    page.evaluate(SCRIPT)
    standard = {"runOnly": {"type": "tag", "values": TAGS}}
    colours = {"runOnly": {"type": "rule", "values": COLOURS}}
    rest = {**standard, "rules": {name: {"enabled": False} for name in COLOURS}}
    found = {"wide, light": violations(page, standard)}
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    found["wide, dark"] = violations(page, colours)
    page.set_viewport_size(NARROW)
    page.wait_for_timeout(SETTLE_MS)
    found["narrow, dark"] = violations(page, colours)
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    found["narrow, light"] = violations(page, colours) + violations(page, rest)
    assert {where: wrong for where, wrong in found.items() if wrong} == {}


def test_axe_would_find_one(page, address):
    """The check itself: a picture without words is found, with the rules as they are set here."""
    page.goto(f"{address}index.html", wait_until="load")
    page.evaluate("document.querySelector('article').append(new Image(10, 10))")
    page.evaluate(SCRIPT)
    wrong = violations(page, {"runOnly": {"type": "tag", "values": TAGS}})
    assert any(line.startswith("image-alt") for line in wrong)
