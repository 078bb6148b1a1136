r"""Lab 06: whom the door lets in. `test_lab.py` has tasks 1 to 4."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_vllm.sampling_params import SamplingParams

from labkit.properties import examples

# ---------------------------------------------------------------- task 5: keep it out


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("num_prompt_tokens", "min_tokens", "passed_on"),
    [(20, 50, 12), (20, 13, 12), (20, 12, 12), (20, 3, 3), (20, 0, 0), (31, 5, 1), (1, 50, 31)],
)
def test_as_much_as_fits_and_no_less(impl, num_prompt_tokens, min_tokens, passed_on):
    params = SamplingParams(min_tokens=min_tokens, max_tokens=50, stop_token_ids=[7], seed=3)
    safe = impl.make_safe(params, num_prompt_tokens, 32)
    assert safe.min_tokens == passed_on
    assert params.min_tokens == min_tokens
    safe.min_tokens = min_tokens
    assert safe == params
    safe.stop_token_ids.append(8)
    assert params.stop_token_ids == [7]


@pytest.mark.task(5)
@pytest.mark.parametrize("num_prompt_tokens", [32, 33])
def test_a_prompt_without_room_is_refused(impl, num_prompt_tokens):
    with pytest.raises(ValueError) as refusal:
        impl.make_safe(SamplingParams(), num_prompt_tokens, 32)
    # Both numbers, in either order.
    named = Counter(re.findall(r"\d+", str(refusal.value)))
    assert named >= Counter([str(num_prompt_tokens), "32"]), str(refusal.value)


# ---------------------------------------------------------------- all together


@pytest.mark.task(1, 5)
@examples(60)
@given(
    num_prompt_tokens=st.integers(1, 31), min_tokens=st.integers(0, 50), limit=st.integers(32, 40)
)
def test_what_passes_the_door_ends(impl, num_prompt_tokens, min_tokens, limit):
    params = SamplingParams(min_tokens=min_tokens, max_tokens=50)
    safe = impl.make_safe(params, num_prompt_tokens, limit)
    assert not impl.never_ends(num_prompt_tokens, safe.min_tokens, limit)
    if safe.min_tokens < min_tokens:
        assert impl.never_ends(num_prompt_tokens, safe.min_tokens + 1, limit)
