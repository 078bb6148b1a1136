r"""Several engines, one after the other, again and again.

On a shared machine a minute is not like the next. If all runs of one engine came first and then all
of the other, the neighbour's backup would be a finding. So the runs are interleaved: each round has
one run of each engine, each in a fresh process, and the figure of an engine is the median over the
rounds. What cannot be run is a row that says why; it is never left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mini_vllm.bench.child import ChildError, call_in_child
from mini_vllm.bench.rivals import vllm_variables

#: The engines, in the order of a table.
ENGINES = ("mini_vllm", "vllm", "vllm-compiled", "transformers")
NO_VLLM = "not run: no environment with vLLM here (`nox -s vllm_cpu` makes one)"


@dataclass(frozen=True)
class Setting:
    r"""Where and how everything is run: the checkpoint of the book, rounds, threads, device.

    `scratch` keeps what is written once for all runs: random checkpoints and what vLLM compiled.
    `engines` are those that take part. `tell` hears of the progress.
    """

    model: str
    scratch: Path
    repeats: int = 3
    threads: int = 1
    device: str = "cpu"
    vllm_python: str | None = None
    engines: Sequence[str] = ENGINES
    timeout_s: float = 900
    tell: Callable[[str], None] = print
    call: Callable[..., dict[str, Any]] = call_in_child

    def run(self, engine: str, task: str, arguments: Mapping[str, Any], label: str) -> Any:
        """One run of one engine in a fresh process of the right interpreter."""
        options: dict[str, Any] = {}
        if engine.startswith("vllm"):
            options["python"] = self.vllm_python
            options["variables"] = vllm_variables(
                self.scratch, compiled=engine == "vllm-compiled", device=self.device
            )
        return self.call(
            task,
            arguments,
            label=label,
            threads=self.threads,
            timeout_s=self.timeout_s,
            **options,
        )


@dataclass
class Standing:
    """One engine's results so far, or the reason why it has none."""

    engine: str
    results: list[dict[str, Any]] = field(default_factory=list)
    status: str = "ran"

    @property
    def ran(self) -> bool:
        """Whether there is at least one result, and nothing went wrong."""
        return self.status == "ran" and bool(self.results)


def contest(
    setting: Setting,
    name: str,
    task: str,
    arguments: Callable[[str], Mapping[str, Any]],
    glance: Callable[[dict[str, Any]], str],
) -> dict[str, Standing]:
    r"""`setting.repeats` rounds of all engines; `arguments` makes an engine's, `glance` one line.

    An engine whose run fails is out for the rest of the contest, with the reason in its standing.
    """
    standings = {engine: Standing(engine) for engine in setting.engines}
    for standing in standings.values():
        if standing.engine.startswith("vllm") and setting.vllm_python is None:
            standing.status = NO_VLLM
            setting.tell(f"{name}: {standing.engine} {NO_VLLM}")
    for round_number in range(1, setting.repeats + 1):
        for standing in standings.values():
            if standing.status != "ran":
                continue
            label = f"{name}: {standing.engine}, run {round_number} of {setting.repeats}"
            try:
                result = setting.run(standing.engine, task, arguments(standing.engine), label)
            except ChildError as error:
                standing.status = f"failed: {error}"
                setting.tell(f"{label}: {standing.status}")
                continue
            standing.results.append(result)
            setting.tell(f"{label}: {glance(result)}")
    return standings
