"""`capstone map`: which files a tour holds, whose words are kept, what is complained of, the clock.

The commands run on the pinned tree, where this machine has it; the clock runs on a made-up journal.
"""

from __future__ import annotations

import ast
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from capstone import cli
from capstone.map import screens, tour
from capstone.map.pace import OPENED, WRITTEN, Pace
from capstone.map.rules import WORDS_A_PAGE
from capstone.records import Journal

from upstream_anchors.codebase_map import PLACEHOLDER, CodeGraph, MapDocument, choose_part
from upstream_anchors.codebase_map.command import read_graph
from upstream_anchors.pin import the_pin
from upstream_anchors.tree import Tree, open_tree

FEW = "0.5"  # half an hour: six files


@pytest.fixture(scope="module")
def tree() -> Tree:
    found = open_tree(the_pin())
    if found is None:
        pytest.skip("the pinned tree is not here; `python -m upstream_anchors fetch` gets it")
    return found


@pytest.fixture(scope="module")
def graph(tree: Tree) -> CodeGraph:
    return read_graph(tree, the_pin())


@pytest.fixture
def book(graph: CodeGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the map lies, with a journal of its own; the graph is read once for all tests."""
    monkeypatch.setattr("capstone.map.command.read_graph", lambda tree, pin: graph)
    monkeypatch.setattr("capstone.map.command.record_folder", lambda root: tmp_path / "records")
    return tmp_path / "MAP.md"


def fill(file: Path, **own: str) -> None:
    """A sentence of its own for every file that has none, or the one given for a path's stem."""
    document = MapDocument.parse(file.read_text(encoding="utf-8"))
    text = file.read_text(encoding="utf-8")
    for number, path in enumerate(document.files):
        sentence = own.get(Path(path).stem, f"Keeps the {number} things that only it knows.")
        head = f"### `{path}`\n\nRole: "
        text = text.replace(head + PLACEHOLDER, head + sentence)
    file.write_text(text, encoding="utf-8")


# ---- the tour ---------------------------------------------------------------------------------
def test_three_of_the_classic_folders_are_gone_and_todays_are_there(graph: CodeGraph) -> None:
    there = [stage.classic for stage in tour.STAGES if any(map(_below(stage.classic), graph.files))]
    assert there == ["vllm/engine"]
    for folder in tour.folders():
        assert any(map(_below(folder), graph.files)), folder


def _below(folder: str):
    return lambda path: path.startswith(f"{folder}/")


def test_a_tour_holds_what_its_hours_hold_and_goes_through_the_folders_in_order(graph) -> None:
    chosen = tour.stops(graph, tour.HOURS)
    assert len(chosen) == tour.HOURS * 60 / tour.MINUTES_A_FILE == 36
    stages = [tour.stage_of(path) for path in chosen]
    assert stages == sorted(stages)
    assert set(stages) == {0, 1, 2, 3}
    for file in ("core/sched/scheduler.py", "worker/gpu_model_runner.py", "attention/backend.py"):
        assert f"vllm/v1/{file}" in chosen


def test_a_longer_tour_only_adds(graph) -> None:
    assert set(tour.stops(graph, 1)) < set(tour.stops(graph, 2)) < set(tour.stops(graph, 14))
    assert len(tour.stops(graph, 100)) == len(tour.whole(graph).entries)


def test_both_kinds_of_important_file_have_traffic(graph) -> None:
    entries = {entry.path: entry for entry in tour.whole(graph).entries}
    everybody_leans = entries["vllm/v1/attention/backend.py"]
    calls_everyone = entries["vllm/v1/core/sched/scheduler.py"]
    assert len(everybody_leans.importers) > 100 > 10 > len(calls_everyone.importers)
    usual = sorted(map(tour.traffic, entries.values()))[len(entries) // 2]
    assert min(tour.traffic(everybody_leans), tour.traffic(calls_everyone)) > 5 * usual


# ---- the commands -----------------------------------------------------------------------------
def test_a_frame_is_blank_then_complete(tree, book: Path, capsys) -> None:
    assert cli.main(["map", "new", str(book)]) == 0
    assert "36 files, 0 with a sentence; 3.0 h" in capsys.readouterr().out
    assert cli.main(["map", "check", str(book)]) == 1
    said = capsys.readouterr().out
    assert said.count("still has the placeholder") == 36
    assert "36 to do; 0 of 36" in said
    fill(book)
    assert cli.main(["map", "check", str(book)]) == 0
    assert "36 files, each with a sentence" in capsys.readouterr().out


def test_a_longer_tour_over_a_map_keeps_every_word(tree, book: Path, capsys) -> None:
    cli.main(["map", "new", str(book), "--hours", FEW])
    fill(book)
    book.write_text(book.read_text() + "\nMy own question: who evicts?\n", encoding="utf-8")
    before = MapDocument.parse(book.read_text())
    cli.main(["map", "new", str(book), "--hours", "1", "--part", "vllm/v1/sample/sampler.py"])
    after = MapDocument.parse(book.read_text())
    assert (len(before.files), len(after.files)) == (6, 13)
    for path, section in before.files.items():
        assert after.files[path].sentence == section.sentence
    assert "My own question: who evicts?" in book.read_text()
    assert "13 files, 6 with a sentence" in capsys.readouterr().out


def test_a_map_made_again_without_hours_stays_as_long_as_it_was(tree, book, capsys) -> None:
    cli.main(["map", "new", str(book), "--hours", "2"])
    text = book.read_text()
    assert "with the most traffic were chosen" in capsys.readouterr().out
    cli.main(["map", "new", str(book)])
    assert book.read_text() == text
    assert "were chosen" not in capsys.readouterr().out, "the map's own files were taken"


def test_all_of_it_is_on_offer(tree, graph, book: Path) -> None:
    cli.main(["map", "new", str(book), "--all"])
    document = MapDocument.parse(book.read_text())
    assert len(document.files) == len(tour.whole(graph).entries) > 4 * 36


def test_the_checks_of_the_tour(tree, graph, book: Path, capsys) -> None:
    cli.main(["map", "new", str(book)])
    words = "Holds the KVCacheBlocks and manages the pool of them."
    fill(book, output=words, block_pool=words)
    lines = book.read_text().replace(
        "## `vllm/v1/core/sched/`\n",
        "## `vllm/v1/core/sched/`\n\n" + "word " * (WORDS_A_PAGE + 1) + "\n\n"
        "As in `vllm/core/scheduler.py`.\n",
    )
    book.write_text(lines, encoding="utf-8")
    assert cli.main(["map", "check", str(book)]) == 1
    said = capsys.readouterr().out
    assert "words are more than a page" in said
    assert "speaks of vllm/core/scheduler.py, which is not in the tree" in said
    assert "has the sentence of" in said


def test_the_files_own_docstring_is_no_sentence_of_yours(tree, book: Path, capsys) -> None:
    path = "vllm/v1/core/block_pool.py"
    cli.main(["map", "new", str(book)])
    module = ast.parse(tree.text(path))
    (pool,) = [node for node in module.body if getattr(node, "name", "") == "BlockPool"]
    words = " ".join(ast.get_docstring(pool).split()[:9])
    fill(book, block_pool=f"As it says itself: {words}")
    assert cli.main(["map", "check", str(book)]) == 1
    said = capsys.readouterr().out
    assert f"{path}: has" in said
    assert "in a row from the file's docstrings" in said


def test_a_folder_of_the_tour_without_a_file_is_named(tree, book: Path, capsys) -> None:
    cli.main(["map", "new", str(book), "--hours", "0.1"])  # one file
    fill(book)
    assert cli.main(["map", "check", str(book)]) == 1
    said = capsys.readouterr().out
    assert said.count("is on the tour, and no file of it is on the map") == 4


def test_a_sheet_has_the_words_of_the_map_and_no_other(tree, book: Path, tmp_path: Path) -> None:
    cli.main(["map", "new", str(book)])
    fill(book, scheduler="Gives out the budget | and the blocks.")
    assert cli.main(["map", "sheet", str(book)]) == 0
    page = (tmp_path / "map-sheets/vllm-v1-core.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith("| `sched/scheduler.py`"))
    assert "| Gives out the budget \\| and the blocks. |" in row
    assert len(page.splitlines()) < 60
    assert (tmp_path / "map-sheets/vllm-v1-core.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("text", [None, "# A list\n", b"\xff\xfe"])
@pytest.mark.parametrize("action", ["check", "next", "left", "sheet", "new"])
def test_no_map_is_an_error_and_stays_as_it_was(
    tree, book: Path, capsys, action: str, text: str | bytes | None
) -> None:
    if text is None and action == "new":
        return  # makes one
    if text is not None:
        book.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = book.read_bytes() if text is not None else None
    assert cli.main(["map", action, str(book)]) == 2
    assert str(book) in capsys.readouterr().err
    assert (book.read_bytes() if book.exists() else None) == before


# ---- the clock --------------------------------------------------------------------------------
def test_next_stays_at_a_file_until_it_has_its_sentence(tree, book: Path, capsys) -> None:
    cli.main(["map", "new", str(book), "--hours", FEW])
    capsys.readouterr()
    assert cli.main(["map", "next", str(book)]) == 1
    first = capsys.readouterr().out
    assert first.startswith("1 of 6")
    cli.main(["map", "next", str(book)])
    assert capsys.readouterr().out.split("(")[0] == first.split("(")[0]
    path = first.split()[3]
    fill_one(book, path)
    cli.main(["map", "next", str(book)])
    said = capsys.readouterr().out
    assert said.startswith(f"✓ {path}: ")
    assert "\n2 of 6  " in said
    fill(book)
    assert cli.main(["map", "next", str(book)]) == 0


def fill_one(file: Path, path: str) -> None:
    head = f"### `{path}`\n\nRole: "
    text = file.read_text().replace(head + PLACEHOLDER, head + "Says who may do what, and when.")
    file.write_text(text, encoding="utf-8")


def test_the_minutes_run_from_opening_to_saving(tree, book: Path, tmp_path, capsys) -> None:
    cli.main(["map", "new", str(book), "--hours", FEW])
    cli.main(["map", "next", str(book)])
    journal = tmp_path / "records/map.jsonl"
    opened = json.loads(journal.read_text().splitlines()[-1])
    fill_one(book, opened["path"])
    late = datetime.fromisoformat(opened["at"]) + timedelta(minutes=12)
    os.utime(book, (late.timestamp(), late.timestamp()))
    capsys.readouterr()
    assert cli.main(["map", "left", str(book)]) == 1
    said = capsys.readouterr().out
    assert "12 min, and 5 are enough" in said
    assert "5 left, 25 min at the cap" in said
    assert "1 timed: 12.0 min in the median, 1 over the cap; at your pace 1 h 00 min" in said
    # Counted once.
    cli.main(["map", "left", str(book)])
    assert [json.loads(line)["event"] for line in journal.read_text().splitlines()] == [
        OPENED,
        WRITTEN,
    ]


def test_a_file_left_open_too_long_is_said(tree, book: Path, tmp_path, capsys) -> None:
    cli.main(["map", "new", str(book), "--hours", FEW])
    cli.main(["map", "next", str(book)])
    journal = tmp_path / "records/map.jsonl"
    entry = json.loads(journal.read_text())
    long_ago = datetime.now(UTC) - timedelta(minutes=40)
    journal.write_text(json.dumps({**entry, "at": long_ago.isoformat()}) + "\n")
    capsys.readouterr()
    cli.main(["map", "next", str(book)])
    assert "open for 40 min: write down what you know" in capsys.readouterr().out


def test_a_damaged_journal_costs_its_line_only(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "map.jsonl")
    journal.append(event=OPENED, path="a.py")
    journal.path.write_text(journal.path.read_text() + '{"event": "map-wri\n')
    journal.append(event=WRITTEN, path="b.py", minutes=3)
    journal.append(event="check", path="c.py")
    pace = Pace.read(journal)
    assert list(pace.open) == ["a.py"]
    assert pace.minutes == {"b.py": 3.0}
    assert pace.usual == 3.0


def test_part_of_the_header_survives_a_vanished_file(tree, graph, book: Path) -> None:
    cli.main(["map", "new", str(book), "--hours", FEW])
    paths = choose_part(graph, tour.stops(graph, float(FEW))).names
    book.write_text(book.read_text().replace(paths[0], "vllm/core/gone.py"), encoding="utf-8")
    fill(book, gone="What is no longer there had a sentence.")
    assert cli.main(["map", "check", str(book)]) == 1
    assert cli.main(["map", "new", str(book)]) == 0
    assert "What is no longer there had a sentence." in book.read_text()


def test_the_screens_on_the_page_are_what_the_command_prints(tree, book: Path) -> None:
    for name, text in screens.screens().items():
        assert (screens.FOLDER / name).read_text(encoding="utf-8") == text, (
            f"{name}: `python -m capstone.map.screens` takes it anew"
        )
