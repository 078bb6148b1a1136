"""A scheduler that tests every invariant after each call, and keeps everybody's deadline."""

from __future__ import annotations

from typing import Any

from pinned_scheduler.our_adapter import OurAdapter, WatchedScheduler

from mini_vllm.config import CacheConfig, SchedulerConfig
from mini_vllm.core.engine_core_output import EngineCoreOutput
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.core.scheduler_invariants import steps_to_the_end
from mini_vllm.core.scheduler_output import SchedulerOutput
from mini_vllm.errors import InvariantError
from mini_vllm.invariants import check


class CheckedScheduler(WatchedScheduler):
    """All invariants of pool, tables and requests; what a step owes; and, under FCFS, the bound."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.num_steps = 0
        self.deadlines: dict[str, int] = {}

    def add_request(self, request: Request) -> None:
        super().add_request(request)
        if self.policy == "fcfs":
            bound = steps_to_the_end(self)[request.request_id]
            self.deadlines[request.request_id] = self.num_steps + bound
        self.check()

    def schedule(self) -> SchedulerOutput:
        before = {
            req_id: (request.num_computed_tokens, request.status)
            for req_id, request in self.requests.items()
        }
        output = super().schedule()
        self.check()
        self._check_step(output, before)
        return output

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> list[EngineCoreOutput]:
        before = {req_id: request.num_tokens for req_id, request in self.requests.items()}
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        self.num_steps += 1
        self.check()
        for one in outputs:
            request = self.requests.get(one.request_id)
            if request and request.num_tokens != before[one.request_id] + len(one.new_token_ids):
                raise InvariantError(f"token-conservation: {request} drew {one.new_token_ids}")
        for req_id in self.requests:
            if self.num_steps >= self.deadlines.get(req_id, self.num_steps + 1):
                raise InvariantError(f"no-starvation: {req_id!r} is alive at its deadline")
        return outputs

    def finish_requests(self, request_ids: Any, finished_status: RequestStatus) -> list[str]:
        ids = super().finish_requests(request_ids, finished_status)
        self.check()
        return ids

    def check(self) -> None:
        check(self.kv_cache_manager.block_pool, self.kv_cache_manager, self)

    def _check_step(
        self, output: SchedulerOutput, before: dict[str, tuple[int, RequestStatus]]
    ) -> None:
        """What `mini_vllm.observe.audit` says of steps, for a scheduler without an engine."""
        scheduled = output.num_scheduled_tokens
        if not sum(scheduled.values()) == output.total_num_scheduled_tokens <= (
            self.max_num_scheduled_tokens
        ) or any(number < 1 for number in scheduled.values()):
            raise InvariantError(f"budget-kept: {scheduled}")
        admitted = {new.req_id for new in output.scheduled_new_reqs}
        admitted |= output.scheduled_cached_reqs.resumed_req_ids
        if output.preempted_req_ids and admitted:
            raise InvariantError(f"no-admission-after-preemption: {admitted}")
        hits = {new.req_id: new.num_computed_tokens for new in output.scheduled_new_reqs}
        hits |= zip(
            output.scheduled_cached_reqs.req_ids,
            output.scheduled_cached_reqs.num_computed_tokens,
            strict=True,
        )
        for req_id, request in self.requests.items():
            start, status = before[req_id]
            if status != RequestStatus.RUNNING or req_id in output.preempted_req_ids:
                start = hits.get(req_id, 0)
            if request.num_computed_tokens != start + scheduled.get(req_id, 0):
                raise InvariantError(f"token-conservation: {request} began at {start}")


class CheckedAdapter(OurAdapter):
    """For the workloads of the comparison, which then need no other side."""

    def scheduler(self, config: dict[str, Any]) -> CheckedScheduler:
        rest = dict(config)
        num_gpu_blocks = rest.pop("num_gpu_blocks")
        cache_config = CacheConfig(
            block_size=rest.pop("block_size"),
            enable_prefix_caching=rest.pop("enable_prefix_caching"),
        )
        return CheckedScheduler(SchedulerConfig(**rest), cache_config, num_gpu_blocks)
