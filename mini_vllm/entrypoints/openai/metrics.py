r"""What does `/metrics` say while nothing happens?

The engine tells its statistics with the news of a step, and an engine without requests takes no
steps. Its gauges would go on saying what was true in the last one: a block in use, a request that
runs. So whoever scrapes asks first: the scheduler's state is fetched, set, and printed. The
counters are left as they are; they were counted when it happened.

A scrape must not wait for a step that takes seconds, nor fail when the engine is dead; then the
last values stand. The metrics themselves are at {py:mod}`mini_vllm.observe.metrics`.

Upstream: {up}`vllm/entrypoints/serve/instrumentator/metrics.py`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from mini_vllm.entrypoints.openai.serving import Serving
from mini_vllm.errors import EngineDeadError
from mini_vllm.observe.metrics import PrometheusStatLogger

#: Seconds that a scrape waits for the engine.
PATIENCE = 1.0


class Metrics:
    """A registry, and the logger that fills it from the engine's steps."""

    def __init__(self, serving: Serving) -> None:
        self.engine = serving.engine
        self.registry = CollectorRegistry()
        self.logger = PrometheusStatLogger(
            serving.model_names[0], self.registry, max_model_len=serving.max_model_len
        )
        self.engine.stat_loggers.append(self.logger)

    async def text(self, accept: str) -> tuple[bytes, str]:
        """The registry as of now, in the format that the `Accept` header asks for; and its type."""
        try:
            async with asyncio.timeout(PATIENCE):
                stats = await self.engine.get_stats()
        except (TimeoutError, EngineDeadError):
            pass
        else:
            # Gauges only: what is counted was counted in its step.
            now = replace(stats, prefix_cache_queries=0, prefix_cache_hits=0)
            self.logger.record(now, None)
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type
