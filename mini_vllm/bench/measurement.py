r"""What is kept of a run?

Everything that a later question could ask for, as plain values: the record goes to a child process
and back as JSON, and into a file that somebody else can read.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class RunSpec:
    r"""One thing to measure: an engine on a checkpoint, in a type, with so many threads.

    `engine` is `"mini_vllm"`, `"transformers"`, `"vllm"` (eager) or `"vllm-compiled"`.
    `batch_size` is the static batch of transformers and the most running requests of the others.
    `options` are further keywords of `LLM`. With `text` this engine also makes the answers' text,
    as for a caller of `LLM.generate`; without it, tokens are all.
    """

    engine: str
    model: str
    dtype: str
    batch_size: int
    workload: dict[str, Any]
    threads: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    text: bool = False

    @property
    def label(self) -> str:
        """The row's name in a table."""
        return f"{self.engine} (batch {self.batch_size})"

    def as_dict(self) -> dict[str, Any]:
        """The spec as JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class Run:
    """One timed run: seconds on the wall and of CPU, and the tokens that were made."""

    wall_s: float
    cpu_s: float
    token_ids: list[list[int]]
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        """How many tokens were made."""
        return sum(map(len, self.token_ids))


@dataclass
class Row:
    """A spec and its runs."""

    spec: RunSpec
    runs: list[Run]
    agreement: str = ""

    @property
    def tokens_per_s(self) -> float:
        """Output tokens per second of wall-clock time, the median run."""
        return median(run.num_tokens / run.wall_s for run in self.runs)

    @property
    def tokens_per_cpu_s(self) -> float:
        """Output tokens per second of CPU time, the median run."""
        return median(run.num_tokens / run.cpu_s for run in self.runs)

    def as_dict(self) -> dict[str, Any]:
        """The row without its tokens, which would drown a record."""
        return {
            "spec": self.spec.as_dict(),
            "tokens_per_s": round(self.tokens_per_s, 1),
            "tokens_per_cpu_s": round(self.tokens_per_cpu_s, 1),
            "agreement": self.agreement,
            "runs": [
                {"wall_s": round(run.wall_s, 4), "cpu_s": round(run.cpu_s, 4), **run.detail}
                for run in self.runs
            ],
        }
