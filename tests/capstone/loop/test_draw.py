"""What a seed asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from capstone.errors import CapstoneError
from capstone.loop import catalogue
from capstone.loop.catalogue import Bank
from capstone.loop.draw import SIZES, draw
from capstone.loop.item import SESSIONS
from hypothesis import given
from hypothesis import strategies as st

from book.questions import COMPETENCIES

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = Path(__file__).with_name("bank")
REAL = (catalogue.FOLDER / "scenarios.toml").is_file()


@given(st.integers(0, 2**64))
def test_same_seed_same_loop_whatever_the_order_of_the_files(bank, seed) -> None:  # type: ignore[no-untyped-def]
    drawn = draw(bank, seed)
    assert drawn == draw(Bank(tuple(reversed(bank.items))), seed)
    for session in SESSIONS:
        ids = drawn.asked[session]
        assert len(set(ids)) == len(ids) == SIZES[session]
        assert all(bank.get(name).session == session for name in ids)


def test_same_seed_same_loop_in_another_process(bank: Bank) -> None:
    program = (
        "from pathlib import Path\nfrom capstone.loop import catalogue, draw\n"
        f"bank = catalogue.load(Path({str(ROOT)!r}), Path({str(SAMPLE)!r}))\n"
        "print(bank.digest(), draw.draw(bank, 11).asked)"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "labs")])
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert found == f"{bank.digest()} {draw(bank, 11).asked}\n"


def test_different_seeds_ask_differently(bank: Bank) -> None:
    assert len({str(draw(bank, seed).asked) for seed in range(20)}) == 20


def reached(bank: Bank, seed: int) -> set[int]:
    asked = draw(bank, seed).asked
    # Not the design: which scenario is taken is the reader's choice.
    ids = [name for session in SESSIONS if session != "design" for name in asked[session]]
    return {row for name in ids for row in bank.get(name).rows}  # type: ignore[union-attr]


def test_every_row_can_be_reached_and_every_question_too(bank: Bank) -> None:
    assert set().union(*(reached(bank, seed) for seed in range(10))) == set(COMPETENCIES)
    drawn = {n for seed in range(400) for ids in draw(bank, seed).asked.values() for n in ids}
    assert drawn == {item.id for item in bank.items}


@pytest.mark.skipif(not REAL, reason="the bank of phases 4 to 8 is not there yet")
def test_every_row_of_the_real_bank_can_be_reached() -> None:
    real = catalogue.load(ROOT)
    assert set().union(*(reached(real, seed) for seed in range(10))) == set(COMPETENCIES)


def test_a_bank_that_is_too_small_is_refused(bank: Bank) -> None:
    with pytest.raises(CapstoneError, match="8 are needed"):
        draw(Bank(tuple(bank.of("rapid-fire")[:3])), 1)
