"""axe-core on a page of every kind, on the search dialog and on a card: no violation.

What depends on neither colours nor width is looked at once, and colours once in each theme and
width. axe-core comes with a development package and is put into the page by the test alone.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

axe = pytest.importorskip("axe_playwright_python", reason="the dev requirements are not installed")

pytestmark = pytest.mark.browser

AS_IT_COMES = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
# axe is built for old browsers: every colour that it reads makes seven WeakMaps grow and is parsed
# anew, and over a long page that is more than half of the work. Here what it keeps about an object
# lies on the object, and a text that was parsed once is known. Nothing that it finds changes.
SCRIPT = f"""() => {{
  class Slots {{
    slot = Symbol('kept by axe');
    has(object) {{ return Object(object) === object && this.slot in object; }}
    get(object) {{ return object[this.slot]; }}
    set(object, value) {{ object[this.slot] = value; return this; }}
    delete(object) {{ return this.has(object) && delete object[this.slot]; }}
  }}
  ((WeakMap) => {{ {AS_IT_COMES} }})(Slots);
  const colour = axe.commons.color.Color.prototype;
  const parse = colour.parseString;
  const known = new Map();
  colour.parseString = function (text) {{
    if (!known.has(text)) {{
      parse.call(this, text);
      known.set(text, [this.r, this.g, this.b, this.alpha]);
    }}
    [this.r, this.g, this.b, this.alpha] = known.get(text);
    return this;
  }};
}}"""
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


# axe compares every element with every other, and takes minutes over a page of ten thousand. So it
# sees a page in windows: each has that many elements of the article, whole rows, paragraphs and
# drawings, what they stand in, the names that they refer to, and all headings. The first is looked
# at in every light and width; the others hold more of the same, and are looked at wide.
WINDOW = 2000
CUT = """([window, number]) => {
  const all = [...document.querySelectorAll('article *')];
  const windows = Math.max(1, Math.ceil(all.length / window));
  const kept = new Set();
  const keep = (element) => {
    for (let e = element; e && !kept.has(e); e = e.parentElement) kept.add(e);
  };
  const keepWhole = (element) => {
    keep(element);
    element.querySelectorAll('*').forEach((inner) => kept.add(inner));
  };
  document.querySelectorAll('article :is(h1, h2, h3, h4, h5, h6)').forEach(keepWhole);
  for (const element of all.slice(number * window, (number + 1) * window)) {
    const whole = element.closest(
      'svg, pre, p, label, tr, li:not(:has(li)), dt, summary, figcaption',
    );
    if (whole) keepWhole(whole);
    else keep(element);
  }
  for (const element of [...kept]) {
    if (element.matches('dd')) {
      let e = element;
      do keepWhole((e = e.previousElementSibling));
      while (!e.matches('dt'));
    }
    if (element.matches('dt')) {
      let e = element;
      while (e?.matches('dt')) e = e.nextElementSibling;
      if (e) keep(e);
    }
    const heads = ':scope > :is(caption, colgroup, thead, summary)';
    if (element.matches('table, details')) element.querySelectorAll(heads).forEach(keepWhole);
    for (const name of ['aria-labelledby', 'aria-describedby', 'aria-controls', 'aria-owns']) {
      for (const id of (element.getAttribute(name) ?? '').split(/\\s+/).filter(Boolean)) {
        const target = document.getElementById(id);
        if (target) keepWhole(target);
      }
    }
  }
  all.filter((element) => !kept.has(element)).forEach((element) => element.remove());
  return windows;
}"""

# The theme looks at what scrolls a while after the window was given another size. Its timer and
# this one are the page's, so that this one ends later on a busy machine as well: a page hears of
# its size before the frame that is waited for.
SETTLE_MS = 450
SETTLE = "(ms) => new Promise((done) => requestAnimationFrame(() => setTimeout(done, ms)))"


def violations(page, rules: dict) -> list[str]:
    found = page.evaluate(RUN, rules)
    return [
        f"{v['rule']} ({v['count']}): {v['help']}\n    " + "\n    ".join(v["where"]) for v in found
    ]


STANDARD = {"runOnly": {"type": "tag", "values": TAGS}}
ONLY_COLOURS = {"runOnly": {"type": "rule", "values": COLOURS}}
REST = {**STANDARD, "rules": {name: {"enabled": False} for name in COLOURS}}


def seen(page, *, narrow: bool) -> dict[str, list[str]]:
    """The violations of an open page: all rules in the light, what depends on it in the dark."""
    page.add_style_tag(content="*, ::before, ::after { transition: none !important; }")
    page.evaluate(SCRIPT)
    found = {"wide, light": violations(page, STANDARD)}
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    found["wide, dark"] = violations(page, ONLY_COLOURS)
    if narrow:
        page.set_viewport_size(NARROW)
        page.evaluate(SETTLE, SETTLE_MS)
        found["narrow, dark"] = violations(page, ONLY_COLOURS)
        page.evaluate("document.documentElement.dataset.theme = 'light'")
        found["narrow, light"] = violations(page, ONLY_COLOURS) + violations(page, REST)
    return {where: wrong for where, wrong in found.items() if wrong}


def test_axe_finds_no_violation(page, address, page_type):
    wrong, number, windows = {}, 0, 1
    while number < windows:
        page.set_viewport_size(WIDE)
        page.goto(address + page_type, wait_until="load")
        windows = page.evaluate(CUT, [WINDOW, number])
        for where, found in seen(page, narrow=number == 0).items():
            wrong[f"{where}, window {number + 1} of {windows}"] = found
        number += 1
    assert wrong == {}


def test_axe_finds_nothing_in_the_search_dialog(page, address, first_page):
    page.set_viewport_size(WIDE)
    page.goto(address + first_page("/00-guide"), wait_until="load")
    page.keyboard.press("/")
    page.locator("#pst-search-dialog input[type=search]").wait_for(state="visible")
    page.keyboard.type("EngineCore.step")
    page.locator("#pst-search-dialog [role=option]").first.wait_for()
    assert seen(page, narrow=True) == {}
    assert page.locator("#pst-search-dialog [role=option]").first.is_visible()


def test_axe_finds_nothing_in_a_card(page, address, first_page):
    page.set_viewport_size(WIDE)
    page.goto(address + first_page("/00-guide"), wait_until="load")
    link = page.locator("article a.up-link[href*='#L']").first
    if not link.count():
        pytest.skip("this book was built without the pinned tree")
    link.scroll_into_view_if_needed()
    link.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")  # a card opens for a focus that a key brought
    page.locator(".up-card").wait_for(state="visible")
    assert seen(page, narrow=False) == {}
    assert page.locator(".up-card").is_visible()


def test_a_window_at_the_end_of_a_long_page_is_looked_at(page, address, first_page):
    page.goto(address + first_page("reference/engine-model"), wait_until="load")
    page.evaluate("[...document.querySelectorAll('article *')].at(-1).after(new Image(10, 10))")
    rest = page.evaluate("document.querySelectorAll('article *').length")
    last = (rest - 1) // WINDOW
    assert last > 3
    assert page.evaluate(CUT, [WINDOW, last]) == last + 1
    page.evaluate(SCRIPT)
    wrong = violations(page, {"runOnly": {"type": "rule", "values": ["image-alt"]}})
    assert [line.split(" ")[0] for line in wrong] == ["image-alt"]


def test_axe_would_find_one(page, address):
    """The check itself: a picture without words is found, with the rules as they are set here."""
    page.goto(f"{address}index.html", wait_until="load")
    page.evaluate("document.querySelector('article').append(new Image(10, 10))")
    page.evaluate(SCRIPT)
    wrong = violations(page, {"runOnly": {"type": "tag", "values": TAGS}})
    assert any(line.startswith("image-alt") for line in wrong)


def test_a_quicker_axe_finds_the_same(page, address):
    """Everything that is found, passed or left open, with every colour that was measured."""
    everything = """async (tags) => {
      const found = await axe.run(document, { runOnly: { type: 'tag', values: tags } });
      const told = (rules) => rules.map((rule) => [rule.id, rule.nodes.map((node) =>
        [node.target, node.html, [...node.any, ...node.all, ...node.none].map((c) => c.data)])]);
      return [found.violations, found.passes, found.incomplete].map(told);
    }"""
    colours = [
        "#888",
        "rgb(200 30 30 / 0.5)",
        "color-mix(in srgb, red, white)",
        "oklch(0.8 0.1 90)",
    ]
    page.set_viewport_size(WIDE)
    # Without the page's scripts nothing changes between the two; their addresses end in a digest.
    page.route(re.compile(r"\.js(\?|$)"), lambda route: route.abort())
    page.goto(f"{address}index.html", wait_until="load")
    page.unroute_all()
    page.evaluate(
        """async (colours) => {
          colours.forEach((color) => {
            const words = document.createElement('p');
            Object.assign(words.style, { color, opacity: 0.9, backgroundColor: '#f4f4f4' });
            words.textContent = color;
            document.querySelector('article').append(words);
          });
          await document.fonts.ready;
        }""",
        colours,
    )
    found = []
    for script in (AS_IT_COMES, SCRIPT):
        page.evaluate(script)
        found.append(page.evaluate(everything, TAGS))
    violations, passes, _ = found[0]
    assert page.evaluate("typeof bootstrap") == "undefined", "the page's scripts have run"
    assert {rule: len(nodes) for rule, nodes in violations}["color-contrast"] >= 3
    assert sum(len(nodes) for _, nodes in passes) > 900
    assert found[0] == found[1]
