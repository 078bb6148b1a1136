"""The ladder of stopping rules, against the table that the real `check_stop` gave at the pin."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mini_vllm.core.request import FinishReason, Request, RequestStatus
from mini_vllm.core.stopping import check_sequence_repetition, check_stop
from mini_vllm.sampling_params import RepetitionDetectionParams, SamplingParams

EOS = 2
SECOND_EOS = 3


def stop(answer: list[int], max_model_len: int = 1000, **params: object) -> Request:
    """Append an answer token by token, as the engine does, until a rule fires."""
    sampling_params = SamplingParams(**params)
    sampling_params.update_from_generation_config([EOS, SECOND_EOS], EOS)
    request = Request("r", [10] * 20, sampling_params)
    for token in answer:
        request.append_output_token_ids(token)
        if check_stop(request, max_model_len):
            break
    return request


# Run on the real function at the pin; the last row is the one where this engine differs on purpose.
PINNED = [
    ("EOS is the last allowed token", {"max_tokens": 3}, [5, 5, EOS], "STOPPED", "stop", None),
    (
        "the same under ignore_eos",
        {"max_tokens": 3, "ignore_eos": True},
        [5, 5, EOS],
        "LENGTH_CAPPED",
        "length",
        None,
    ),
    (
        "a stop token is the last allowed token",
        {"max_tokens": 3, "stop_token_ids": [7]},
        [5, 5, 7],
        "STOPPED",
        "stop",
        7,
    ),
    ("EOS below min_tokens", {"min_tokens": 5}, [5, 5, EOS], None, None, None),
    ("EOS exactly at min_tokens", {"min_tokens": 3}, [5, 5, EOS], "STOPPED", "stop", None),
    (
        "ignore_eos with the EOS id among the stop tokens",
        {"ignore_eos": True, "stop_token_ids": [EOS]},
        [5, EOS],
        "STOPPED",
        "stop",
        EOS,
    ),
    ("a second EOS id", {}, [5, SECOND_EOS], "STOPPED", "stop", SECOND_EOS),
    ("a second EOS id under ignore_eos", {"ignore_eos": True}, [5, SECOND_EOS], None, None, None),
    ("max_model_len", {"max_model_len": 22}, [5, 5], "LENGTH_CAPPED", "length", None),
]


@pytest.mark.parametrize(
    ("params", "answer", "status", "finish_reason", "stop_reason"),
    [row[1:] for row in PINNED],
    ids=[row[0] for row in PINNED],
)
def test_the_pinned_table(
    params: dict[str, object],
    answer: list[int],
    status: str | None,
    finish_reason: str | None,
    stop_reason: int | None,
) -> None:
    request = stop(answer, **params)
    if status is None:
        assert not request.is_finished()
        assert request.get_finished_reason() is None
        return
    assert str(request.status) == f"FINISHED_{status}"
    assert str(request.get_finished_reason()) == finish_reason
    assert request.stop_reason == stop_reason


def test_the_hole_at_the_pin_is_closed() -> None:
    """At the pin this request is never stopped; see the module's docstring."""
    request = stop([5] * 30, max_model_len=32, max_tokens=50, min_tokens=50)
    assert request.status == RequestStatus.FINISHED_LENGTH_CAPPED
    assert request.num_tokens == 32


def test_below_min_tokens_only_the_models_limit_stops() -> None:
    loop = RepetitionDetectionParams(max_pattern_size=1, min_count=2)
    request = stop(
        [7, 7, EOS, 7], min_tokens=4, stop_token_ids=[7], repetition_detection=loop, max_tokens=9
    )
    # Three tokens pass unasked; the fourth is asked and is a stop token.
    assert request.num_output_tokens == 4
    assert request.stop_reason == 7


def test_repetition_is_asked_last() -> None:
    loop = RepetitionDetectionParams(max_pattern_size=2, min_count=3)
    request = stop([8, 9, 8, 9, 8, 9, 8], repetition_detection=loop)
    assert str(request.status) == "FINISHED_REPETITION"
    assert str(request.get_finished_reason()) == "repetition"
    assert request.stop_reason == "repetition_detected"
    assert request.num_output_tokens == 6
    at_the_limit = stop([8, 9, 8, 9, 8, 9], repetition_detection=loop, max_tokens=6)
    assert str(at_the_limit.get_finished_reason()) == "length"


@given(
    tokens=st.lists(st.integers(0, 2), max_size=14),
    smallest=st.integers(0, 4),
    extra=st.integers(0, 3),
    count=st.integers(2, 4),
)
def test_repetition_is_what_its_definition_says(
    tokens: list[int], smallest: int, extra: int, count: int
) -> None:
    params = RepetitionDetectionParams(smallest + extra, smallest, count)
    expected = any(
        tokens[-size * count :] == tokens[-size:] * count
        for size in range(max(1, smallest), smallest + extra + 1)
        if len(tokens) >= size * count
    )
    assert check_sequence_repetition(tokens, params) == expected


def test_five_words_and_their_numbers_are_the_api() -> None:
    assert [(reason.value, str(reason)) for reason in FinishReason] == [
        (0, "stop"),
        (1, "length"),
        (2, "abort"),
        (3, "error"),
        (4, "repetition"),
    ]


def test_every_end_has_a_word_and_nothing_else_has() -> None:
    words = {status.name: status.get_finished_reason(status) for status in RequestStatus}
    assert {name: str(word) for name, word in words.items() if word is not None} == {
        "FINISHED_STOPPED": "stop",
        "FINISHED_LENGTH_CAPPED": "length",
        "FINISHED_ABORTED": "abort",
        "FINISHED_IGNORED": "length",
        "FINISHED_ERROR": "error",
        "FINISHED_REPETITION": "repetition",
    }
    assert [status.name for status in RequestStatus if not status.is_finished(status)] == [
        "WAITING",
        "RUNNING",
        "PREEMPTED",
    ]
