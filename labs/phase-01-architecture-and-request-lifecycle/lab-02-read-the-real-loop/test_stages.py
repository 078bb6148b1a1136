r"""Lab 02: the stage of the loop that a line belongs to: made-up functions, then three real logs.

Where a test judges a whole log, its own answer comes from the *words* of the lines, while yours has
to come from the function that wrote them.
"""

from __future__ import annotations

import pytest

from labkit.neighbour import beside

logs = beside(__file__, "logs")
SCENES, text_of, messages_of = logs.SCENES, logs.text_of, logs.messages_of
ENGINE, RUNNER, INITIALIZED, SHM = logs.ENGINE, logs.RUNNER, logs.INITIALIZED, logs.SHM
DECIDED = logs.DECIDED


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


# ---------------------------------------------------------------- task 5
