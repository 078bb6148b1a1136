r"""What if the reader is slower than the engine?

Then outputs pile up somewhere, and the question is in which form. A queue of them grows for as long
as the reader sleeps, and a thousand sleeping readers are a server without memory. A *collector*
holds at most one output. The engine puts; if the last one has not been fetched, the two are merged:
deltas are joined, and of two outputs that each hold everything the later one stands. So a slow
reader gets fewer and bigger pieces, misses nothing, and costs no more memory than its answer.

There is one collector per request of a caller, shared by the `n` children of that request. All of
it happens on one event loop; nothing here is locked.
"""

from __future__ import annotations

import asyncio

from mini_vllm.outputs import RequestOutput
from mini_vllm.sampling_params import RequestOutputKind


class RequestOutputCollector:
    r"""The hand-over of one request's outputs, from the engine's reader to the caller's task.

    An exception that is put replaces whatever waits, and is raised at the next {py:meth}`get`.
    Upstream: {up}`vllm/v1/engine/output_processor.py#RequestOutputCollector`.
    """

    def __init__(self, request_id: str, output_kind: RequestOutputKind) -> None:
        self.request_id = request_id
        self.aggregate = output_kind == RequestOutputKind.DELTA
        self.output: RequestOutput | Exception | None = None
        self._ready = asyncio.Event()

    def put(self, output: RequestOutput | Exception) -> None:
        """Leave an output for the caller; never waits."""
        if isinstance(self.output, Exception):
            return
        if self.output is None or isinstance(output, Exception):
            self.output = output
            self._ready.set()
        else:
            self.output.add(output, aggregate=self.aggregate)

    def get_nowait(self) -> RequestOutput | None:
        """Take what is there, `None` if nothing is; raises what was put as an exception."""
        output = self.output
        if isinstance(output, Exception):
            raise output
        self.output = None
        self._ready.clear()
        return output

    async def get(self) -> RequestOutput:
        """Take what is there, and wait for it if nothing is."""
        while (output := self.get_nowait()) is None:
            await self._ready.wait()
        return output
