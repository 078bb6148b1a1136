"""This engine's scheduler, under the names that the replay uses."""

from __future__ import annotations

from typing import Any

from pinned_scheduler.intended_differences import OURS
from pinned_scheduler.workload import EOS

from mini_vllm.config import CacheConfig, SchedulerConfig
from mini_vllm.core.block_pool import BlockPool
from mini_vllm.core.engine_core_output import EngineCoreOutput
from mini_vllm.core.free_block_queue import KVCacheBlock
from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.core.scheduler import Scheduler
from mini_vllm.core.step_plan import StepPlan
from mini_vllm.sampling_params import RepetitionDetectionParams, SamplingParams


class WatchedScheduler(Scheduler):
    """The scheduler, with a list of its victims in the order in which they were chosen."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # The pinned side leaves these names. Ours does not (`test_names_taken_back.py`): the one
        # line is taken out here, so that all the rest can be compared.
        self.kv_cache_manager.forget_uncomputed = lambda request: None  # type: ignore[method-assign]
        self.victims: list[str] = []
        self.num_refunds = 0

    def _preempt_one(self, plan: StepPlan) -> tuple[Request, bool]:
        victim, was_scheduled = super()._preempt_one(plan)
        self.victims.append(victim.request_id)
        self.num_refunds += was_scheduled
        return victim, was_scheduled

    def take_victims(self) -> list[str]:
        victims, self.victims = self.victims, []
        return victims


class OurAdapter:
    """The same fields, under nearly the same names."""

    side = OURS

    def scheduler(self, config: dict[str, Any]) -> WatchedScheduler:
        rest = dict(config)
        num_gpu_blocks = rest.pop("num_gpu_blocks")
        cache_config = CacheConfig(
            block_size=rest.pop("block_size"),
            enable_prefix_caching=rest.pop("enable_prefix_caching"),
        )
        self.last = WatchedScheduler(SchedulerConfig(**rest), cache_config, num_gpu_blocks)
        return self.last

    def request(self, event: dict[str, Any], config: dict[str, Any]) -> Request:
        repetition = event["repetition"] and RepetitionDetectionParams(*event["repetition"])
        params = SamplingParams(**event["params"], repetition_detection=repetition)
        return Request(
            event["id"],
            list(event["prompt"]),
            params,
            event["arrival_time"],
            event["priority"],
            eos_token_id=EOS,
        )

    def abort(self, scheduler: Scheduler, req_id: str) -> None:
        scheduler.finish_requests(req_id, RequestStatus.FINISHED_ABORTED)

    def result(self, req_ids: list[str], sampled: list[list[int]]) -> ModelRunnerOutput:
        return ModelRunnerOutput(req_ids, {r: i for i, r in enumerate(req_ids)}, sampled)

    def free_blocks(self, pool: BlockPool) -> list[KVCacheBlock]:
        return list(pool.free_block_queue)

    def block_table(self, manager: KVCacheManager, req_id: str) -> list[int]:
        return manager.get_block_ids(req_id)

    def skipped(self, scheduler: Scheduler) -> list[str]:
        """There is no second queue here: the other side's must stay empty."""
        return []

    def outputs(self, outputs: list[EngineCoreOutput]) -> list[Any]:
        return [
            (
                one.request_id,
                one.new_token_ids,
                None if one.finish_reason is None else str(one.finish_reason),
                one.stop_reason,
                one.num_cached_tokens,
            )
            for one in outputs
        ]
