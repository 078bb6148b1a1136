r"""The near client: a core in this very process.

It steps the core when it is asked for outputs, and not before, so nothing happens while nobody
looks; that is what a script wants, and a test. Its outputs are the same records that come out of
the {py:mod}`far one <mini_vllm.engine.core_client>`, which is how the far one is tested.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from mini_vllm.core.engine_core_output import EngineCoreOutputs
from mini_vllm.core.engine_core_request import EngineCoreRequest
from mini_vllm.engine.core import EngineCore


class InprocClient:
    r"""Speaks to a core by calling it.

    Upstream: {up}`vllm/v1/engine/core_client.py#InprocClient`.
    """

    def __init__(self, engine_core: EngineCore) -> None:
        self.engine_core = engine_core

    def add_request(self, request: EngineCoreRequest) -> None:
        """Hand a request over; a refusal is raised here and now, as `RequestError`."""
        self.engine_core.add_request(request)

    def abort_requests(self, request_ids: Iterable[str]) -> None:
        """End requests now; not while a step runs."""
        self.engine_core.abort_requests(request_ids)

    def get_output(self) -> EngineCoreOutputs:
        """Take one step, and return what there is to tell."""
        outputs = self.engine_core.step()
        stats = self.engine_core.scheduler.make_stats()
        return EngineCoreOutputs(outputs, stats, time.monotonic())
