r"""Who may come in, and what do the others hear?

A server that accepts everything has a queue without an end, and at twice its capacity every answer
comes too late to be of use. So there is a bound: `max_num_seqs` answers run, `max_queued_requests`
wait, and whoever comes then hears 429 at once, with the seconds after which to try again. The
arithmetic is in answers, not in HTTP requests: a request with ten prompts and `n=4` takes forty
places, and one that could never have enough of them is refused for good.

The same counter makes shutting down orderly. From the first SIGTERM no one is admitted (503), and
when the last place is free the server is *drained*. When it must not wait any longer, every answer
that is still open is *cut*, with an error that says so.

Upstream has no bound on its queue; its routers and proxies are expected to hold one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from mini_vllm.entrypoints.openai.errors import ApiError
from mini_vllm.errors import RequestError

#: Seconds after which a client that was turned away may try again.
RETRY_AFTER = 1


class Admission:
    """Places for answers: `capacity` of them, taken while an answer is being made."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.open = 0
        self.draining = False
        self._cut = asyncio.Event()
        self._drained = asyncio.Event()

    @contextmanager
    def admit(self, places: int) -> Iterator[None]:
        r"""Hold `places` for as long as the block runs.

        Raises {py:class}`~mini_vllm.entrypoints.openai.errors.ApiError`: 503 while draining, 429
        when there are not enough places now; and
        {py:class}`~mini_vllm.errors.RequestError` when there never will be.
        """
        if self.draining:
            raise shutting_down()
        if places > self.capacity:
            raise RequestError(
                f"prompts times n is {places}; this server holds {self.capacity} answers at a time",
                parameter="n",
                value=places,
            )
        if self.open + places > self.capacity:
            raise ApiError(
                429,
                f"{self.open} answers are running or waiting, and {self.capacity} is the limit",
                headers={"Retry-After": str(RETRY_AFTER)},
            )
        self.open += places
        try:
            yield
        finally:
            self.open -= places
            if self.draining and not self.open:
                self._drained.set()

    async def drain(self, timeout: float) -> bool:
        """Admit nobody any more; wait until all places are free. `False` when time runs out."""
        self.draining = True
        if not self.open:
            return True
        try:
            await asyncio.wait_for(self._drained.wait(), timeout)
        except TimeoutError:
            return False
        return True

    def cut_all(self) -> None:
        """End every open answer with an error, now."""
        self.draining = True
        self._cut.set()

    async def cut(self) -> None:
        """Return when open answers must end."""
        await self._cut.wait()


def shutting_down() -> ApiError:
    """What a client hears that comes during, or is cut off by, a shutdown."""
    return ApiError(503, "the server is shutting down", headers={"Retry-After": str(RETRY_AFTER)})
