"""What a page has without any script, and the directive that puts it there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("sphinx", reason="the book's own requirements are not installed")

from book._ext.trace_player import store
from book._ext.trace_player.still import PANELS, player
from book.traces.registry import SCENARIOS, recorded

ROOT = Path(__file__).resolve().parents[2]
TAGS = re.compile(r"<[^>]+>")


def words(html: str) -> str:
    html = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    return " ".join(TAGS.sub(" ", html).split())


@pytest.fixture(params=sorted(SCENARIOS))
def recording(request):
    return recorded(request.param)


def test_every_step_is_told_in_words(recording) -> None:
    html = player(recording, "x", PANELS, 1)
    items = re.findall(r'<li value="(\d+)">(.*?)</li>', html, re.DOTALL)
    assert [int(step) for step, _ in items] == list(range(recording.num_steps + 1))
    for lane in recording.lanes:
        for frame, (_, item) in zip(lane.frames, items, strict=False):
            text = words(item)
            assert all(event.text in text.replace("&#x27;", "'") for event in frame.events)
            queue = " ".join(map(str, frame.queue)) or "empty"
            assert f"Free queue: {queue}." in text
            for plan, request in zip(lane.requests, frame.requests, strict=True):
                if request.blocks:
                    assert f"{plan.name} holds {' '.join(map(str, request.blocks))}" in text


def test_the_table_has_every_count(recording) -> None:
    html = player(recording, "x", PANELS, 1)
    tables = re.findall(r'<table class="tp-grid.*?</table>', html, re.DOTALL)
    assert len(tables) == len(recording.lanes)
    for lane, table in zip(recording.lanes, tables, strict=True):
        rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)[1:]
        for place, row in enumerate(rows):
            shown = re.findall(r'data-step="(\d+)">(?:<span>(\d+)</span>)?', row)
            assert [int(step) for step, _ in shown] == list(range(1, recording.num_steps + 1))
            counts = [frame.requests[place].scheduled for frame in lane.frames[1:]]
            assert [int(n or 0) for _, n in shown][: len(counts)] == counts


def test_the_blocks_table_says_who_holds_each_block() -> None:
    lane = recorded("prefix-sharing").lanes[0]
    html = player(recorded("prefix-sharing"), "x", ("blocks",), 1)
    table = re.search(r'<table class="tp-map.*?</table>', html, re.DOTALL)[0]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in table.split("<tr>")[2:]]
    for block, row in enumerate(rows, 1):
        for frame, text in zip(lane.frames[1:], row, strict=True):
            held = "".join(
                plan.name
                for plan, request in zip(lane.requests, frame.requests, strict=True)
                if block in request.blocks
            )
            name = frame.names[block]
            cached = lane.requests[name[0]].name.lower() if name else ""
            assert text == (held or cached)
    assert any("AB" in row for row in rows)


def test_panels_that_are_not_shown_leave_no_words() -> None:
    html = player(recorded("first-requests"), "x", ("requests", "budget"), 1)
    text = words(html)
    assert "tp-map" not in html
    assert "Free queue" not in text
    assert "gives back" not in text
    assert "block table" not in text


def test_the_data_beside_it_is_the_recording(recording) -> None:
    html = player(recording, "x", PANELS, 1)
    data = re.search(r'<script type="application/json" class="tp-data">(.*?)</script>', html)[1]
    assert json.loads(data) == json.loads(recording.to_json())


# ---------------------------------------------------------------------- the directive


CONF = """
extensions = ["myst_nb", "book._ext.trace_player"]
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence"]
html_theme = "basic"
html_static_path = [r"{root}/book/_static"]
exclude_patterns = ["out*", "doctrees*"]
numfig = True
"""
PAGE = """# Page

```{trace} preemption
:name: fig-p
:caption: "B *gives way*."
:start: 7
```

{numref}`fig-p`

```{trace} preemption
:caption: Again
:steps: 5
:show: queue, requests
```
"""


def build(folder: Path, out: str = "out", check: bool = True) -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-E", "-n", "-b", "html"),
            *("-d", str(folder / f"doctrees-{out}"), str(folder), str(folder / out)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(len(out))},
    )
    log = done.stdout + done.stderr
    if check:
        assert "WARNING" not in log, log
        assert "ERROR" not in log, log
    return log


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("traces")
    (folder / "conf.py").write_text(CONF.format(root=ROOT), encoding="utf-8")
    (folder / "index.md").write_text(PAGE, encoding="utf-8")
    (folder / "plain.md").write_text(
        "---\norphan: true\n---\n# No trace\n\nNothing.\n", encoding="utf-8"
    )
    build(folder)
    return folder


def test_a_figure_with_number_caption_and_options(site) -> None:
    html = (site / "out" / "index.html").read_text(encoding="utf-8")
    assert html.count('class="trace-player"') == 2
    assert 'id="trace-preemption"' in html
    assert 'id="trace-preemption-2"' in html
    assert "B <em>gives way</em>." in html
    assert '<a class="reference internal" href="#fig-p"><span class="std std-numref">Fig. 1' in html
    assert 'data-show="requests queue"' in html
    assert html.count('<li value="6">') == 1


def test_scripts_only_where_a_trace_is(site) -> None:
    assert "trace-player.js" in (site / "out" / "index.html").read_text(encoding="utf-8")
    assert "trace-player" not in (site / "out" / "plain.html").read_text(encoding="utf-8")


def test_two_builds_are_equal(site) -> None:
    build(site, "out2")
    for name in ("index.html", "plain.html"):
        assert (site / "out" / name).read_bytes() == (site / "out2" / name).read_bytes()


REFUSED = [
    ("```{trace} nothing\n:caption: x\n```", "no scenario 'nothing'"),
    ("```{trace} preemption\n```", "preemption has no :caption:"),
    ("```{trace} preemption\n:caption: x\n:show: blocks, seats\n```", "seats: choose from"),
    ("```{trace} preemption\n:caption: x\n:start: 99\n```", ":start: 99; preemption has 16"),
    ("```{trace} preemption\n:caption: x\n:steps: 17\n```", ":steps: 17; preemption has 16"),
]


def test_what_cannot_be_shown_fails_the_build(site, tmp_path) -> None:
    (tmp_path / "conf.py").write_text((site / "conf.py").read_text(), encoding="utf-8")
    page = "\n\n".join(["# Page", *(text for text, _ in REFUSED)])
    (tmp_path / "index.md").write_text(page, encoding="utf-8")
    log = build(tmp_path, check=False)
    assert [message for _, message in REFUSED if message not in log] == []


def test_a_page_is_read_again_only_if_its_recording_would_differ(monkeypatch) -> None:
    digest = recorded("preemption").digest()
    env = SimpleNamespace(
        trace_pages={"same": {"preemption": digest}, "other": {"preemption": "0"}},
        found_docs={"same", "other"},
        trace_code="another",
    )
    assert store.outdated(SimpleNamespace(), env) == ["other"]
    # The same code: nothing is played, so nothing can differ.
    monkeypatch.setattr(store, "recording_of", None)
    assert store.outdated(SimpleNamespace(), env) == []


def test_the_code_of_a_trace_is_scenario_and_engine_and_not_their_docstrings() -> None:
    digests = store.of_module(store.REGISTRY, ROOT).digests
    assert {
        "book.traces.preemption",
        "book.traces.sentences",
        "mini_vllm.core.scheduler",
        "mini_vllm.core.block_pool",
    } <= set(digests)


def test_on_paper_the_legend_explains_nothing_that_is_not_there(recording) -> None:
    """What the script alone draws, and keys, are for a screen; the rest stands in every edition."""
    html = player(recording, "x", PANELS, 1)
    rows = re.findall(r"<div( class=\"only-screen\")?><dt>(.*?)</dt>", html)
    paper = "".join(sign for screen, sign in rows if not screen)
    assert "tp-held" in paper
    assert not re.search(r"tp-cells|<kbd>", paper)
    assert any("tp-cells" in sign for screen, sign in rows if screen)
