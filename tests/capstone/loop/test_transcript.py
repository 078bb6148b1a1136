"""Nothing is lost, nothing is believed that was not earned, and a kill costs nothing."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from capstone.errors import CapstoneError
from capstone.loop import draw
from capstone.loop.catalogue import Bank
from capstone.loop.interview import Cue, Interview, complete, finished
from capstone.loop.item import LAYERS
from capstone.loop.matrix import matrix
from capstone.loop.screen import Screen
from capstone.loop.transcript import State, Transcript
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

Run = Callable[..., Transcript]
FIXTURES = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def outcome(bank: Bank, transcript: Transcript) -> list[tuple]:
    """What must not depend on kills: everything about the matrix except times and remarks."""
    found = matrix(bank, transcript)
    scores = [(r.item.id, r.grade.score, dict(r.grade.layers), r.grade.caps) for r in found.results]
    return [*scores, *((row.number, row.mean, row.level) for row in found.rows), found.open]


@pytest.fixture
def whole(run: Run, short: None, tmp_path: Path) -> Path:
    """A complete loop of five items."""
    return run(tmp_path / "whole.jsonl").path


def test_a_complete_loop(bank: Bank, run: Run, short: None, whole: Path) -> None:
    transcript = Transcript(whole)
    found = matrix(bank, transcript)
    assert finished(bank, transcript.state)
    assert len(found.results) == 5
    assert (found.open, found.remarks, found.sealed) == ((), (), True)
    before = whole.read_bytes()
    run(whole)
    added = whole.read_bytes().removeprefix(before)
    assert json.loads(added)["event"] == "sitting", "a complete loop asks nothing more"


def test_resumed_after_any_line_the_matrix_is_the_same(
    bank: Bank, run: Run, whole: Path, tmp_path: Path
) -> None:
    expected = outcome(bank, Transcript(whole))
    lines = whole.read_bytes().splitlines(keepends=True)
    assert len(lines) > 30
    for count in range(1, len(lines)):
        path = tmp_path / f"{count}.jsonl"
        path.write_bytes(b"".join(lines[:count]))
        resumed = run(path)
        assert outcome(bank, resumed) == expected
        assert not resumed.state.remarks
        assert path.read_bytes().startswith(b"".join(lines[:count])), "nothing was rewritten"


@FIXTURES
@given(st.data())
def test_resumed_after_any_byte_the_matrix_is_the_same(bank, run, whole, tmp_path, data) -> None:  # type: ignore[no-untyped-def]
    expected = outcome(bank, Transcript(whole))
    content = whole.read_bytes()
    first = content.index(b"\n") + 1
    cut = data.draw(st.integers(first, len(content)))
    path = tmp_path / f"cut-{cut}.jsonl"
    path.write_bytes(content[:cut])
    assert outcome(bank, run(path)) == expected
    again = Transcript(path)
    damaged = not (content[:cut] + b"\n").endswith((b"}\n", b"\n\n"))
    assert bool(again.state.remarks) == damaged
    assert again.state.sealed
    assert outcome(bank, again) == expected


def test_a_first_line_cut_short_is_a_clear_error_and_the_file_stays(
    bank: Bank, run: Run, whole: Path
) -> None:
    whole.write_bytes(whole.read_bytes()[:50])
    with pytest.raises(CapstoneError, match="line 1 holds no entry"):
        matrix(bank, Transcript(whole))
    with pytest.raises(CapstoneError, match="first line is missing"):
        run(whole)
    assert len(whole.read_bytes()) == 50


def change(path: Path, pattern: str, replacement: str) -> int:
    """Change the first line that matches, as somebody with an editor would; its number."""
    lines = path.read_text(encoding="utf-8").split("\n")
    for index, line in enumerate(lines):
        if re.search(pattern, line):
            lines[index] = re.sub(pattern, replacement, line)
            path.write_text("\n".join(lines), encoding="utf-8")
            return index + 1
    raise AssertionError(pattern)


def test_an_edited_line_is_reported_by_number_and_only_that_one(bank: Bank, whole: Path) -> None:
    number = change(whole, r'"points": [01]', '"points": 2')
    found = matrix(bank, Transcript(whole))
    assert not found.sealed
    (remark,) = found.remarks
    assert remark.startswith(f"line {number} is not as it was written")


def test_a_line_taken_away_or_put_in_twice_is_reported(bank: Bank, whole: Path) -> None:
    lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    peek = next(index for index, line in enumerate(lines) if '"peek"' in line)
    whole.write_text("".join(lines[:peek] + lines[peek + 1 :]), encoding="utf-8")
    assert not matrix(bank, Transcript(whole)).sealed
    whole.write_text("".join([*lines[: peek + 1], lines[peek], *lines[peek + 1 :]]), "utf-8")
    assert not matrix(bank, Transcript(whole)).sealed


@pytest.mark.parametrize(
    ("pattern", "replacement", "said"),
    [
        (r'"points": \d', '"points": 9', "grade of 9"),
        (r'"points": \d', '"points": true', "grade of True"),
        (r'"layer": "mechanism"', '"layer": "charm"', "for charm"),
        (r'"event": "line"', '"event": "song"', "'song'"),
        (r'"event": "line"', '"event": "grade"', "grade of None"),
        (r'"item": "p0[^"]*"', '"item": "\\\\ud800"', "not asked in this loop"),
        (r'"t": [\d.]+', '"t": "soon"', "expected a number"),
    ],
)
def test_an_entry_without_sense_is_left_out_and_said(
    bank: Bank, whole: Path, pattern: str, replacement: str, said: str
) -> None:
    lines = whole.read_text(encoding="utf-8").split("\n", 2)
    rest = whole.with_name("rest")
    rest.write_text(lines[2], encoding="utf-8")
    number = change(rest, pattern, replacement) + 2
    whole.write_text("\n".join([*lines[:2], rest.read_text(encoding="utf-8")]), encoding="utf-8")
    remarks = matrix(bank, Transcript(whole)).remarks
    assert any(r.startswith(f"line {number} is left out") and said in r for r in remarks), remarks


def test_a_question_that_left_the_bank_is_kept_and_not_graded(bank: Bank, whole: Path) -> None:
    gone = Transcript(whole).state.order()[0]
    smaller = Bank(tuple(item for item in bank.items if item.id != gone))
    found = matrix(smaller, Transcript(whole))
    assert len(found.results) == 4
    assert any(gone in remark for remark in found.remarks)
    assert any("bank has changed" in remark for remark in found.remarks)


def test_time_between_sittings_is_nobodys(
    tmp_path: Path, bank: Bank, run: Run, short: None
) -> None:
    path = tmp_path / "t.jsonl"
    run(path)
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    state = State()
    for entry in entries[:4]:
        state.apply(entry)
    spent = sum(p.seconds for p in state.progress.values())
    # The machine slept for a day: the new sitting's clock begins anew.
    state.apply({"event": "sitting", "t": 0.0})
    state.apply({**entries[4], "t": 5.0})
    assert sum(p.seconds for p in state.progress.values()) == pytest.approx(spent + 5.0)


EVENTS = st.sampled_from(["asked", "line", "peek", "end", "grade", "look", "cause"])
FULL_WITH_A_PEEK = [("line", 0), ("peek", 0), ("end", 0), *(("grade", n) for n in (6, 7, 8))]
LOOKS = ["which", "preempted", "busy", "restart", "gone"]
#: A walk that is right, what the numbers are, and full grades.
FULL_WALK = [
    *(("look", 3, "", 0), ("look", 3, "", 1), ("cause", 3, "", 1)),
    *(("line", 3, "1,200 tokens", 1), ("line", 3, "words", 2)),
    *(("grade", 3, "", n) for n in (6, 7, 8)),
]
TEXTS = st.sampled_from(["words", "128 KiB", "7", "", "16.1 GB", "131,072 tokens"])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(EVENTS, st.integers(0, 3), TEXTS, st.integers(-3, 11)), max_size=40),
    st.sampled_from([1, 2]),
)
@example([(e, 2, "words", n) for e, n in FULL_WITH_A_PEEK], 2)
@example(FULL_WALK, 2)
def test_no_order_of_events_earns_more_than_two_with_a_peek_or_without_arithmetic(
    bank, log, version
) -> None:  # type: ignore[no-untyped-def]
    """Hostile transcripts: anything in any order. Counted from the log, not by the state."""
    names = ["sample-4-first", "p00-prefill-decode", "p00-seeds", "sample-symptom-1"]
    state = State()
    asked = {"rapid-fire": names[:3], "deep-dive": [], "design": ["d"], "debugging": names[3:]}
    state.apply({"event": "loop", "version": version, "seed": 1, "asked": asked})
    parts = {name: [part for part, _ in bank.get(name).parts] for name in names}
    layers = list(LAYERS)
    peeked, typed, given = set(), {}, {}  # type: ignore[var-annotated]
    looked, caused = [], ""
    ends = [("end", n, "", k) for n, name in enumerate(names) for k in range(len(parts[name]))]
    for event, which, text, number in [*log, *ends]:
        name, points, layer = names[which], number // 3, layers[number % 3]
        part = parts[name][number % len(parts[name])]
        entry = {"event": event, "item": name, "t": 0.0, "part": part, "text": text}
        entry |= {"layer": layer, "points": points}
        entry |= {"check": LOOKS[number % len(LOOKS)], "cause": f"preempted.{number % 3}"}
        try:
            state.apply(entry)
        except CapstoneError:
            continue
        if event == "peek":
            peeked.add(name)
        if event == "look" and which == 3:
            looked.append(entry["check"])
        if event == "cause" and which == 3:
            caused = entry["cause"]
        if event == "line":
            typed.setdefault(name, []).append(text)
        if event == "grade":
            given.setdefault(name, {})[layer] = points
    transcript = Transcript(Path("nowhere.jsonl"))
    transcript.state = state
    for result in matrix(bank, transcript).results:
        name, score = result.item.id, result.grade.score
        assert complete(result.item, state.of(name))
        if name in peeked:
            assert score <= 2
        numbers = any(character.isdigit() for line in typed.get(name, ()) for character in line)
        # In a tree the numbers are looked for in their own part, and may stand in another.
        if result.item.demand.needed and not numbers:
            assert score <= 2
        if not given.get(name, {}).get("arithmetic"):
            assert score <= 2
        if not "".join(typed.get(name, ())).strip():
            assert score <= (1 if result.item.tree and (looked or caused) else 0)
        if result.item.tree and version == 2:
            # Four points take the right cause and both checks of the way, the first one first.
            told = [one for one in looked if one in {"which", "preempted"}]
            best = caused == "preempted.1" and list(dict.fromkeys(told))[:2] == LOOKS[:2]
            assert score <= (4 if best else 3)
            if caused != "preempted.1":
                assert result.grade.layers["mechanism"] == 0


def test_matrix_of_nothing_is_refused(bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(CapstoneError, match="no loop begins in it"):
        matrix(bank, Transcript(tmp_path / "none.jsonl"))


def test_what_no_file_can_hold_is_kept_as_a_question_mark(
    bank: Bank, short: None, tmp_path: Path
) -> None:
    transcript = Transcript(tmp_path / "a.jsonl")
    transcript.begin(draw.draw(bank, 1), bank.digest())
    typed = iter(["a\ud800b", "."])

    def read(cue: Cue) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    assert not Interview(bank, transcript, Screen(Console(file=io.StringIO())), read).run()
    first = transcript.state.order()[0]
    assert Transcript(transcript.path).state.of(first).answer() == {"answer": "a?b"}
