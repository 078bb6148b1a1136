"""The engine from the outside: text in, text out, and nobody hurt by his neighbour."""

from __future__ import annotations

import pytest

from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.entrypoints import cli
from mini_vllm.entrypoints.llm import LLM
from mini_vllm.errors import ConfigError, RequestError
from mini_vllm.sampling_params import RequestOutputKind, SamplingParams


def say(text: str) -> list[int]:
    """A script that answers with a text, and then ends."""
    return [*text.encode(), 256]


@pytest.fixture
def text_engine(make_engine, byte_tokenizer):
    def build(scripts: dict[str, str] | None = None, **kwargs: object) -> LLMEngine:
        return make_engine(
            {name: say(text) for name, text in (scripts or {}).items()},
            tokenizer=byte_tokenizer,
            vocab_size=257,
            **kwargs,
        )

    return build


def test_text_in_text_out(text_engine, run) -> None:
    engine = text_engine({"a": "wörld"})
    engine.add_request("a", "hello ", SamplingParams(max_tokens=50))
    end = run(engine)["a"]
    answer = end.outputs[0]
    assert (end.prompt, end.prompt_token_ids) == ("hello ", list(b"hello "))
    assert (answer.text, answer.finish_reason, answer.stop_reason) == ("wörld", "stop", None)
    # The end token is a token of the answer, and no text.
    assert answer.token_ids == say("wörld")
    assert end.metrics.num_generation_tokens == 7
    assert 0 < end.metrics.first_token_ts <= end.metrics.last_token_ts


def test_a_stop_string_ends_the_request_in_the_core_too(text_engine, run) -> None:
    engine = text_engine({"a": "one\ntwo\nthree", "b": "xxxxxx"})
    engine.add_request("a", "?", SamplingParams(max_tokens=50, stop=["\nt"]))
    engine.add_request("b", "?", SamplingParams(max_tokens=50))
    ends = run(engine)
    answer = ends["a"].outputs[0]
    assert (answer.text, answer.finish_reason, answer.stop_reason) == ("one", "stop", "\nt")
    assert answer.token_ids == list(b"one\nt")
    assert ends["b"].outputs[0].text == "xxxxxx"
    assert engine.engine_core.scheduler.kv_cache_manager.usage == 0


@pytest.mark.parametrize("kind", list(RequestOutputKind))
def test_what_a_stream_holds(text_engine, kind: RequestOutputKind) -> None:
    engine = text_engine({"a": "abc"})
    engine.add_request("a", "?", SamplingParams(max_tokens=9, output_kind=kind, logprobs=0))
    seen = []
    while engine.has_unfinished_requests():
        seen += [output.outputs[0] for output in engine.step()]
    texts = [answer.text for answer in seen]
    lengths = [(len(answer.token_ids), len(answer.logprobs)) for answer in seen]
    if kind == RequestOutputKind.CUMULATIVE:
        assert texts == ["a", "ab", "abc", "abc"]
        assert lengths == [(n, n) for n in (1, 2, 3, 4)]
    elif kind == RequestOutputKind.DELTA:
        assert texts == ["a", "b", "c", ""]
        assert lengths == [(1, 1)] * 4
    else:
        assert texts == ["abc"]
        assert lengths == [(4, 4)]


def test_what_was_handed_out_does_not_grow(text_engine) -> None:
    engine = text_engine({"a": "abc"})
    engine.add_request("a", "?", SamplingParams(max_tokens=9, logprobs=1))
    (first,) = engine.step()
    engine.step()
    assert len(first.outputs[0].token_ids) == len(first.outputs[0].logprobs) == 1


def test_log_probabilities_of_half_a_character_have_no_half_text(text_engine, run) -> None:
    engine = text_engine({"a": "a€"})
    engine.add_request("a", "?", SamplingParams(max_tokens=9, logprobs=0))
    answer = run(engine)["a"].outputs[0]
    texts = [next(iter(position.values())).decoded_token for position in answer.logprobs]
    assert texts == ["a", "", "", "€", "<eos>"]


def test_an_abort_has_a_last_word(text_engine) -> None:
    engine = text_engine({"a": "abcdef", "b": "xyz"})
    for name in "ab":
        engine.add_request(name, "?", SamplingParams(max_tokens=9))
    engine.step()
    (end,) = engine.abort_request(["a", "unknown"])
    assert (end.outputs[0].text, end.outputs[0].finish_reason) == ("a", "abort")
    assert end.finished
    assert engine.abort_request("a") == []
    outputs = [output for _ in range(4) for output in engine.step()]
    assert {output.request_id for output in outputs} == {"b"}
    assert not engine.has_unfinished_requests()


def test_an_abort_from_another_thread_waits_for_the_end_of_the_model(text_engine) -> None:
    engine = text_engine({"a": "abcdef", "b": "xyz"})
    for name in "ab":
        engine.add_request(name, "?", SamplingParams(max_tokens=9))
    core = engine.engine_core
    sample = core.executor.sample_tokens

    def hang_up_meanwhile():
        core.aborts_queue.append("a")
        return sample()

    core.executor.sample_tokens = hang_up_meanwhile
    news = core.step()
    assert [one.request_id for one in news] == ["b"]
    assert core.scheduler.get_request_counts() == (1, 0)


def test_eos_and_stop_ids_of_the_model(make_engine, run) -> None:
    engine = make_engine(default=[5, 2, 5], eos_token_id=2)
    engine.add_request("stops", {"prompt_token_ids": [1]}, SamplingParams())
    engine.add_request(
        "goes on", {"prompt_token_ids": [1]}, SamplingParams(ignore_eos=True, max_tokens=3)
    )
    ends = run(engine)
    assert ends["stops"].outputs[0].token_ids == [5, 2]
    assert ends["goes on"].outputs[0].finish_reason == "length"


def test_no_limit_means_what_fits(make_engine, run) -> None:
    engine = make_engine(default=lambda place: 7, max_model_len=16)
    engine.add_request("a", {"prompt_token_ids": [1, 2, 3]}, SamplingParams(max_tokens=None))
    assert len(run(engine)["a"].outputs[0].token_ids) == 13
    small = make_engine(default=lambda place: 7, block_size=4, num_gpu_blocks=3)
    small.add_request("a", {"prompt_token_ids": [1, 2, 3]}, SamplingParams(max_tokens=None))
    # Eight slots, and the last token needs none.
    assert len(run(small)["a"].outputs[0].token_ids) == 6


def test_the_callers_parameters_stay_as_they_were(text_engine, run) -> None:
    engine = text_engine({"a": "x"})
    params = SamplingParams(max_tokens=None)
    engine.add_request("a", "?", params)
    run(engine)
    assert params == SamplingParams(max_tokens=None)


REFUSED = [
    ("?", {"logprobs": 21}, "logprobs=21 asks for 21 tokens; max_logprobs is 20"),
    ("?", {"logprobs": -1}, "logprobs=-1 asks for 257 tokens; max_logprobs is 20"),
    ("?", {"stop_token_ids": [257]}, "stop_token_ids has token id 257; the model has 0 to 256"),
    ("", {}, "the prompt has no tokens"),
    ("x" * 64, {}, "the prompt has 64 tokens; with max_model_len=64 it may have at most 63"),
    ({"prompt_token_ids": []}, {}, "the prompt has no tokens"),
    ({"prompt_token_ids": [257]}, {}, "prompt has token id 257; the model has 0 to 256"),
    ({"prompt_token_ids": [-1]}, {}, "prompt has token id -1"),
    ({"prompt_token_ids": ["a"]}, {}, "prompt_token_ids must be a list of integers"),
    ({"prompt_token_ids": "ab"}, {}, "prompt_token_ids must be a list of integers"),
    ({"prompt_token_ids": [True]}, {}, "prompt_token_ids must be a list of integers"),
    ({"text": "a"}, {}, r"a prompt has 'prompt' or 'prompt_token_ids', not \['text'\]"),
    (3, {}, "a prompt is text, .* got int"),
    ("x" * 20, {"max_tokens": 30}, "20 prompt tokens and max_tokens=30 need 13 blocks of 4 tokens"),
]


@pytest.mark.parametrize(("prompt", "params", "message"), REFUSED)
def test_a_bad_request_is_refused_and_the_others_go_on(
    text_engine, run, prompt, params, message: str
) -> None:
    engine = text_engine(
        {"good": "fine", "next": "too"}, max_model_len=64, block_size=4, num_gpu_blocks=11
    )
    engine.add_request("good", "?", SamplingParams())
    engine.step()
    with pytest.raises(RequestError, match=message):
        engine.add_request("bad", prompt, SamplingParams(**params))
    engine.add_request("next", "?", SamplingParams())
    ends = run(engine)
    assert {name: end.outputs[0].text for name, end in ends.items()} == {
        "good": "fine",
        "next": "too",
    }


def test_other_refusals(text_engine, make_engine) -> None:
    engine = text_engine()
    with pytest.raises(RequestError, match="priority=3 needs scheduling_policy='priority'"):
        engine.add_request("a", "?", SamplingParams(), priority=3)
    with pytest.raises(RequestError, match="request_id must be a string, got 7"):
        engine.add_request(7, "?", SamplingParams())
    with pytest.raises(RequestError, match="params must be SamplingParams, got dict"):
        engine.add_request("a", "?", {})
    engine.add_request("a", "?", SamplingParams())
    with pytest.raises(RequestError, match="request id 'a' is in use"):
        engine.add_request("a", "?", SamplingParams())
    assert engine.get_num_unfinished_requests() == 1
    without = make_engine()
    with pytest.raises(RequestError, match="no tokenizer"):
        without.add_request("a", "?", SamplingParams())
    with pytest.raises(RequestError, match=r"stop=.* is looked for in text"):
        without.add_request("a", {"prompt_token_ids": [1]}, SamplingParams(stop="x"))


class TestLLM:
    def test_answers_come_in_the_order_of_the_prompts(self, text_engine) -> None:
        llm = LLM.from_engine(text_engine({"0": "long answer", "1": "x", "2": "yy"}))
        outputs = llm.generate(["a", {"prompt": "b"}, {"prompt_token_ids": [99]}])
        assert [output.outputs[0].text for output in outputs] == ["long answer", "x", "yy"]
        assert [output.prompt for output in outputs] == ["a", "b", None]
        assert all(output.finished for output in outputs)

    def test_one_prompt_is_a_list_of_one(self, text_engine) -> None:
        llm = LLM.from_engine(text_engine({"0": "x", "1": "y"}))
        assert len(llm.generate("a")) == 1
        assert len(llm.generate({"prompt": "a"})) == 1

    def test_each_prompt_its_own_parameters_and_priority(self, text_engine) -> None:
        engine = text_engine({"0": "abc", "1": "abc"}, policy="priority", max_num_seqs=1)
        order: list[str] = []
        step = engine.step

        def watched():
            outputs = step()
            order.extend(output.request_id for output in outputs)
            return outputs

        engine.step = watched
        outputs = LLM.from_engine(engine).generate(
            ["a", "b"],
            [SamplingParams(max_tokens=1), SamplingParams(max_tokens=2)],
            priority=[1, 0],
        )
        assert [output.outputs[0].text for output in outputs] == ["a", "ab"]
        assert order == ["1", "0"]

    def test_a_refused_prompt_leaves_nothing_behind(self, text_engine) -> None:
        llm = LLM.from_engine(text_engine({"0": "x", "1": "y", "2": "z"}))
        with pytest.raises(RequestError, match="no tokens"):
            llm.generate(["a", ""])
        assert not llm.llm_engine.has_unfinished_requests()
        assert llm.generate("b")[0].outputs[0].text == "z"

    def test_lists_must_match(self, text_engine) -> None:
        llm = LLM.from_engine(text_engine())
        with pytest.raises(RequestError, match="sampling_params has 1 entries for 2 prompts"):
            llm.generate(["a", "b"], [SamplingParams()])

    def test_a_keyword_that_means_nothing_here(self) -> None:
        with pytest.raises(ConfigError, match="tensor_parallel_size=2 is not supported"):
            LLM("nowhere", tensor_parallel_size=2)

    def test_the_tokenizer(self, text_engine, make_engine, byte_tokenizer) -> None:
        assert LLM.from_engine(text_engine()).get_tokenizer().encode("a") == [97]
        with pytest.raises(ConfigError, match="skip_tokenizer_init"):
            LLM.from_engine(make_engine()).get_tokenizer()


class TestCommand:
    @pytest.fixture(autouse=True)
    def scripted(self, monkeypatch, text_engine) -> None:
        """The real command on an engine that needs no model."""
        engine = text_engine({"0": "rld!", "1": "x"}, max_model_len=80)
        monkeypatch.setattr(LLMEngine, "from_keywords", lambda model, **_: engine)

    def test_one_prompt_is_streamed(self, capsys) -> None:
        assert cli.main(["generate", "m", "--prompt", "wo"]) == 0
        out, err = capsys.readouterr()
        assert (out, err) == ("world!\n", "\n[stop]\n")

    def test_a_refusal_is_one_line(self, capsys) -> None:
        assert cli.main(["generate", "m", "--prompt", "w" * 90]) == 1
        assert capsys.readouterr().err.startswith("mini_vllm: the prompt has 90 tokens")

    def test_several_prompts_are_printed_as_they_end(self, capsys) -> None:
        assert cli.main(["generate", "m", "--prompt", "a", "--prompt", "b"]) == 0
        out = capsys.readouterr().out
        assert out.splitlines() == ["--- 'b' [stop]", "x", "--- 'a' [stop]", "rld!"]
