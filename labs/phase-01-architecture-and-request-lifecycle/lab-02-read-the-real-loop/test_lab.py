r"""Lab 02: records, their sources and the pool: made-up lines first, then three real logs.

`test_stages.py` has task 3, and `test_steps.py` tasks 5 and 6.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.neighbour import beside
from labkit.properties import examples

logs = beside(__file__, "logs")
SCENES, text_of, messages_of = logs.SCENES, logs.text_of, logs.messages_of
ENGINE, RUNNER, INITIALIZED = logs.ENGINE, logs.RUNNER, logs.INITIALIZED
KV, PLATFORMS = logs.KV, logs.PLATFORMS


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
