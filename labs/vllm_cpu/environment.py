r"""Under which variables does vLLM run here?

Each is set for a reason that can be stated, so the list is a table and not a shell script. The
caches go into a folder of the run, which is empty at its start: a log that said "cached" on the
second run and "not cached" on the first would be a log of the cache.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

# One GiB of keys and values. CPU builds read this as a whole number of GiB and nothing smaller.
KV_CACHE_GIB = 1

WHY = {
    "HF_HUB_OFFLINE": ("1", "nothing is downloaded"),
    "TRANSFORMERS_OFFLINE": ("1", "nothing is downloaded"),
    "VLLM_NO_USAGE_STATS": ("1", "nothing is reported to anybody"),
    "DO_NOT_TRACK": ("1", "nothing is reported to anybody"),
    "VLLM_CPU_KVCACHE_SPACE": (str(KV_CACHE_GIB), "the KV pool in GiB"),
    "TORCH_COMPILE_DISABLE": ("1", "a start of seconds instead of a minute; eager results"),
    "OMP_NUM_THREADS": ("1", "one compute thread: two threads on a shared machine are slower"),
    "VLLM_LOGGING_COLOR": ("0", "no escape codes in the log"),
}


def environment(
    cache: Path, outside: Mapping[str, str] = os.environ, **more: str
) -> dict[str, str]:
    r"""The variables for a process that runs vLLM.

    `cache` receives everything that vLLM and torch would write into a home folder. `more` is what
    a scene adds, and wins. Of the variables `outside`, those of vLLM are not passed on.
    """
    kept = {name: value for name, value in outside.items() if not name.startswith("VLLM_")}
    caches = {
        "VLLM_CACHE_ROOT": str(cache / "vllm"),
        "VLLM_CONFIG_ROOT": str(cache / "config"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
    }
    return {**kept, **{name: value for name, (value, _) in WHY.items()}, **caches, **more}
