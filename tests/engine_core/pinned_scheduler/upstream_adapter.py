"""The scheduler of real vLLM, built as its own tests build it: no model and no tokenizer."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from pinned_scheduler.intended_differences import PINNED
from pinned_scheduler.workload import EOS
from vllm.config import CacheConfig, ModelConfig, ParallelConfig, SchedulerConfig, VllmConfig
from vllm.sampling_params import RepetitionDetectionParams, SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.structured_output import StructuredOutputManager

# Enough of a Llama's config for vLLM to build its own; no tensor of it exists.
HF_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "torch_dtype": "float32",
    "bos_token_id": 1,
    "eos_token_id": EOS,
}


class WatchedScheduler(Scheduler):
    """The scheduler, with a list of its victims in the order in which they were chosen."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.victims: list[str] = []

    def _preempt_request(self, request: Request, timestamp: float) -> None:
        super()._preempt_request(request, timestamp)
        self.victims.append(request.request_id)

    def take_victims(self) -> list[str]:
        victims, self.victims = self.victims, []
        return victims


class UpstreamAdapter:
    """Builds the config once, which takes a second, and changes its numbers for each workload."""

    side = PINNED
    scheduler_class = WatchedScheduler

    def __init__(self) -> None:
        init_none_hash(sha256)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.json").write_text(json.dumps(HF_CONFIG))
            self.config = VllmConfig(
                model_config=ModelConfig(model=folder, dtype="float32", skip_tokenizer_init=True),
                scheduler_config=SchedulerConfig(
                    max_num_seqs=16,
                    max_num_batched_tokens=8192,
                    max_model_len=4096,
                    is_encoder_decoder=False,
                    async_scheduling=False,
                ),
                cache_config=CacheConfig(block_size=16, enable_prefix_caching=True),
                parallel_config=ParallelConfig(),
            )
        self.structured_output_manager = StructuredOutputManager(self.config)

    def scheduler(self, config: dict[str, Any], log_stats: bool = True) -> Any:
        scheduler_config, cache_config = self.config.scheduler_config, self.config.cache_config
        scheduler_config.max_num_scheduled_tokens = None
        for name in (
            "max_num_batched_tokens",
            "max_num_seqs",
            "enable_chunked_prefill",
            "long_prefill_token_threshold",
            "scheduler_reserve_full_isl",
            "policy",
        ):
            setattr(scheduler_config, name, config[name])
        self.config.model_config.max_model_len = config["max_model_len"]
        for name in ("block_size", "enable_prefix_caching", "num_gpu_blocks"):
            setattr(cache_config, name, config[name])
        spec = FullAttentionSpec(
            block_size=config["block_size"], num_kv_heads=1, head_size=1, dtype=torch.float32
        )
        return self.scheduler_class(
            vllm_config=self.config,
            kv_cache_config=KVCacheConfig(
                num_blocks=config["num_gpu_blocks"],
                kv_cache_tensors=[],
                kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)],
            ),
            block_size=config["block_size"],
            log_stats=log_stats,
            structured_output_manager=self.structured_output_manager,
        )

    def request(self, event: dict[str, Any], config: dict[str, Any]) -> Request:
        repetition = event["repetition"] and RepetitionDetectionParams(*event["repetition"])
        params = SamplingParams(**event["params"], temperature=0.0, repetition_detection=repetition)
        params.update_from_generation_config({}, EOS)
        hasher = None
        if config["enable_prefix_caching"]:
            hasher = get_request_block_hasher(config["block_size"], sha256)
        return Request(
            request_id=event["id"],
            prompt_token_ids=list(event["prompt"]),
            sampling_params=params,
            pooling_params=None,
            arrival_time=event["arrival_time"],
            priority=event["priority"],
            block_hasher=hasher,
        )

    def abort(self, scheduler: Scheduler, req_id: str) -> None:
        scheduler.finish_requests([req_id], RequestStatus.FINISHED_ABORTED)

    def result(self, req_ids: list[str], sampled: list[list[int]]) -> ModelRunnerOutput:
        return ModelRunnerOutput(
            req_ids=req_ids,
            req_id_to_index={req_id: i for i, req_id in enumerate(req_ids)},
            sampled_token_ids=sampled,
            logprobs=None,
            prompt_logprobs_dict={},
            pooler_output=[],
        )

    def free_blocks(self, pool: Any) -> list[Any]:
        return pool.free_block_queue.get_all_free_blocks()

    def block_table(self, manager: Any, req_id: str) -> list[int]:
        return manager.get_block_ids(req_id)[0]

    def skipped(self, scheduler: Scheduler) -> list[str]:
        return [request.request_id for request in scheduler.skipped_waiting]

    def outputs(self, outputs: Any) -> dict[int, list[Any]]:
        return {
            index: [
                (
                    one.request_id,
                    list(one.new_token_ids),
                    None if one.finish_reason is None else str(one.finish_reason),
                    one.stop_reason,
                    None if one.prefill_stats is None else one.prefill_stats.num_cached_tokens,
                )
                for one in client.outputs
            ]
            for index, client in outputs.items()
        }
