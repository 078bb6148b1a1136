r"""What your reading of the log has to be true of: made-up lines first, then three real logs.

Where a test judges a whole log, its own answer comes from the *words* of the lines, while yours has
to come from the function that wrote them; and the truth about counters was recorded inside vLLM.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.properties import examples

CAPTURE = Path(__file__).parent / "capture"
SCENES = ("plain", "default", "scarce")
ENGINE = "vllm/v1/engine/core.py#"
RUNNER = "vllm/v1/worker/gpu_model_runner.py#GPUModelRunner."
KV = "vllm/v1/core/kv_cache_utils.py"
PLATFORMS = "vllm/platforms/__init__.py"
SHM = "vllm/distributed/device_communicators/shm_broadcast.py"
INITIALIZED = "vllm/v1/metrics/loggers.py#LoggingStatLogger.log_engine_initialized"
DECIDED = {
    "vllm/v1/core/sched/scheduler.py#Scheduler.schedule": "schedule",
    "vllm/v1/core/sched/scheduler.py#Scheduler._update_from_kv_xfer_finished": "update",
    f"{RUNNER}execute_model": "execute",
    f"{RUNNER}sample_tokens": "sample",
    f"{RUNNER}_dummy_run": "start-up",
    f"{ENGINE}EngineCore.log_iteration_details": "step",
    f"{ENGINE}EngineCoreProc._process_input_queue": "idle",
    f"{ENGINE}EngineCoreProc._handle_shutdown": "shutdown",
    "vllm/v1/executor/multiproc_executor.py#MultiprocExecutor.shutdown": "shutdown",
    INITIALIZED: "start-up",
    "vllm/v1/metrics/loggers.py#LoggingStatLogger.log": "front-end",
}


@cache
def text_of(scene):
    return (CAPTURE / f"{scene}.log").read_text(encoding="utf-8")


@cache
def run_of(scene):
    return json.loads((CAPTURE / f"{scene}.json").read_text(encoding="utf-8"))


def messages_of(scene):
    """The lines of a log without prefix, level, time and place, read in another way than yours."""
    lines = text_of(scene).split("\n")[:-1]
    return [re.split(r"\[[\w./]+\.py:\d+\] ", line, maxsplit=1)[-1] for line in lines]


# ---------------------------------------------------------------- task 1


@pytest.mark.task(1)
def test_a_record_comes_apart(impl):
    text = "DEBUG 11-20 23:55:43 [v1/engine/core.py:1215] EngineCore waiting for work.\n"
    [line] = impl.parse(text)
    assert (line.level, line.time) == ("DEBUG", "11-20 23:55:43")
    assert (line.location, line.lineno) == ("v1/engine/core.py", 1215)
    assert line.message == "EngineCore waiting for work."
    assert line.process is None


@pytest.mark.task(1)
@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
def test_every_level_is_a_level(impl, level):
    [line] = impl.parse(f"{level} 01-02 03:04:05 [envs.py:7] careful")
    assert (line.level, line.location, line.message) == (level, "envs.py", "careful")


@pytest.mark.task(1)
def test_the_prefix_says_which_process_claims_the_line(impl):
    record = "INFO 11-20 23:55:43 [v1/engine/core.py:1266] Shutdown initiated (timeout=0)"
    [core, worker] = impl.parse(f"(EngineCore pid=41) {record}\n(Worker_TP1 pid=7) {record}\n")
    assert (core.process, core.message) == ("EngineCore", "Shutdown initiated (timeout=0)")
    assert (worker.process, worker.lineno) == ("Worker_TP1", 1266)


@pytest.mark.task(1)
@pytest.mark.parametrize(
    "foreign",
    [
        "W1120 23:55:13.666000 22578 torch/utils/cpp_extension.py:140] No CUDA runtime is found",
        "[W1120 23:55:38.397444481 utils.cpp:68] Warning: NUMA binding",
        "Loading safetensors checkpoint shards: 100% Completed | 1/1 [00:00<00:00, 76.49it/s]",
        "INFO:     Started server process [4711]",
        "INFO no time and no place",
        "[utils.cpp:68] a place, and nothing before it",
        "DEBUG 11-20 23:55:43 but no place",
        "",
    ],
)
def test_a_line_of_another_library_is_all_message(impl, foreign):
    [bare, prefixed] = impl.parse(f"{foreign}\n(Worker pid=3) {foreign}\n")
    for line in (bare, prefixed):
        assert line.message == foreign
        assert (line.level, line.time, line.location, line.lineno) == (None,) * 4
    assert (bare.process, prefixed.process) == (None, "Worker")


@pytest.mark.task(1)
def test_of_two_prefixes_the_last_one_counts(impl):
    [line] = impl.parse(
        "(EngineCore pid=8) (Worker pid=9) INFO 11-20 23:55:43 [envs.py:1] both wrote at once\n"
    )
    assert (line.process, line.message) == ("Worker", "both wrote at once")


@pytest.mark.task(1)
@examples(60)
@given(
    process=st.sampled_from([None, "EngineCore", "Worker_DP0_TP1", "ApiServer_0"]),
    location=st.sampled_from(["envs.py", "v1/engine/core.py", "model_executor/.../a_b/c1.py"]),
    lineno=st.integers(1, 99_999),
    message=st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs")))
    | st.sampled_from(["[a.py:3] quoted", "(Worker pid=1) quoted", "\t indented", "a: b] c"]),
)
def test_nothing_is_lost_from_a_record(impl, process, location, lineno, message):
    prefix = f"({process} pid=31) " if process else ""
    [line] = impl.parse(f"{prefix}INFO 10-31 23:59:59 [{location}:{lineno}] {message}\n")
    assert line == impl.LogLine(process, "INFO", "10-31 23:59:59", location, lineno, message)


@pytest.mark.task(1)
@pytest.mark.parametrize("scene", SCENES)
def test_a_real_log_is_read_line_by_line(impl, scene):
    whole = text_of(scene).split("\n")[:-1]
    lines = impl.parse(text_of(scene))
    assert len(lines) == len(whole)
    assert [line.message for line in lines] == [
        re.sub(r"^(\(\w+ pid=\d+\) ?)+", "", message) for message in messages_of(scene)
    ]
    for line, original in zip(lines, whole, strict=True):
        assert (line.location is None) == (re.search(r"\[\S+\.py:\d+\] ", original) is None)
        assert f"[{line.location}:{line.lineno}] " in original or line.level is None


# ---------------------------------------------------------------- task 2


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("vllm/envs.py", "envs.py"),
        ("vllm/config/vllm.py", "config/vllm.py"),
        ("vllm/distributed/device_communicators/shm_broadcast.py", None),
        ("vllm/model_executor/models/llama.py", "model_executor/models/llama.py"),
        ("vllm/model_executor/layers/fla/ops/utils.py", "model_executor/.../ops/utils.py"),
        ("vllm/distributed/kv_transfer/kv_connector/v1/base.py", "distributed/.../v1/base.py"),
        ("vllm/v1/request.py", "v1/request.py"),
        ("vllm/v1/engine/core.py", "v1/engine/core.py"),
        ("vllm/v1/core/sched/scheduler.py", "v1/core/sched/scheduler.py"),
        ("vllm/v1/worker/gpu/spec_decode/utils.py", "v1/worker/.../spec_decode/utils.py"),
        ("vllm/v1/worker/gpu/sample/ops/gumbel.py", "v1/worker/.../ops/gumbel.py"),
    ],
)
def test_paths_are_shortened_as_the_log_shortens_them(impl, path, written):
    assert impl.shrunk(path) == (written or path.removeprefix("vllm/"))


def at(impl, location, lineno):
    return impl.LogLine(None, "INFO", "11-20 23:55:43", location, lineno, "words")


MADE_UP = {
    "vllm/v1/engine/core.py": [
        ["EngineCore", 10, 90],
        ["EngineCore.step", 20, 40],
        ["EngineCore.step_with_batch_queue", 41, 60],
        ["helper", 95, 99],
    ],
    "vllm/model_executor/layers/rope/base.py": [["one", 1, 9]],
    "vllm/model_executor/models/rope/base.py": [["two", 1, 9]],
}


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("lineno", "symbol"),
    [
        (20, "#EngineCore.step"),
        (40, "#EngineCore.step"),
        (41, "#EngineCore.step_with_batch_queue"),
        (19, "#EngineCore"),
        (10, "#EngineCore"),
        (90, "#EngineCore"),
        (95, "#helper"),
        (9, ""),
        (91, ""),
        (100, ""),
    ],
)
def test_the_innermost_function_around_the_line_wrote_it(impl, lineno, symbol):
    line = at(impl, "v1/engine/core.py", lineno)
    assert impl.source_of(line, MADE_UP) == f"vllm/v1/engine/core.py{symbol}"


@pytest.mark.task(2)
def test_the_order_of_the_spans_does_not_matter(impl):
    backwards = {path: rows[::-1] for path, rows in MADE_UP.items()}
    line = at(impl, "v1/engine/core.py", 30)
    assert impl.source_of(line, backwards) == "vllm/v1/engine/core.py#EngineCore.step"


@pytest.mark.task(2)
def test_no_guess_where_the_log_does_not_say(impl):
    assert impl.source_of(at(impl, "v1/engine/utils.py", 5), MADE_UP) is None
    assert impl.source_of(at(impl, "model_executor/.../rope/base.py", 5), MADE_UP) is None
    foreign = impl.LogLine("Worker", None, None, None, None, "Loading")
    assert impl.source_of(foreign, MADE_UP) is None


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("location", "words", "source"),
    [
        ("v1/engine/core.py", "Iteration(0)", f"{ENGINE}EngineCore.log_iteration_details"),
        ("v1/engine/core.py", "EngineCore waiting", f"{ENGINE}EngineCoreProc._process_input_queue"),
        ("v1/worker/gpu_model_runner.py", "Running batch", f"{RUNNER}execute_model"),
        ("v1/core/kv_cache_utils.py", "GPU KV cache size", f"{KV}#_report_kv_cache_config"),
        ("v1/metrics/loggers.py", "num_gpu_blocks", INITIALIZED),
        ("platforms/__init__.py", "Confirmed CPU", f"{PLATFORMS}#cpu_platform_plugin"),
        ("triton_utils/importing.py", "Triton is installed", "vllm/triton_utils/importing.py"),
    ],
)
def test_real_lines_have_the_source_that_the_tree_says(impl, location, words, source):
    lines = [line for line in text_of("default").splitlines() if words in line]
    numbers = {int(number) for number in re.findall(rf"\[{location}:(\d+)\]", "\n".join(lines))}
    assert numbers
    for number in numbers:
        assert impl.source_of(at(impl, location, number), impl.known_sources()) == source


@pytest.mark.task(2)
def test_the_same_words_can_come_from_two_functions(impl):
    lines = [line for line in text_of("plain").splitlines() if "ubatch_slices: None" in line]
    numbers = [int(re.search(r"runner\.py:(\d+)", line)[1]) for line in lines]
    spans = impl.known_sources()
    sources = [
        impl.source_of(at(impl, "v1/worker/gpu_model_runner.py", number), spans)
        for number in numbers
    ]
    assert sources[0] == f"{RUNNER}_dummy_run"
    assert set(sources[1:]) == {f"{RUNNER}execute_model"}


# ---------------------------------------------------------------- task 3


@pytest.mark.task(3)
@pytest.mark.parametrize(("source", "stage"), DECIDED.items())
def test_a_function_of_the_loop_has_one_stage(impl, source, stage):
    assert impl.stage_of(source) == stage


@pytest.mark.task(3)
def test_what_carries_messages_is_transport(impl):
    for symbol in ("", "#MessageQueue.create_from_handle", "#SpinCondition.wait"):
        assert impl.stage_of(SHM + symbol) == "transport"


@pytest.mark.task(3)
@pytest.mark.parametrize(
    "source",
    [
        "vllm/config/vllm.py#VllmConfig.__post_init__",
        "vllm/config/compilation.py#PassConfig.log_enabled_passes",
        "vllm/platforms/cpu.py#CpuPlatform.check_and_update_config",
        "vllm/platforms/__init__.py",
    ],
)
def test_settings_are_start_up_even_when_they_come_late(impl, source):
    """The engine core reports ready first, so its front-end may speak in between."""
    assert impl.stage_of(source) == "start-up"
    assert impl.attribute([INITIALIZED, source, None]) == ["start-up", "start-up", "front-end"]


@pytest.mark.task(3)
@pytest.mark.parametrize(
    "source",
    [
        None,
        "vllm/v1/core/kv_cache_utils.py#_report_kv_cache_config",
        f"{ENGINE}EngineCore.__init__",
        f"{RUNNER}_cleanup_profiling_kv_cache",
        "vllm/triton_utils/importing.py",
    ],
)
def test_other_functions_leave_it_to_the_time(impl, source):
    assert impl.stage_of(source) is None


@pytest.mark.task(3)
def test_an_undecided_line_belongs_to_its_time(impl):
    idle = f"{ENGINE}EngineCoreProc._process_input_queue"
    down = f"{ENGINE}EngineCoreProc._handle_shutdown"
    other = "vllm/v1/sample/logits_processor/__init__.py#_load_logitsprocs_plugins"
    sources = [other, None, INITIALIZED, other, None, idle, other, down, other, None]
    assert impl.attribute(sources) == [
        *("start-up", "start-up", "start-up"),
        *("front-end", "front-end", "idle", "front-end"),
        *("shutdown", "shutdown", "shutdown"),
    ]


@pytest.mark.task(3)
def test_an_idle_core_does_not_mean_that_the_engine_is_up(impl):
    idle = f"{ENGINE}EngineCoreProc._process_input_queue"
    assert impl.attribute([idle, None, INITIALIZED, None]) == [
        *("idle", "start-up", "start-up", "front-end"),
    ]


@pytest.mark.task(3)
@pytest.mark.parametrize("stage", ["schedule", "execute", "sample", "update", "step"])
def test_without_statistics_the_first_step_says_that_the_engine_is_up(impl, stage):
    [source] = [source for source, known in DECIDED.items() if known == stage]
    assert impl.attribute([None, source, None]) == ["start-up", stage, "front-end"]


@pytest.mark.task(3)
@pytest.mark.parametrize("source", [f"{SHM}#SpinCondition.wait", f"{RUNNER}_dummy_run", None])
def test_nothing_else_says_that_the_engine_is_up(impl, source):
    assert impl.attribute([source, None])[-1] == "start-up"


@pytest.mark.task(3)
def test_a_function_keeps_its_stage_at_any_time(impl):
    down = f"{ENGINE}EngineCoreProc._handle_shutdown"
    stats = "vllm/v1/metrics/loggers.py#LoggingStatLogger.log"
    sources = [stats, f"{RUNNER}_dummy_run", down, f"{RUNNER}execute_model", SHM, INITIALIZED, None]
    assert impl.attribute(sources) == [
        *("front-end", "start-up", "shutdown", "execute", "transport", "start-up", "shutdown"),
    ]


@pytest.mark.task(3)
def test_an_empty_log_has_no_stages(impl):
    assert impl.attribute([]) == []


STARTS = {
    "Running batch with": "execute",
    "Iteration(": "step",
    "EngineCore waiting for work.": "idle",
    "EngineCore loop active.": "idle",
    "Binding to ": "transport",
    "Connecting to ": "transport",
    "vLLM message queue communication handle": "transport",
    "Poller received": "transport",
    "Canceling waiting reads": "transport",
    # The settings that the engine core makes once more, perhaps late.
    "Asynchronous scheduling is": "start-up",
    "Enforce eager set": "start-up",
    "TORCH_COMPILE_DISABLE is set": "start-up",
    "Inductor compilation was disabled": "start-up",
    "Setting platform-specific IR op": "start-up",
    "Final IR op priority": "start-up",
    "CPU backend prefers": "start-up",
    "Enabled custom fusions": "start-up",
}


def stages_by_words(scene):
    """The stage of each line of a captured log, from what it says."""
    stages, era, batch = [], "start-up", False
    for message in messages_of(scene):
        stage = next((STARTS[words] for words in STARTS if message.startswith(words)), None)
        if message.startswith("ubatch_slices") and batch:
            stage = "execute"
        batch = message.startswith("Running batch with")
        if message.startswith(("Shutdown initiated", "Triggering shutdown")):
            era = "shutdown"
        stages.append(stage or era)
        if "num_gpu_blocks is:" in message:
            era = "front-end"
    return stages


@pytest.mark.task(1, 2, 3)
@pytest.mark.parametrize("scene", SCENES)
def test_every_line_of_a_real_log_has_its_stage(impl, scene):
    known = impl.known_sources()
    sources = [impl.source_of(line, known) for line in impl.parse(text_of(scene))]
    found = impl.attribute(sources)
    wrong = [
        f"line {number}: {mine}, expected {stage}: {message[:60]}"
        for number, (mine, stage, message) in enumerate(
            zip(found, stages_by_words(scene), messages_of(scene), strict=True), start=1
        )
        if mine != stage
    ]
    assert not wrong, "\n".join(wrong[:5])


@pytest.mark.task(1, 2, 3)
def test_only_some_of_the_four_stages_write(impl, truth):
    four = {"schedule", "execute", "sample", "update"}
    known = impl.known_sources()
    sources = [impl.source_of(line, known) for line in impl.parse(text_of("plain"))]
    speaking = four & set(impl.attribute(sources))
    truth("stages-that-speak", len(speaking))
    assert speaking == {"execute"}


# ---------------------------------------------------------------- task 4


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("scene", "pool"),
    [("plain", (16_384, 16, 1000)), ("default", (16_384, 16, 1024)), ("scarce", (12, 16, 128))],
)
def test_the_two_lines_are_those_that_vllm_printed(impl, scene, pool):
    printed = [
        message
        for message in messages_of(scene)
        if message.startswith(("GPU KV cache size", "Maximum concurrency"))
    ]
    assert list(impl.advertised(*pool)) == printed


@pytest.mark.task(4)
def test_the_number_of_tokens_is_cut_and_the_concurrency_rounded(impl):
    size, concurrency = impl.advertised(1000, 16, 100)  # 7 blocks a request, 142.857... requests
    assert size == "GPU KV cache size: 14,285 tokens"
    assert concurrency == "Maximum concurrency for 100 tokens per request: 142.86x"


@pytest.mark.task(4)
def test_the_blocks_of_the_real_pools_come_back(impl):
    for scene, blocks in (("plain", 16_384), ("default", 16_384), ("scarce", 12)):
        assert impl.blocks_behind(messages_of(scene), 16) == blocks


@pytest.mark.task(4)
@examples(80)
@given(
    num_blocks=st.integers(2, 200_000),
    block_size=st.sampled_from([8, 16, 32, 128]),
    max_model_len=st.integers(16, 40_000),
    swapped=st.booleans(),
)
def test_blocks_survive_the_way_through_the_log(
    impl, num_blocks, block_size, max_model_len, swapped
):
    # The two messages as the pinned source makes them, from a concurrency in floating point.
    concurrency = num_blocks / -(-max_model_len // block_size)
    pair = [
        f"GPU KV cache size: {int(concurrency * max_model_len):,} tokens",
        f"Maximum concurrency for {max_model_len:,} tokens per request: {concurrency:.2f}x",
    ]
    noise = ["Using max model len 7", "Explicitly set (1.0/11.34) GiB for KV cache on node 0."]
    messages = [noise[0], *(pair[::-1] if swapped else pair), noise[1]]
    assert impl.blocks_behind(iter(messages), block_size) == num_blocks


@pytest.mark.task(4)
def test_one_block_is_nobodys(impl, truth):
    truth("full-length-at-once", impl.fit_at_once(16_384, 16, 1024))
    assert impl.fit_at_once(16_384, 16, 1024) == 255
    assert impl.fit_at_once(12, 16, 128) == 1
    assert impl.fit_at_once(16, 16, 128) == 1
    assert impl.fit_at_once(17, 16, 128) == 2


@pytest.mark.task(4)
@examples(40)
@given(
    num_blocks=st.integers(2, 60),
    block_size=st.sampled_from([4, 16]),
    num_tokens=st.integers(1, 200),
)
def test_as_many_fit_as_a_real_pool_serves(impl, num_blocks, block_size, num_tokens):
    from mini_vllm.core.kv_cache_manager import KVCacheManager
    from mini_vllm.core.request import Request
    from mini_vllm.sampling_params import SamplingParams

    manager = KVCacheManager(
        num_gpu_blocks=num_blocks, block_size=block_size, max_model_len=1024, enable_caching=False
    )
    served = 0
    while True:
        request = Request(str(served), [1] * num_tokens, SamplingParams())
        if manager.allocate_slots(request, num_tokens) is None:
            break
        served += 1
    assert impl.fit_at_once(num_blocks, block_size, num_tokens) == served


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
