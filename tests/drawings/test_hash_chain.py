"""What the picture of names shows is what the engine computes."""

from __future__ import annotations

import io
import re

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

pytest.importorskip("matplotlib", reason="the book's own requirements are not installed")

from book.drawings.hash_chain import chain, draw_hash_chain
from book.palette import palette
from mini_vllm.core.prefix_hash import PrefixHasher
from mini_vllm.core.request import Request
from mini_vllm.sampling_params import SamplingParams

TOKENS = st.lists(st.integers(1, 3), min_size=1, max_size=14)


@settings(max_examples=60, deadline=None)
@given(TOKENS, TOKENS, st.integers(1, 4))
def test_names_are_equal_exactly_where_everything_before_is(one, other, size) -> None:
    first, second = chain(one, size), chain(other, size)
    for i, (a, b) in enumerate(zip(first, second, strict=False)):
        if a.name and b.name:
            end = (i + 1) * size
            assert (a.name == b.name) == (one[:end] == other[:end])


@settings(max_examples=30, deadline=None)
@given(TOKENS, st.integers(1, 4))
def test_the_names_are_those_of_a_request(tokens, size) -> None:
    hasher = PrefixHasher(size)
    request = Request("r", tokens, SamplingParams(max_tokens=1), block_hasher=hasher)
    assert [link.name for link in chain(tokens, size) if link.name] == request.block_hashes


def drawn(prompts) -> str:
    fig = draw_hash_chain(prompts, block_size=2)
    out = io.StringIO()
    fig.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def test_every_name_is_on_the_picture_and_its_colours_are_the_books() -> None:
    prompts = {"A": [1, 2, 3, 4, 5], "B": [1, 2, 9, 9]}
    svg = drawn(prompts)
    for tokens in prompts.values():
        assert all(link.label in svg for link in chain(tokens, 2))
    assert svg.count("no name") == 1
    assert svg.count(f"fill: {palette.blue_soft}") == 2
    ours = set(palette.css())
    assert {c.lower() for c in re.findall(r"#[0-9a-fA-F]{6}\b", svg)} <= ours
    assert drawn(prompts) == svg
