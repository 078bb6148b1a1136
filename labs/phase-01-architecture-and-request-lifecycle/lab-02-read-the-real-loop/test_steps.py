r"""Lab 02: the steps that a log tells of, and the counters of its requests.

The truth about counters was recorded inside vLLM.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.neighbour import beside

logs = beside(__file__, "logs")
SCENES, run_of, messages_of = logs.SCENES, logs.run_of, logs.messages_of


# ---------------------------------------------------------------- task 5


def batch(num_tokens):
    return (
        f"Running batch with cudagraph_mode: NONE, batch_descriptor: BatchDescriptor(num_tokens="
        f"{num_tokens}, num_reqs=None, uniform=False, has_lora=False, num_active_loras=0), "
        "should_ubatch: False, num_tokens_across_dp: None"
    )


def iteration(index, a, b, c, d, ms):
    return (
        f"Iteration({index}): {a} context requests, {b} context tokens, {c} generation requests, "
        f"{d} generation tokens, iteration elapsed time: {ms} ms"
    )


@pytest.mark.task(5)
def test_a_batch_and_its_iteration_are_one_step(impl):
    messages = [batch(64), "ubatch_slices: None", iteration(0, 2, 60, 4, 4, "10.23"), "other"]
    assert impl.steps_in(messages) == [impl.LoggedStep(64, (2, 60), (4, 4), 10.23)]


@pytest.mark.task(5)
def test_an_iteration_without_a_batch_ran_no_model(impl):
    messages = [batch(3), iteration(7, 0, 0, 3, 3, "5.00"), iteration(8, 0, 0, 0, 0, "1.29")]
    first, last = impl.steps_in(messages)
    assert (first.model_tokens, last.model_tokens) == (3, 0)
    assert last == impl.LoggedStep(0, (0, 0), (0, 0), 1.29)


@pytest.mark.task(5)
def test_without_iteration_lines_the_batches_are_the_steps(impl):
    messages = ["start", batch(64), "between", batch(12), batch(1)]
    assert impl.steps_in(iter(messages)) == [
        impl.LoggedStep(64),
        impl.LoggedStep(12),
        impl.LoggedStep(1),
    ]
    assert impl.steps_in(["GPU KV cache size: 192 tokens"]) == []


@pytest.mark.task(5)
@pytest.mark.parametrize("scene", SCENES)
def test_the_log_has_the_steps_that_the_scheduler_took(impl, scene):
    steps = impl.steps_in(messages_of(scene))
    assert [step.model_tokens for step in steps] == [
        sum(step["scheduled"].values()) for step in run_of(scene)["steps"]
    ]


@pytest.mark.task(5)
@pytest.mark.parametrize("scene", ["default", "scarce"])
def test_a_request_that_has_drawn_a_token_counts_as_generation(impl, scene):
    """Also when it was preempted and its whole prompt is computed again."""
    drawn = set()
    for logged, step in zip(impl.steps_in(messages_of(scene)), run_of(scene)["steps"], strict=True):
        counts = {True: [0, 0], False: [0, 0]}
        for name, tokens in step["scheduled"].items():
            counts[name in drawn][0] += 1
            counts[name in drawn][1] += tokens
        assert logged.context == tuple(counts[False])
        assert logged.generation == tuple(counts[True])
        assert logged.milliseconds > 0
        drawn |= step["sampled"].keys()


@pytest.mark.task(5)
def test_the_default_layout_takes_a_step_without_work(impl, truth):
    steps = impl.steps_in(messages_of("default"))
    worked = max(index for index, step in enumerate(steps) if step.model_tokens)
    idle_steps = len(steps) - 1 - worked
    truth("steps-without-work", idle_steps)
    assert idle_steps == 1
    assert all(step.model_tokens for step in impl.steps_in(messages_of("plain")))


# ---------------------------------------------------------------- task 6


def made_up(arrived=(), admitted=None, preempted=(), scheduled=None, sampled=None, finished=None):
    return {
        "arrived": list(arrived),
        "admitted": admitted or {},
        "preempted": list(preempted),
        "scheduled": scheduled or {},
        "sampled": sampled or {},
        "finished": finished or {},
    }


@pytest.mark.task(6)
@pytest.mark.parametrize("scene", SCENES)
def test_the_counters_are_those_inside_vllm(impl, scene):
    run = run_of(scene)
    prompts = {name: len(told["prompt_token_ids"]) for name, told in run["requests"].items()}
    rows = impl.counters(prompts, run["steps"])
    recorded = [
        {name: tuple(counters) for name, counters in step["after_update"].items()}
        for step in run["steps"]
    ]
    assert rows == recorded


@pytest.mark.task(6)
def test_a_request_waits_runs_steps_back_and_ends(impl):
    steps = [
        made_up(arrived="ab", admitted={"a": 0}, scheduled={"a": 4}),
        made_up(scheduled={"a": 2}, sampled={"a": [7]}),
        made_up(admitted={"b": 16}, scheduled={"a": 1, "b": 3}, sampled={"a": [8], "b": [1, 2]}),
        made_up(preempted="a", scheduled={"b": 2}, sampled={"b": [3]}, finished={"b": "stop"}),
        made_up(admitted={"a": 4}, scheduled={"a": 4}, sampled={"a": [9]}),
        made_up(finished={"a": "abort"}),
    ]
    rows = impl.counters({"a": 6, "b": 19}, steps)
    assert [row["a"] for row in rows] == [
        ("RUNNING", 4, 6),
        ("RUNNING", 6, 7),
        ("RUNNING", 7, 8),
        ("PREEMPTED", 0, 8),
        ("RUNNING", 8, 9),
        ("FINISHED_ABORTED", 8, 9),
    ]
    assert [row["b"] for row in rows] == [
        ("WAITING", 0, 19),
        ("WAITING", 0, 19),
        ("RUNNING", 19, 21),
        ("FINISHED_STOPPED", 21, 22),
        ("FINISHED_STOPPED", 21, 22),
        ("FINISHED_STOPPED", 21, 22),
    ]


@pytest.mark.task(6)
def test_nobody_has_counters_before_arriving(impl):
    steps = [made_up(), made_up(arrived="z")]
    assert impl.counters({"z": 3}, steps) == [{}, {"z": ("WAITING", 0, 3)}]


@pytest.mark.task(6)
def test_length_is_reported_as_capped(impl):
    steps = [
        made_up(
            arrived="q",
            admitted={"q": 0},
            scheduled={"q": 5},
            sampled={"q": [1]},
            finished={"q": "length"},
        )
    ]
    assert impl.counters({"q": 5}, steps) == [{"q": ("FINISHED_LENGTH_CAPPED", 5, 6)}]


def plan(*steps):
    return [made_up(scheduled=step) for step in steps]


@pytest.mark.task(6)
def test_equal_schedules_line_up_in_any_order_of_requests(impl):
    assert impl.line_up(plan({"a": 3, "b": 1}), plan({"b": 1, "a": 3})) is None
    assert impl.line_up([], []) is None


@pytest.mark.task(6)
def test_the_first_difference_is_named(impl):
    ours = plan({"a": 3}, {"a": 1}, {"a": 1, "b": 2}, {"a": 9})
    assert impl.line_up(ours, plan({"a": 3}, {"a": 1}, {"a": 1, "b": 3}, {"a": 8})) == 2
    assert impl.line_up(ours, plan({"b": 3}, {"a": 1}, {"a": 1, "b": 2}, {"a": 9})) == 0
    assert impl.line_up(ours, plan({"a": 3}, {"a": 1, "b": 1}, {}, {"a": 9})) == 1


@pytest.mark.task(6)
def test_a_step_that_schedules_nothing_is_left_out(impl):
    ours = plan({}, {"a": 3}, {"a": 1}, {"b": 1})
    assert impl.line_up(ours, plan({"a": 3}, {}, {}, {"a": 1}, {"b": 1}, {})) is None
    assert impl.line_up(ours, plan({"a": 3}, {}, {}, {"a": 1}, {"b": 2}, {})) == 2


@pytest.mark.task(6)
def test_an_engine_that_goes_on_differs(impl):
    short, long = plan({"a": 3}), plan({"a": 3}, {"a": 1})
    assert impl.line_up(short, long) == 1
    assert impl.line_up(long, short) == 1


@pytest.mark.task(6)
@pytest.mark.parametrize("scene", SCENES)
def test_our_scheduler_takes_the_steps_of_vllm(impl, scene):
    ours, run = impl.our_steps(scene), run_of(scene)
    assert impl.line_up(ours, run["steps"]) is None
    prompts = {name: len(told["prompt_token_ids"]) for name, told in run["requests"].items()}
    theirs = [
        {name: tuple(counters) for name, counters in step["after_update"].items()}
        for step in run["steps"]
        if step["scheduled"]
    ]
    assert impl.counters(prompts, ours) == theirs


@pytest.mark.model
@pytest.mark.task(6)
@pytest.mark.parametrize("scene", SCENES)
def test_on_the_real_model_the_tokens_are_the_same_too(impl, scene):
    """Our engine computes now, in float32 as vLLM did: the same steps, and the same answers."""
    from mini_vllm import LLM

    root, run, origin = Path(__file__).parents[3], run_of(scene), impl.provenance()
    weights = root / origin["checkpoint"]["path"] / "model.safetensors"
    if not weights.is_file():
        pytest.skip(f"no checkpoint at {origin['checkpoint']['path']}")
    settings = origin["scenes"][scene]["settings"]
    engine = LLM(
        str(weights.parent),
        dtype="float32",
        attention_backend="torch_reference",
        num_gpu_blocks_override=settings.get("num_gpu_blocks_override", 64),
        **{name: settings[name] for name in impl.SHARED_SETTINGS},
    ).llm_engine
    ours = impl.watched(engine, run["requests"], [step["arrived"] for step in run["steps"]])
    assert impl.line_up(ours, run["steps"]) is None
    answers = {name: [] for name in run["requests"]}
    for step in ours:
        for name, tokens in step["sampled"].items():
            answers[name] += tokens
    assert answers == {name: told["token_ids"] for name, told in run["requests"].items()}


# ---------------------------------------------------------------- your own capture of a GPU

GPU = Path(__file__).parents[3] / ".labs" / "lab-02-gpu"


@pytest.fixture
def gpu_folder():
    if not (GPU / "provenance.json").is_file():
        pytest.skip(
            "not run yet: python -m vllm_cpu.capture gpu-sync gpu-default --out .labs/lab-02-gpu"
        )
    return GPU


@pytest.mark.gpu
@pytest.mark.task(6)
def test_without_asynchronous_scheduling_a_gpu_takes_the_same_steps(impl, gpu_folder):
    ours = impl.our_steps("gpu-sync", gpu_folder)
    assert impl.line_up(ours, impl.trace("gpu-sync", gpu_folder)["steps"]) is None


@pytest.mark.gpu
@pytest.mark.task(1, 2, 3)
def test_with_the_defaults_another_loop_runs(impl, gpu_folder):
    lines, known = impl.parse(impl.log("gpu-default", gpu_folder)), impl.known_sources(gpu_folder)
    sources = [impl.source_of(line, known) for line in lines]
    assert any(line.message.startswith("Batch queue is enabled with size") for line in lines)
    loop = [stage for stage in impl.attribute(sources) if stage in ("execute", "step")]
    # Two lines of each of two batches, and only then the line of the first iteration.
    assert loop.index("step") >= 4
