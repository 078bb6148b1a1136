"""What the end of a chapter asks: one list a phase, of things that exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from book.phases import phases
from book.recall import LEAST, MOST, RecallError, items, listed

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "mini_vllm"
PHASE = phases()[2]

QUESTION = """::::{{question}} {id}
:competency: 1
:minutes: 5
:tier: core

Ask {id}.

:::{{mechanism}}
The mechanism of {id}.
:::
:::{{arithmetic}}
b
:::
:::{{consequence}}
c
:::
::::
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A phase 02 with three questions and no list."""
    folder = tmp_path / "book" / PHASE.folder
    folder.mkdir(parents=True)
    texts = [QUESTION.format(id=f"q-{n}") for n in (1, 2, 3)]
    (folder / "INTERVIEW.md").write_text("# Interview\n\n" + "\n".join(texts))
    (folder / "01-deep-dive.md").write_text("# Deep\n")
    return tmp_path


def ask(root: Path, ids: str) -> None:
    page = root / "book" / PHASE.folder / "01-deep-dive.md"
    page.write_text(f"# Deep\n\n```{{recall}}\n:ids: {ids}\n```\n")


def test_every_written_phase_names_its_own_list():
    for phase in phases():
        if phase.written():
            found = items(ROOT, PACKAGE, phase)
            assert [item.id for item in found] == listed(ROOT, phase)
            assert LEAST <= len(found) <= MOST


def test_a_list_mixes_invariants_and_questions_in_its_order(root):
    ask(root, "q-2, free-iff-unreferenced, q-1, free-queue-sound")
    assert [item.key for item in items(root, PACKAGE, PHASE)] == [
        "question/q-2",
        "invariant/free-iff-unreferenced",
        "question/q-1",
        "invariant/free-queue-sound",
    ]


def test_without_a_list_the_first_of_each_are_asked(root):
    keys = [item.key for item in items(root, PACKAGE, PHASE)]
    assert len(keys) == 5
    assert [k.split("/")[0] for k in keys] == ["invariant"] * 2 + ["question"] * 3


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        ("q-1, q-2, q-3, no-such-thing", "no-such-thing"),
        ("q-1, q-2, q-3, seats-kept", "seats-kept"),  # of another phase
        ("q-1, q-2, q-3", "3 ids"),
        ("q-1, q-1, q-2, q-3", "different"),
    ],
)
def test_a_list_that_cannot_be_asked_is_refused(root, ids, problem):
    ask(root, ids)
    with pytest.raises(RecallError, match=problem):
        items(root, PACKAGE, PHASE)
