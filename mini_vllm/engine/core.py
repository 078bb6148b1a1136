r"""What happens in one step?

Four things, and the method that does them fits on a screen:

1. **schedule**: the {py:class}`~mini_vllm.core.scheduler.Scheduler` decides who runs and how far,
   and writes it down as orders;
2. **execute**: the model computes keys, values and logits for exactly those tokens;
3. **sample**: one token is drawn for each request whose last token was among them;
4. **update**: the scheduler appends those tokens, asks who is done, and takes their memory back.

Then it begins again, with whoever is there. Requests come in before a pass of the model and leave
after one, never inside, and that is the whole of continuous batching as seen from here. How a
batch is put together is the first call's secret, what a model is the second's and third's.

```{listing} mini_vllm.engine.core.EngineCore.step
```

Set it beside {up}`vllm/v1/engine/core.py#EngineCore.step`. The four calls are there, in this
order. What is added upstream is a fifth between execute and sample, which fetches the mask of a
grammar while the device computes
({up}`vllm/v1/engine/core.py#EngineCore.step@"grammar_output = "`), and a future, so that the wait
can be put off. (With its defaults a GPU does not run this method at all but
{up}`vllm/v1/engine/core.py#EngineCore.step_with_batch_queue`, which has two steps in the air at
once. Same four calls; the fourth belongs to the step before.)

## Aborts arrive at bad moments

A client may hang up while the model is computing its token. The request's blocks must not be given
to anybody before the step is over, since the model is writing into them. So an abort from another
thread goes into a queue, and the queue is emptied between *sample* and *update*: late enough for
the blocks, early enough that the token which was drawn in vain is not appended. `update` then
finds an id it no longer knows, and passes it over.

## When a step fails

A bad request never gets this far: it is refused when it arrives, and costs nobody anything. An
exception out of the model is another matter. The counters moved in *schedule*; the keys and values
they speak of may not exist. There is no telling which requests are whole, so none is trusted: the
core is dead and says so, and every later step raises
{py:class}`~mini_vllm.errors.EngineDeadError`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mini_vllm.config import EngineConfig
from mini_vllm.core.engine_core_output import EngineCoreOutput
from mini_vllm.core.engine_core_request import EngineCoreRequest
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.core.scheduler import Scheduler
from mini_vllm.core.stats import SchedulerStats
from mini_vllm.engine.executor import Executor
from mini_vllm.errors import EngineDeadError


class EngineCore:
    r"""The inner loop: a scheduler, an executor, and the step that ties them together.

    Speaks token ids only. Building one sizes the cache and makes it. `aborts_queue` may be
    appended to from any thread; everything else belongs to one.
    Upstream: {up}`vllm/v1/engine/core.py#EngineCore`.
    """

    def __init__(self, config: EngineConfig, executor: Executor) -> None:
        self.config = config
        self.executor = executor
        num_gpu_blocks = executor.determine_num_gpu_blocks()
        executor.initialize_kv_cache(num_gpu_blocks)
        self.scheduler = Scheduler(config.scheduler_config, config.cache_config, num_gpu_blocks)
        self.aborts_queue: deque[str] = deque()
        self._died_of: Exception | None = None

    def add_request(self, request: EngineCoreRequest) -> None:
        r"""Take in a request; it runs from the next step in which there is room.

        Raises {py:class}`~mini_vllm.errors.RequestError`, and changes nothing, for an id in use or
        a request that could never be served.
        """
        self.scheduler.add_request(self.preprocess_add_request(request))

    def preprocess_add_request(self, request: EngineCoreRequest) -> Request:
        r"""Make the scheduler's request of a message, its blocks hashed; from any thread.

        Upstream: {up}`vllm/v1/engine/core.py#EngineCore.preprocess_add_request`.
        """
        block_hasher = self.scheduler.kv_cache_manager.block_hasher
        return Request.from_engine_core_request(request, block_hasher)

    def abort_requests(self, request_ids: Iterable[str]) -> list[str]:
        r"""End requests now; returns those that were still alive. Not while a step runs."""
        return self.scheduler.finish_requests(request_ids, RequestStatus.FINISHED_ABORTED)

    def get_stats(self) -> SchedulerStats:
        """The scheduler as it is between two steps; takes nothing from what loggers count."""
        return self.scheduler.make_stats(consume=False)

    def reset_prefix_cache(self) -> bool:
        """Forget every cached prefix; refused with `False` while a request holds a block."""
        return self.scheduler.reset_prefix_cache()

    def step(self) -> list[EngineCoreOutput]:
        r"""Schedule, execute, sample, update; return the news of every request that has any.

        Does nothing, and returns nothing, when no request is there. A step may well return nothing
        and have done a lot: the chunks of a long prompt are silent until the last.
        """
        if not self.scheduler.has_requests():
            return []
        with self._fatal():
            scheduler_output = self.scheduler.schedule()
            self.executor.execute_model(scheduler_output)
            model_runner_output = self.executor.sample_tokens()
            # Only now: the model was writing into the blocks of whoever went away meanwhile.
            self._process_aborts_queue()
            return self.scheduler.update_from_output(scheduler_output, model_runner_output)

    def _process_aborts_queue(self) -> None:
        request_ids = []
        while self.aborts_queue:
            request_ids.append(self.aborts_queue.popleft())
        if request_ids:
            self.abort_requests(request_ids)

    @contextmanager
    def _fatal(self) -> Iterator[None]:
        """Refuse to go on after an exception inside a step, and say what it was."""
        if self._died_of is not None:
            raise EngineDeadError(
                f"an earlier step failed with {self._died_of!r}; build a new engine"
            ) from self._died_of
        try:
            yield
        except Exception as error:
            self._died_of = error
            raise
