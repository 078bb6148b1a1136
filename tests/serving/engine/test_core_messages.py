"""What crosses the border arrives as it was sent, and what must not cross is an error."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mini_vllm.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig
from mini_vllm.core.engine_core_output import (
    EngineCoreOutput,
    EngineCoreOutputs,
    RequestRefusal,
    UtilityOutput,
)
from mini_vllm.core.engine_core_request import EngineCoreRequest
from mini_vllm.core.model_runner_output import TokenLogprobs
from mini_vllm.core.request import FinishReason
from mini_vllm.core.stats import EngineCoreEvent, EngineCoreEventType, SchedulerStats
from mini_vllm.engine.core_messages import (
    CoreReady,
    CoreSetup,
    ScriptedModel,
    UtilityCall,
    decode_call,
    decode_ids,
    decode_outputs,
    decode_ready,
    decode_request,
    decode_setup,
    encode,
)
from mini_vllm.sampling_params import (
    RepetitionDetectionParams,
    RequestOutputKind,
    SamplingParams,
)

NUMBER = st.floats(allow_nan=False)
TOKEN = st.integers(0, 2**31)
TEXT = st.text(max_size=8)

stats = st.builds(
    SchedulerStats,
    *[st.integers(0, 9)] * 2,
    st.floats(0, 1),
    *[st.integers(0, 2**40)] * 4,
)
news = st.builds(
    EngineCoreOutput,
    request_id=TEXT,
    new_token_ids=st.lists(TOKEN, max_size=3),
    new_logprobs=st.none()
    | st.lists(
        st.builds(TokenLogprobs, st.lists(TOKEN), st.lists(NUMBER), st.integers(1, 10**6)),
        max_size=2,
    ),
    finish_reason=st.none() | st.sampled_from(FinishReason),
    stop_reason=st.none() | TOKEN | TEXT,
    num_cached_tokens=st.none() | TOKEN,
    events=st.none()
    | st.lists(st.builds(EngineCoreEvent, st.sampled_from(EngineCoreEventType), NUMBER)),
)
outputs = st.builds(
    EngineCoreOutputs,
    outputs=st.lists(news, max_size=3),
    scheduler_stats=st.none() | stats,
    timestamp=NUMBER,
    finished_requests=st.lists(TEXT),
    refusals=st.lists(st.builds(RequestRefusal, TEXT, TEXT, st.none() | TEXT), max_size=2),
    utility_output=st.none()
    | st.builds(
        UtilityOutput, st.integers(0, 9), st.none() | TEXT, st.none() | st.booleans() | TOKEN
    ),
)


@st.composite
def sampling_params(draw: st.DrawFn) -> SamplingParams:
    max_tokens = draw(st.none() | st.integers(1, 100))
    params = SamplingParams(
        presence_penalty=draw(st.floats(-2, 2)),
        frequency_penalty=draw(st.floats(-2, 2)),
        repetition_penalty=draw(st.floats(0.1, 5)),
        temperature=draw(st.floats(0, 5)),
        top_p=draw(st.floats(0.01, 1)),
        top_k=draw(st.integers(-1, 50)),
        min_p=draw(st.floats(0, 1)),
        seed=draw(st.none() | st.integers(0, 2**63 - 1)),
        stop=draw(st.lists(st.text(min_size=1, max_size=3), max_size=2)),
        stop_token_ids=draw(st.lists(TOKEN, max_size=3)),
        ignore_eos=draw(st.booleans()),
        max_tokens=max_tokens,
        min_tokens=draw(st.integers(0, max_tokens or 9)),
        logprobs=draw(st.none() | st.integers(-1, 20)),
        skip_special_tokens=draw(st.booleans()),
        include_stop_str_in_output=draw(st.booleans()),
        output_kind=draw(st.sampled_from(RequestOutputKind)),
        repetition_detection=draw(st.none() | st.just(RepetitionDetectionParams(4, 2, 3))),
    )
    params.update_from_generation_config(draw(st.lists(TOKEN, max_size=2)), draw(st.none() | TOKEN))
    return params


def same_type_and_value(one: Any, other: Any) -> bool:
    """Equality that looks into everything: also fields that do not compare, and their types."""
    if type(one) is not type(other):
        return False
    if dataclasses.is_dataclass(one):
        return all(
            same_type_and_value(getattr(one, f.name), getattr(other, f.name))
            for f in dataclasses.fields(one)
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same_type_and_value, one, other))
    return one == other


@given(outputs)
def test_a_step_arrives_as_it_was_sent(message: EngineCoreOutputs) -> None:
    assert same_type_and_value(decode_outputs(encode(message)), message)


requests = st.builds(
    EngineCoreRequest, TEXT, st.lists(TOKEN), sampling_params(), NUMBER, st.integers()
)


@given(requests)
def test_a_request_arrives_as_it_was_sent(message: EngineCoreRequest) -> None:
    try:
        body = encode(message)
    except OverflowError:
        # A priority of more than eight bytes; the client makes a refusal of it.
        assert not -(2**63) <= message.priority < 2**64
        return
    assert same_type_and_value(decode_request(body), message)


def test_every_field_of_every_message_is_tried() -> None:
    """A new field must be added to the strategies above, or this fails."""
    for kind, names in {
        EngineCoreOutput: "request_id new_token_ids new_logprobs finish_reason stop_reason "
        "num_cached_tokens events",
        EngineCoreOutputs: "outputs scheduler_stats timestamp finished_requests refusals "
        "utility_output",
        EngineCoreRequest: "request_id prompt_token_ids sampling_params arrival_time priority",
    }.items():
        assert {field.name for field in dataclasses.fields(kind)} == set(names.split())


def test_the_setup_arrives_as_it_was_sent() -> None:
    model = ModelConfig(
        "m",
        vocab_size=9,
        max_model_len=8,
        generation_eos_token_ids=(1, 2),
        hf_config={"rope": {"factor": 2.0}, "layers": [1, None]},
    )
    config = EngineConfig(
        model_config=model,
        scheduler_config=SchedulerConfig(max_model_len=8, policy="priority"),
        cache_config=CacheConfig(block_size=4, num_gpu_blocks=7),
    )
    scripted = ScriptedModel(scripts={"a": [1, {2: -0.5}]}, default=[3], step_seconds=0.5)
    setup = CoreSetup(
        config=config, directory="/d", scripted=scripted, num_threads=3, check_invariants=True
    )
    arrived = decode_setup(encode(setup))
    assert arrived == setup
    assert arrived.config.model_config.hf_config == model.hf_config
    assert decode_ready(encode(CoreReady(num_gpu_blocks=2, max_num_tokens=3))).max_num_tokens == 3
    assert decode_ids(encode(["a"])) == ["a"]
    assert decode_call(encode(UtilityCall(1, "f", [True]))) == UtilityCall(1, "f", [True])


@pytest.mark.parametrize("value", [object(), np.int64(3), np.zeros(2), lambda: 1, 1j, 2**64])
def test_what_is_no_plain_value_cannot_be_sent(value: object) -> None:
    """In particular: no pickle by the back door."""
    with pytest.raises((TypeError, OverflowError)):
        encode(EngineCoreOutput("a", [value]))


@pytest.mark.parametrize(
    ("field", "value"),
    [("request_id", 3), ("new_token_ids", "abc"), ("finish_reason", 9), ("new_logprobs", [[1]])],
)
def test_a_field_of_another_type_is_not_read(field: str, value: object) -> None:
    body = {"request_id": "a", "new_token_ids": [1], field: value}
    with pytest.raises(msgspec.ValidationError, match=field):
        decode_outputs(encode({"outputs": [body]}))


def test_parameters_are_checked_again_on_arrival() -> None:
    body = {"request_id": "a", "prompt_token_ids": [1], "arrival_time": 0.0}
    with pytest.raises(msgspec.ValidationError, match="temperature must be non-negative"):
        decode_request(encode({**body, "sampling_params": {"temperature": -1.0}}))
