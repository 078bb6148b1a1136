"""A map that is made, filled in, made again and checked: nothing of the reader's is ever lost."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upstream_anchors.codebase_map import (
    PLACEHOLDER,
    CodeGraph,
    MapDocument,
    Part,
    check_map,
    choose_part,
    write_map,
)
from upstream_anchors.codebase_map.document import GONE, KEPT
from upstream_anchors.errors import AnchorError

PIN = "pkg 1 @ abc"
POOL, MANAGER, PLAN = "pkg/core/pool.py", "pkg/core/manager.py", "pkg/core/deep/plan.py"


def fill(text: str, sentences: dict[str, str]) -> str:
    """Put a sentence in the place of each file's placeholder."""
    for path, sentence in sentences.items():
        before, found, after = text.partition(f"### `{path}`\n")
        assert found, path
        text = before + found + after.replace(PLACEHOLDER, sentence, 1)
    return text


def filled(part: Part) -> dict[str, str]:
    return {e.path: f"It holds what {e.path} is there for." for e in part.entries}


def complaints(text: str, part: Part, graph: CodeGraph) -> list[str]:
    found = check_map(MapDocument.parse(text), part, PIN, graph.files)
    return [str(complaint) for complaint in found]


def test_a_part_has_its_files_their_neighbours_and_callers(graph: CodeGraph, part: Part) -> None:
    assert [entry.path for entry in part.entries] == [PLAN, MANAGER, POOL]
    assert part.empty == ("pkg/core/__init__.py",)
    plan, manager, pool = part.entries
    assert [(n.path, n.when) for n in plan.imports] == [(MANAGER, "typing")]
    assert [(n.path, n.when) for n in manager.importers] == [
        (PLAN, "typing"),
        ("pkg/main.py", "lazy"),
    ]
    assert part.outside_importers(manager) == 1
    assert {(c.caller, c.callee, c.lines) for c in pool.callers} == {
        ("Manager.__init__", "Pool", (6,)),
        ("Manager.get", "Pool.take", (9,)),
    }
    # A lower-case variable that nobody imports is not shown.
    assert [name for name, _, _ in pool.public] == ["Pool", "LIMIT"]


@pytest.mark.parametrize(
    ("names", "paths"),
    [
        (["pkg/core/"], {PLAN, MANAGER, POOL}),
        (["pkg.core"], {PLAN, MANAGER, POOL}),
        (["pkg/core/deep"], {PLAN}),
        (["pkg/core/pool.py"], {POOL}),
        (["pkg.core.pool"], {POOL}),
        (["pkg/core/deep", "pkg.core.pool"], {PLAN, POOL}),
    ],
)
def test_a_part_by_any_name(graph: CodeGraph, names: list[str], paths: set[str]) -> None:
    assert {entry.path for entry in choose_part(graph, names).entries} == paths


def test_an_unknown_part_names_the_nearest(graph: CodeGraph) -> None:
    with pytest.raises(AnchorError) as caught:
        choose_part(graph, ["pkg/croe"])
    assert "pkg/core" in caught.value.nearest


def test_the_page_says_who_imports_and_who_calls(part: Part) -> None:
    page = write_map(part, PIN)
    assert f"### `{POOL}`\n\nRole: {PLACEHOLDER}\n" in page
    assert "- imported by 2 files, 1 of them outside this part: `deep/plan.py` (typing), " in page
    assert "`Pool.take` by `Manager.get` in `manager.py`" in page
    assert "No statement stands in `__init__.py`" in page
    assert "Only words" not in page  # a docstring is upstream's, and stays there


def test_a_filled_map_is_clean_and_a_fresh_one_is_not(graph: CodeGraph, part: Part) -> None:
    page = write_map(part, PIN)
    assert complaints(page, part, graph) == [
        f"{path}: still has the placeholder" for path in (MANAGER, POOL, PLAN)
    ]
    assert complaints(fill(page, filled(part)), part, graph) == []


@given(dropped=st.sampled_from([POOL, MANAGER, PLAN]), how=st.sampled_from(["empty", "section"]))
def test_a_dropped_sentence_is_named(shared, dropped: str, how: str) -> None:
    graph, part = shared
    page = fill(write_map(part, PIN), filled(part))
    if how == "empty":
        page = page.replace(f"Role: {filled(part)[dropped]}", "Role:")
        assert complaints(page, part, graph) == [f"{dropped}: has no sentence after `Role:`"]
    else:
        page = re.sub(rf"### `{re.escape(dropped)}`\n.*?(?=\n##|\Z)", "", page, flags=re.DOTALL)
        assert complaints(page, part, graph) == [
            f"{dropped}: has no section; make the map again to add it"
        ]


LINE = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x85\u2028\u2029"), max_size=30),
    st.sampled_from(["## My own heading", "Role: a second one", "```", "- a list", "# Title"]),
)
WORDS = st.lists(st.from_regex(r"[a-zA-Zé]{1,8}", fullmatch=True), min_size=4, max_size=20)


@settings(max_examples=40)
@given(
    sentences=st.tuples(WORDS, WORDS, WORDS),
    notes=st.lists(LINE, max_size=5),
    at=st.sampled_from(["top", "folder", POOL, MANAGER, PLAN, "end"]),
    smaller=st.booleans(),
)
def test_what_the_reader_wrote_is_kept(shared, sentences, notes, at: str, smaller: bool) -> None:
    graph, part = shared
    said = dict(zip((PLAN, MANAGER, POOL), map(" ".join, sentences), strict=True))
    page = fill(write_map(part, PIN), said)
    marks = {"top": "# Map", "folder": "## `pkg/core/`", "end": None}
    mark = marks.get(at, f"### `{at}`")
    if mark is None:
        page += "\n" + "\n".join(notes) + "\n"
    else:
        lines = page.split("\n")
        place = next(i for i, line in enumerate(lines) if line.startswith(mark))
        # After the heading and its blank line, or the reader's words would be the sentence's.
        after = place + (4 if mark.startswith("###") else 2)
        page = "\n".join([*lines[:after], *notes, "", *lines[after:]])
    other = choose_part(graph, ["pkg/core/deep"]) if smaller else part
    again = write_map(other, PIN, MapDocument.parse(page))
    for sentence in said.values():
        assert f"Role: {sentence}" in again or sentence in again
    for note in notes:
        assert note.strip() in again
    # Once more changes nothing, and back to the whole part brings all home.
    assert write_map(other, PIN, MapDocument.parse(again)) == again
    home = MapDocument.parse(write_map(part, PIN, MapDocument.parse(again)))
    assert all(home.files[path].is_filled for path in said)


@pytest.mark.parametrize("at", ["# Map", "## `pkg/core/`", f"### `{POOL}`", None])
@pytest.mark.parametrize("names", [["pkg/core"], ["pkg/core/deep"]])
def test_a_note_stays_wherever_it_was_written(
    graph: CodeGraph, part: Part, at: str | None, names: list[str]
) -> None:
    lines = write_map(part, PIN).split("\n")
    place = next((i for i, line in enumerate(lines) if at and line.startswith(at)), len(lines))
    # After the sentence, so that it is a note and no part of it.
    lines[place + 4 : place + 4] = ["", "My note: ask who frees it.", ""]
    again = write_map(choose_part(graph, names), PIN, MapDocument.parse("\n".join(lines)))
    assert again.count("My note: ask who frees it.") == 1


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> tuple[CodeGraph, Part]:
    """The small package for tests with many examples."""
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location(
        "_map_conf", Path(__file__).parent / "conftest.py"
    )
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    graph = conf.read_package(tmp_path_factory.mktemp("pkg"), conf.LIBRARY)
    return graph, choose_part(graph, ["pkg/core"])


def test_a_sentence_of_a_vanished_file_goes_to_the_end(graph: CodeGraph, part: Part) -> None:
    page = fill(write_map(part, PIN), filled(part))
    page = page.replace(f"### `{POOL}`", "### `pkg/core/gone.py`")
    again = write_map(part, PIN, MapDocument.parse(page))
    assert again.index(f"## {GONE}") < again.index("### `pkg/core/gone.py`")
    assert f"Role: {filled(part)[POOL]}" in again
    assert complaints(again, part, graph) == [
        f"{POOL}: still has the placeholder",
        f"pkg/core/gone.py: is not in the tree; nearest: {POOL}, {MANAGER}, pkg/core/__init__.py",
    ]


def test_facts_are_written_anew_and_edits_in_them_are_kept(part: Part) -> None:
    page = write_map(part, PIN)
    edited = page.replace("defines `Manager`", "defines `Manager`, my favourite")
    again = write_map(part, PIN, MapDocument.parse(edited))
    assert KEPT in again
    assert "my favourite" in again
    assert write_map(part, PIN, MapDocument.parse(again)) == again


def test_a_lost_end_of_a_block_loses_no_section(part: Part) -> None:
    page = fill(write_map(part, PIN), filled(part)).replace("<!-- end of facts -->", "")
    again = write_map(part, PIN, MapDocument.parse(page))
    for sentence in filled(part).values():
        assert f"Role: {sentence}" in again


@pytest.mark.parametrize(
    ("sentence", "complaint"),
    [
        ("Pool.", "1 words are no sentence"),
        ("word " * 46, "46 words are more than one sentence"),
        (f"Some {PLACEHOLDER} more words here", "still has the placeholder"),
        ("It leans on pkg/core/poll.py for its blocks.", "nearest: pkg/core/pool.py"),
    ],
)
def test_a_poor_sentence_is_named(
    graph: CodeGraph, part: Part, sentence: str, complaint: str
) -> None:
    page = fill(write_map(part, PIN), {**filled(part), MANAGER: sentence})
    (found,) = complaints(page, part, graph)
    assert found.startswith(f"{MANAGER}: ")
    assert complaint in found


def test_two_files_with_one_sentence_are_named(graph: CodeGraph, part: Part) -> None:
    same = {**filled(part), POOL: "It does a thing.", MANAGER: "it does, a thing"}
    (found,) = complaints(fill(write_map(part, PIN), same), part, graph)
    assert found.startswith(f"{POOL}: has the sentence of {MANAGER}")


def test_a_map_of_another_pin_is_named(graph: CodeGraph, part: Part) -> None:
    page = fill(write_map(part, "pkg 0 @ old"), filled(part))
    (found,) = complaints(page, part, graph)
    assert "made for pkg 0 @ old" in found


def test_a_file_that_is_no_map_is_refused() -> None:
    with pytest.raises(AnchorError, match="not a map"):
        MapDocument.parse("# My notes\n")
