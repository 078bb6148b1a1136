"""What a caller may ask for."""

from __future__ import annotations

import math

import pytest

from mini_vllm.errors import RequestError
from mini_vllm.sampling_params import (
    MIN_TEMPERATURE,
    RepetitionDetectionParams,
    SamplingParams,
    SamplingType,
)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("temperature", [-0.1, math.nan, math.inf]),
        ("top_p", [0.0, 1.1, -1, math.nan]),
        ("top_k", [-2, 1.5]),
        ("min_p", [-0.1, 1.1, math.nan]),
        ("max_tokens", [0, -1, 1.5]),
        ("min_tokens", [-1, 17]),
        ("seed", [-2, 1.5]),
        ("logprobs", [-2]),
        ("stop", ["", ["a", ""], [3]]),
        ("stop_token_ids", [["a"], [True]]),
        ("n", [0, 16_385]),
        ("prompt_logprobs", [0, 1]),
        ("presence_penalty", [2.1, -2.1, math.nan]),
        ("frequency_penalty", [2.1, -3]),
        ("repetition_penalty", [0, -1, math.nan]),
    ],
)
def test_out_of_range_is_refused_by_name(name: str, values: list[object]) -> None:
    for value in values:
        with pytest.raises(RequestError, match=f"^{name} must be ") as caught:
            SamplingParams(**{name: value})
        assert caught.value.parameter == name


@pytest.mark.parametrize("value", [2.5, 2.0, "2", None, True])
@pytest.mark.parametrize("name", ["max_pattern_size", "min_pattern_size", "min_count"])
def test_a_pattern_is_counted_in_whole_numbers(name: str, value: object) -> None:
    """Otherwise `range` refuses it in the middle of a step, and everybody's engine is dead."""
    good = {"max_pattern_size": 4, "min_pattern_size": 1, "min_count": 2}
    with pytest.raises(RequestError, match=f"^{name} must be an integer, got ") as caught:
        RepetitionDetectionParams(**(good | {name: value}))
    assert caught.value.parameter == name


def test_an_unknown_parameter_is_an_error() -> None:
    with pytest.raises(TypeError, match="best_of"):
        SamplingParams(best_of=3)


def test_min_tokens_may_not_exceed_max_tokens() -> None:
    with pytest.raises(RequestError, match="min_tokens must be at most max_tokens=4, got 5"):
        SamplingParams(min_tokens=5, max_tokens=4)
    assert SamplingParams(min_tokens=5, max_tokens=None).min_tokens == 5


def test_stop_strings_need_text() -> None:
    with pytest.raises(RequestError, match="detokenize=False"):
        SamplingParams(stop="x", detokenize=False)


def test_one_stop_string_is_a_list_of_one() -> None:
    assert SamplingParams(stop="x").stop == ["x"]
    assert SamplingParams().stop == []


def test_greedy_switches_the_filters_off() -> None:
    params = SamplingParams(temperature=0.0, top_p=0.5, top_k=3, min_p=0.1)
    assert (params.top_p, params.top_k, params.min_p) == (1.0, 0, 0.0)
    assert params.sampling_type == SamplingType.GREEDY
    assert SamplingParams().sampling_type == SamplingType.RANDOM
    assert SamplingParams(seed=0).sampling_type == SamplingType.RANDOM_SEED
    assert SamplingParams(seed=-1).sampling_type == SamplingType.RANDOM


def test_a_tiny_temperature_is_raised_to_what_float16_can_divide_by() -> None:
    assert SamplingParams(temperature=1e-3).temperature == 1e-2


class TestEndTokens:
    def test_the_first_stops_silently_and_the_others_by_name(self) -> None:
        params = SamplingParams(stop_token_ids=[9])
        params.update_from_generation_config([2, 3], 2)
        assert params.eos_token_id == 2
        assert params.stop_token_ids == [9, 3]
        assert params.all_stop_token_ids == {2, 3, 9}

    def test_ignore_eos_works_by_absence(self) -> None:
        params = SamplingParams(ignore_eos=True, stop_token_ids=[9])
        params.update_from_generation_config([2, 3], 2)
        assert params.eos_token_id is None
        assert params.stop_token_ids == [9]
        # The sampler still keeps all of them back until min_tokens.
        assert params.all_stop_token_ids == {2, 3, 9}

    def test_a_clone_keeps_the_callers_object_clean(self) -> None:
        params = SamplingParams(stop_token_ids=[9], stop=["x"])
        clone = params.clone()
        clone.update_from_generation_config([2, 3], 2)
        assert params.eos_token_id is None
        assert params.stop_token_ids == [9]
        assert params.all_stop_token_ids == {9}
        assert clone.stop == ["x"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_pattern_size": 1, "min_count": 1}, "min_count must be at least 2"),
        ({"max_pattern_size": 1, "min_pattern_size": 2}, "at least min_pattern_size=2"),
        ({"min_pattern_size": -1}, "min_pattern_size must be at least 0"),
    ],
)
def test_repetition_out_of_range(values: dict[str, int], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        RepetitionDetectionParams(**values)


@pytest.mark.parametrize("asked", [1e-9, 1e-6, 1e-3])
def test_a_cold_draw_is_a_draw(asked: float) -> None:
    """Raised to the least temperature, as at the pin; only 0 is greedy."""
    params = SamplingParams(temperature=asked, top_p=0.5)
    assert params.temperature == MIN_TEMPERATURE
    assert params.top_p == 0.5
    assert params.sampling_type == SamplingType.RANDOM
