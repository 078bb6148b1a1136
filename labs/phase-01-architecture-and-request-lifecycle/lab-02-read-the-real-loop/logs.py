r"""The three captured logs, and the functions that wrote into them."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

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
