"""What a cell printed, joined where the kernel happened to cut it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("myst_nb", reason="the book's own requirements are not installed")

from book._ext.streams import joined


def stream(text: str, name: str = "stdout") -> dict:
    return {"output_type": "stream", "name": name, "text": text}


@given(st.text("ab \n", min_size=1).filter(str.strip), st.lists(st.integers(0, 30), max_size=5))
def test_the_cuts_of_the_kernel_leave_no_trace(text, cuts):
    places = sorted({min(c, len(text)) for c in cuts} | {0, len(text)})
    pieces = [text[a:b] for a, b in itertools.pairwise(places)]
    whole = joined([stream(text)])
    assert joined([stream(piece) for piece in pieces]) == whole
    assert whole[0]["text"] == text.rstrip() + "\n"


def test_streams_stay_apart_and_other_outputs_in_place():
    picture = {"output_type": "display_data", "data": {}}
    outputs = [stream("e", "stderr"), stream("a "), picture, stream("b"), stream("f", "stderr")]
    assert joined(outputs) == [stream("a b\n"), stream("ef\n", "stderr"), picture]


def test_an_overwritten_line_shows_its_last_state():
    assert joined([stream("10 %\r"), stream("90 %\rdone\n")]) == [stream("done\n")]
