r"""The scheduler of real vLLM, out of the pinned tree: how `decisions.json` was made.

    python labs/phase-03-…/lab-06-…/on_real_vllm.py 20              # records seeds 0 to 19
    python labs/phase-03-…/lab-06-…/on_real_vllm.py 20 1000         # prints seeds 1000 to 1019

Needs `upstream/` and the packages with which `nox -s differential` imports it; torch is among them
and does nothing here but name a data type. No model is built: a scheduler decides without one. The
only thing added to it is a list of its victims.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from upstream_anchors import importing
from upstream_anchors.pin import the_pin

HERE = Path(__file__).resolve().parent
# Enough of a model's config for vLLM to build its own; no tensor of it exists.
MODEL = {
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
}


class PinnedSide:
    r"""The pinned scheduler, as the replay wants it."""

    def __init__(self) -> None:
        importing.use_the_pinned_tree()
        import torch
        from vllm import config
        from vllm.utils.hashing import sha256
        from vllm.v1.core.kv_cache_utils import init_none_hash
        from vllm.v1.core.sched.scheduler import Scheduler
        from vllm.v1.structured_output import StructuredOutputManager

        class Watched(Scheduler):
            def _preempt_request(self, request: Any, timestamp: float) -> None:
                super()._preempt_request(request, timestamp)
                self.victims.append(request.request_id)

        init_none_hash(sha256)
        self.torch, self.sha256, self.kind = torch, sha256, Watched
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.json").write_text(json.dumps(MODEL))
            self.config = config.VllmConfig(
                model_config=config.ModelConfig(
                    model=folder, dtype="float32", skip_tokenizer_init=True
                ),
                scheduler_config=config.SchedulerConfig(
                    max_num_seqs=16,
                    max_num_batched_tokens=8192,
                    max_model_len=4096,
                    is_encoder_decoder=False,
                    async_scheduling=False,
                ),
                cache_config=config.CacheConfig(block_size=16, enable_prefix_caching=True),
                parallel_config=config.ParallelConfig(),
            )
        self.structured = StructuredOutputManager(self.config)

    def begin(self, sizes: dict[str, Any]) -> None:
        from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec

        self.sizes = sizes
        of_the_cache = ("block_size", "enable_prefix_caching", "num_gpu_blocks")
        self.config.scheduler_config.max_num_scheduled_tokens = None
        self.config.model_config.max_model_len = sizes["max_model_len"]
        for name, value in sizes.items():
            if name in of_the_cache:
                setattr(self.config.cache_config, name, value)
            elif name != "max_model_len":
                setattr(self.config.scheduler_config, name, value)
        spec = FullAttentionSpec(
            block_size=sizes["block_size"], num_kv_heads=1, head_size=1, dtype=self.torch.float32
        )
        self.scheduler = self.kind(
            vllm_config=self.config,
            kv_cache_config=KVCacheConfig(
                num_blocks=sizes["num_gpu_blocks"],
                kv_cache_tensors=[],
                kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)],
            ),
            block_size=sizes["block_size"],
            log_stats=True,
            structured_output_manager=self.structured,
        )
        self.scheduler.victims = []

    def add(self, arrival: dict[str, Any]) -> None:
        from vllm.sampling_params import SamplingParams
        from vllm.v1.core.kv_cache_utils import get_request_block_hasher
        from vllm.v1.request import Request

        params = SamplingParams(max_tokens=arrival["max_tokens"], temperature=0.0)
        params.update_from_generation_config({}, workload.EOS)
        hasher = get_request_block_hasher(self.sizes["block_size"], self.sha256)
        self.scheduler.add_request(
            Request(
                request_id=arrival["add"],
                prompt_token_ids=workload.prompt_of(arrival),
                sampling_params=params,
                pooling_params=None,
                arrival_time=float(workload.number_of(arrival["add"])),
                priority=arrival["priority"],
                block_hasher=hasher if self.sizes["enable_prefix_caching"] else None,
            )
        )

    def abort(self, request_id: str) -> None:
        from vllm.v1.request import RequestStatus

        self.scheduler.finish_requests([request_id], RequestStatus.FINISHED_ABORTED)

    def busy(self) -> bool:
        return self.scheduler.has_requests()

    def token(self, arrival: dict[str, Any], place: int) -> int:
        return workload.token_of(arrival, place)

    def schedule(self) -> tuple[Any, dict[str, Any]]:
        self.scheduler.victims = []
        output = self.scheduler.schedule()
        new, cached = output.scheduled_new_reqs, output.scheduled_cached_reqs
        starts = {one.req_id: one.num_computed_tokens for one in new}
        starts |= dict(zip(cached.req_ids, cached.num_computed_tokens, strict=True))
        blocks = {one.req_id: one.block_ids[0] for one in new}
        for request_id, added in zip(cached.req_ids, cached.new_block_ids, strict=True):
            blocks[request_id] = list(added[0]) if added else []
        return output, {
            "granted": dict(output.num_scheduled_tokens),
            "starts": starts,
            "blocks": blocks,
            "new": [one.req_id for one in new],
            "resumed": [name for name in cached.req_ids if name in cached.resumed_req_ids],
            "preempted": list(self.scheduler.victims),
            "finished": sorted(output.finished_req_ids),
        }

    def update(self, output: Any, drawn: dict[str, int]) -> list[list[Any]]:
        from vllm.v1.outputs import ModelRunnerOutput

        names = list(output.num_scheduled_tokens)
        result = ModelRunnerOutput(
            req_ids=names,
            req_id_to_index={name: index for index, name in enumerate(names)},
            sampled_token_ids=[[drawn[name]] if name in drawn else [] for name in names],
            logprobs=None,
            prompt_logprobs_dict={},
            pooler_output=[],
        )
        return [
            [
                one.request_id,
                *one.new_token_ids,
                None if one.finish_reason is None else str(one.finish_reason),
            ]
            for client in self.scheduler.update_from_output(output, result).values()
            for one in client.outputs
        ]


def main(count: int, first: int | None) -> None:
    side = PinnedSide()
    lines = []
    for seed in range(first or 0, (first or 0) + count):
        made = workload.workload(seed)
        made["decisions"] = list(replay.decisions(made, side))
        lines.append(json.dumps(made, separators=(",", ":")))
    if first is not None:
        print("\n".join(lines))
        return
    about = {
        "what": "the decisions of vllm.v1.core.sched.scheduler.Scheduler, step by step",
        "vllm": the_pin().version,
        "command": f"python {Path(__file__).relative_to(HERE.parents[2])} {count}",
    }
    text = ",\n".join(lines)
    (HERE / "decisions.json").write_text(
        f'{{"about": {json.dumps(about)},\n"workloads": [\n{text}\n]}}\n', encoding="utf-8"
    )


if __name__ == "__main__":
    if (problem := importing.why_not()) is not None:
        sys.exit(problem)
    sys.path.insert(0, str(HERE))
    import replay
    import workload

    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
