r"""How often did steps find a graph, and how much of what a graph computed was nobody's?

Upstream answers with a table in the log and with no metric: sizes are too many for labels, and what
one wants to know is which of them to capture. Each step is one row's count
({py:class}`~mini_vllm.core.stats.CUDAGraphStat`); steps that were run alike are counted together,
the most frequent first.

```text
| Unpadded Tokens | Padded Tokens | Num Paddings | Runtime Mode | Count |
|-----------------|---------------|--------------|--------------|-------|
| 3               | 4             | 1            | FULL         | 118   |
| 40              | 40            | 0            | NONE         | 2     |
```

Read it for two things: rows with mode `NONE` are steps that were too large, or of a kind that has
no graphs; and paddings times count is what the choice of sizes costs.

Upstream: {up}`vllm/compilation/cuda_graph.py#CUDAGraphLogging`, switched on with
{up}`flag:--cudagraph-metrics`, which `mini_vllm serve` has as well. To an engine of your own hand
one like any other logger, in its `stat_loggers`.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from mini_vllm.core.stats import CUDAGraphStat

if TYPE_CHECKING:
    from mini_vllm.core.stats import SchedulerStats
    from mini_vllm.engine.iteration_stats import IterationStats

logger = logging.getLogger("mini_vllm.cudagraph")

COLUMN_HEADERS = ("Unpadded Tokens", "Padded Tokens", "Num Paddings", "Runtime Mode", "Count")


class CUDAGraphLogging:
    r"""Counts steps by how they were run, and logs the table every `interval` seconds.

    One of an engine's `stat_loggers`. A table is logged with the first step that arrives so long
    after the table's first, and begins anew: time in which nothing runs, as at start, makes no
    table of a single step. An engine without graphs never logs one.
    """

    def __init__(self, interval: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.interval, self._clock = interval, clock
        self.counts: Counter[CUDAGraphStat] = Counter()
        self._began = 0.0

    def record(
        self, scheduler_stats: SchedulerStats | None, iteration_stats: IterationStats | None
    ) -> None:
        """Take in one step."""
        if scheduler_stats is None or scheduler_stats.cudagraph_stats is None:
            return
        now = self._clock()
        if not self.counts:
            self._began = now
        self.counts[scheduler_stats.cudagraph_stats] += 1
        if now - self._began >= self.interval:
            self.log()

    def log(self) -> None:
        """Log the table, if there is anything in it, and begin anew."""
        if self.counts:
            logger.info("CUDAGraph Stats:\n%s", self.table())
        self.counts.clear()

    def table(self) -> str:
        """What was counted, the most frequent first."""
        rows: list[tuple[str, ...]] = [COLUMN_HEADERS]
        for stat, count in self.counts.most_common():
            cells = stat.num_unpadded_tokens, stat.num_padded_tokens, stat.num_paddings
            rows.append((*map(str, cells), stat.runtime_mode, str(count)))
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join(lines)
