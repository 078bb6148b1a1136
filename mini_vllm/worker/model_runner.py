r"""From orders to tensors: what happens between the scheduler's decision and a new token?

The scheduler says "request A, one token; request B, {given}`63 tokens` from position 128 on". The
model wants a flat row of token ids, a row of positions, and
{py:class}`~mini_vllm.attention.metadata.AttentionMetadata`. The model runner stands between, and
its work is index arithmetic. Three requests with 2, 5 and {given}`3 tokens`:

```text
num_scheduled          [2, 5, 3]
query_start_loc        [0, 2, 7, 10]                     running sum
rows                   [0 0 1 1 1 1 1 2 2 2]             repeat each row by its count
offsets                [0 1 0 1 2 3 4 0 1 2]             place within the request's share
positions              num_computed_tokens[rows] + offsets
token ids              token_ids[rows, positions]
slots                  block_table[rows, positions // B] * B + positions % B
```

Every line is one NumPy operation over all tokens of the step, and there is no Python loop over
tokens. That is not a matter of style: with 64 requests decoding, the model's own work is a few
milliseconds, and a loop would be seen.

## Two halves

{py:meth}`ModelRunner.execute_model` ends with scores; {py:meth}`ModelRunner.sample_tokens` begins
with them. Between the two, upstream's engine core fetches the grammar mask that was computed while
the device was busy ({up}`vllm/v1/worker/gpu_model_runner.py#GPUModelRunner.execute_model`,
{up}`vllm/v1/worker/gpu_model_runner.py#GPUModelRunner.sample_tokens`). Both are made of organs
that can be used by hand: {py:meth}`ModelRunner.forward` from orders to scores,
{py:attr}`ModelRunner.sampler` from scores to tokens, {py:meth}`ModelRunner.record_sampled_tokens`
to remember them.

## Who may be drawn for

Every request that ran has a row of scores, that of its last scheduled token. For a request whose
last scheduled token is the last it *has*, the row says what comes next. For a prompt that was cut,
it says what the model would have put in the place of a token that is already there; draw from it,
and the answer begins with a word of the question. So

$$\mathrm{needs\_sample} \iff \mathrm{num\_computed\_tokens} + \mathrm{num\_scheduled} =
\mathrm{num\_tokens}.$$

Nothing else distinguishes a prefill from a decode here. Upstream draws from every row and throws
the surplus away
({up}`vllm/v1/worker/gpu_model_runner.py#GPUModelRunner._prepare_inputs@"self.discard_request_mask.np"`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mini_vllm.attention.backend import AttentionSelectorConfig
from mini_vllm.attention.metadata import AttentionMetadata
from mini_vllm.attention.selector import select_attention_backend
from mini_vllm.config import EngineConfig
from mini_vllm.config.compilation import CompilationMode
from mini_vllm.core.model_runner_output import ForwardOutput, ModelRunnerOutput
from mini_vllm.core.scheduler_output import SchedulerOutput
from mini_vllm.errors import MiniVllmError
from mini_vllm.kernels.selector import KernelChoice, select_kernels
from mini_vllm.loader import load_model
from mini_vllm.models.registry import decoder_config
from mini_vllm.platforms import detect_platform
from mini_vllm.sample.kernels import select_sampling_kernels
from mini_vllm.sample.metadata import SamplingMetadata
from mini_vllm.sample.sampler import Sampler
from mini_vllm.sampling_params import SamplingType
from mini_vllm.worker.input_batch import CachedRequestState, InputBatch

if TYPE_CHECKING:
    from mini_vllm.worker.graph_runner import GraphRunner

logger = logging.getLogger("mini_vllm.model_runner")


class ModelRunner:
    r"""A model, its cache, and the rows of the requests that run on it.

    Building one loads the checkpoint. {py:meth}`initialize_kv_cache` must be called before the
    first step. It learns of requests from
    {py:class}`~mini_vllm.core.scheduler_output.SchedulerOutput`s only. Upstream:
    {up}`vllm/v1/worker/gpu_model_runner.py#GPUModelRunner`.
    """

    def __init__(self, config: EngineConfig) -> None:
        model_config, scheduler_config = config.model_config, config.scheduler_config
        self.config = config
        self.platform = detect_platform(config.device)
        self.device = self.platform.device
        self.dtype = self.platform.dtype(model_config.resolved_dtype())

        self.model_config = decoder_config(model_config.hf_config)
        self.kernel_choice = self._select_kernels()
        self.attention_config = AttentionSelectorConfig(
            device=self.device,
            dtype=self.dtype,
            num_heads=self.model_config.num_heads,
            num_kv_heads=self.model_config.num_kv_heads,
            head_size=self.model_config.head_size,
            block_size=config.cache_config.block_size,
            sliding_windows=tuple(dict.fromkeys(self.model_config.sliding_windows)),
            compute_capability=self.platform.compute_capability(),
        )
        self.attention_choice = select_attention_backend(
            self.attention_config, config.attention_backend
        )
        for line in self.attention_choice.lines():
            logger.info("%s", line)
        self.metadata_builder = self.attention_choice.backend.make_builder(self.attention_config)
        self.model = load_model(
            self.model_config,
            Path(model_config.model),
            max_position=model_config.max_model_len,
            device=self.device,
            dtype=self.dtype,
            backend=self.attention_choice.backend,
            kernels=self.kernel_choice.kernels,
        )
        self.sampling_choice = select_sampling_kernels(self.device)
        if self.device.type != "cpu":
            logger.info("%s", self.sampling_choice)
        self.sampler = Sampler(model_config.seed, self.device, self.sampling_choice.kernels)
        self.kv_caches: list[torch.Tensor] = []
        self.requests: dict[str, CachedRequestState] = {}
        self.input_batch = InputBatch(
            max_num_reqs=scheduler_config.max_num_seqs,
            max_model_len=model_config.max_model_len,
            block_size=config.cache_config.block_size,
            vocab_size=self.model_config.vocab_size,
            device=self.device,
        )
        self._pending: ForwardOutput | None = None
        # Only where something is compiled or captured; otherwise a step goes straight to the model.
        self.graph_runner: GraphRunner | None = None
        if not config.compilation_config.is_eager:
            from mini_vllm.worker.graph_runner import GraphRunner

            self.graph_runner = GraphRunner(self.model, config, self.device, self.metadata_builder)
            logger.info("%s", self.graph_runner.resolved)

    def _select_kernels(self) -> KernelChoice:
        """Plain torch where its operations must be seen: by a compiler, or by the stand-in."""
        compilation = self.config.compilation_config
        if compilation.mode is CompilationMode.NONE and not compilation.cudagraph_stand_in:
            return select_kernels(self.device, self.dtype)
        reader = "the stand-in for graphs" if compilation.cudagraph_stand_in else "the compiler"
        kernels = select_kernels(self.device, self.dtype, "torch").kernels
        return KernelChoice(kernels, f"{reader} reads torch's operations")

    # ------------------------------------------------------------------ the cache

    @property
    def kv_cache_bytes_per_block(self) -> int:
        """What one block costs, over all layers: keys and values of `block_size` tokens."""
        per_token = self.model_config.kv_cache_bytes_per_token(self.dtype.itemsize)
        return per_token * self.config.cache_config.block_size

    def determine_num_gpu_blocks(self) -> int:
        r"""How many blocks there is room for, and use for.

        The memory is the configured one, or else what the platform allows. More blocks than
        all requests together could fill are not asked for.
        """
        cache_config, scheduler_config = self.config.cache_config, self.config.scheduler_config
        memory = cache_config.kv_cache_memory_bytes
        fits = (memory or self.platform.kv_cache_memory()) // self.kv_cache_bytes_per_block
        if memory is not None:
            return fits
        longest = -(-scheduler_config.max_model_len // cache_config.block_size)
        return min(fits, scheduler_config.max_num_seqs * longest + 1)

    def initialize_kv_cache(self, num_gpu_blocks: int) -> None:
        """Make the cache: per layer, `[2, num_blocks, num_kv_heads, block_size, head_size]`."""
        shape = self.attention_choice.backend.kv_cache_shape(
            num_gpu_blocks,
            self.config.cache_config.block_size,
            self.model_config.num_kv_heads,
            self.model_config.head_size,
        )
        cache = self.platform.zeros((self.model_config.num_layers, *shape), self.dtype)
        self.kv_caches = list(cache.unbind(0))
        # Now, and never again: whatever is captured reads and writes these very tensors.
        if self.graph_runner is not None:
            self.graph_runner.capture_model(self.kv_caches)

    # ------------------------------------------------------------------ the two halves of a step

    def execute_model(self, scheduler_output: SchedulerOutput) -> None:
        """Run the forward pass, and keep its scores for {py:meth}`sample_tokens`."""
        if self._pending is not None:
            raise MiniVllmError("execute_model was called twice without sample_tokens between")
        self._pending = self.forward(scheduler_output)

    def sample_tokens(self) -> ModelRunnerOutput:
        """Draw a token for each request whose last token was computed; none for the others."""
        if self._pending is None:
            raise MiniVllmError("sample_tokens was called without execute_model before it")
        output, self._pending = self._pending, None
        drawing = [i for i, needs_sample in enumerate(output.needs_sample) if needs_sample]
        sampled: list[list[int]] = [[] for _ in output.req_ids]
        logprobs = {}
        if drawing:
            whole = len(drawing) == len(output.req_ids)
            drawn = self.sampler(
                output.logits if whole else output.logits[drawing],
                self.input_batch.sampling_metadata(drawing),
            )
            for i, token_id in zip(drawing, drawn.token_ids.tolist()):
                sampled[i].append(token_id)
            logprobs = {output.req_ids[drawing[i]]: [lp] for i, lp in drawn.logprobs.items()}
        self.record_sampled_tokens(output.req_ids, sampled)
        return ModelRunnerOutput(
            req_ids=output.req_ids,
            req_id_to_index={req_id: i for i, req_id in enumerate(output.req_ids)},
            sampled_token_ids=sampled,
            logprobs=logprobs or None,
            cudagraph_stats=output.cudagraph_stats,
        )

    # ------------------------------------------------------------------ organs, by hand

    @torch.no_grad()
    def forward(self, scheduler_output: SchedulerOutput) -> ForwardOutput:
        r"""Take in the orders, run the model, and return one row of scores per request that ran.

        Draws nothing. Whoever drives the runner by hand must give it the tokens that were drawn,
        with {py:meth}`record_sampled_tokens`, before the next step.
        """
        self._update_states(scheduler_output)
        batch = self.input_batch
        if not scheduler_output.num_scheduled_tokens:
            return ForwardOutput([], [], torch.empty(0, batch.vocab_size, device=self.device))
        if not self.kv_caches:
            raise MiniVllmError("there is no cache: call initialize_kv_cache first")
        req_ids = batch.req_ids
        counts = scheduler_output.num_scheduled_tokens
        num_scheduled = np.array([counts[req_id] for req_id in req_ids], np.int32)
        token_ids, positions, metadata = self._prepare_inputs(num_scheduled)

        cudagraph_stats = None
        if self.graph_runner is not None:
            hidden = self.graph_runner(token_ids, positions, self.kv_caches, metadata)
            cudagraph_stats = self.graph_runner.last_stat
        else:
            metadata = self.metadata_builder.build(metadata)
            hidden = self.model(token_ids, positions, self.kv_caches, metadata)
        logits = self.model.compute_logits(hidden)

        reached = batch.num_computed_tokens[: batch.num_reqs] + num_scheduled
        needs_sample = reached == batch.num_tokens[: batch.num_reqs]
        return ForwardOutput(req_ids, needs_sample.tolist(), logits, cudagraph_stats)

    def sampling_metadata(self, req_ids: Sequence[str]) -> SamplingMetadata:
        """What the sampler must know to draw from rows of scores of these requests."""
        return self.input_batch.sampling_metadata([self.input_batch.row_of[r] for r in req_ids])

    def record_sampled_tokens(
        self, req_ids: Sequence[str], sampled_token_ids: Sequence[Sequence[int]]
    ) -> None:
        """Lengthen the runner's own copy of each request by the tokens that were drawn for it."""
        for req_id, token_ids in zip(req_ids, sampled_token_ids, strict=True):
            for token_id in token_ids:
                self.input_batch.append_token(self.input_batch.row_of[req_id], token_id)

    # ------------------------------------------------------------------ inside

    def _update_states(self, orders: SchedulerOutput) -> None:
        """Apply the orders' diff: who left, who is new, who came back, and whose blocks grew."""
        batch, cached = self.input_batch, orders.scheduled_cached_reqs
        for req_id in orders.finished_req_ids:
            self.requests.pop(req_id, None)
            batch.remove_request(req_id)
        # Whoever does not run in this step loses its row, and keeps its state: it was preempted, or
        # the budget did not reach it.
        for req_id in list(batch.row_of):
            if req_id not in orders.num_scheduled_tokens or req_id in cached.resumed_req_ids:
                batch.remove_request(req_id)

        arriving = []
        for new in orders.scheduled_new_reqs:
            state = CachedRequestState(
                new.req_id,
                list(new.prompt_token_ids),
                new.sampling_params,
                list(new.block_ids),
                new.num_computed_tokens,
                generator=self._generator_for(new.sampling_params),
            )
            self.requests[new.req_id] = state
            arriving.append(state)
        for i, req_id in enumerate(cached.req_ids):
            state, new_block_ids = self.requests[req_id], cached.new_block_ids[i]
            state.num_computed_tokens = cached.num_computed_tokens[i]
            if req_id in cached.resumed_req_ids:
                state.block_ids = list(new_block_ids or ())
            elif new_block_ids:
                state.block_ids.extend(new_block_ids)
            row = batch.row_of.get(req_id)
            if row is None:
                arriving.append(state)
                continue
            batch.num_computed_tokens[row] = state.num_computed_tokens
            if new_block_ids:
                batch.block_table.append_row(row, new_block_ids)
        for state in arriving:
            batch.add_request(state)
        batch.condense()

    def _prepare_inputs(
        self, num_scheduled: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor, AttentionMetadata]:
        """The index arithmetic above: token ids, positions, and what attention must know."""
        batch, num_reqs = self.input_batch, self.input_batch.num_reqs
        query_start_loc = np.zeros(num_reqs + 1, np.int32)
        np.cumsum(num_scheduled, out=query_start_loc[1:])
        num_tokens = int(query_start_loc[-1])
        rows = np.repeat(np.arange(num_reqs), num_scheduled)
        offsets = np.arange(num_tokens) - query_start_loc[rows]
        positions = batch.num_computed_tokens[rows] + offsets
        seq_lens = batch.num_computed_tokens[:num_reqs] + num_scheduled
        max_seq_len = int(seq_lens.max())
        num_columns = -(-max_seq_len // batch.block_table.block_size)
        metadata = AttentionMetadata(
            query_start_loc=self._tensor(query_start_loc),
            seq_lens=self._tensor(seq_lens),
            # A copy: the rows may be moved while a device still reads this step's table.
            block_table=self._tensor(batch.block_table.block_ids[:num_reqs, :num_columns].copy()),
            slot_mapping=self._tensor(batch.block_table.slot_mapping(rows, positions)),
            max_query_len=int(num_scheduled.max()),
            max_seq_len=max_seq_len,
            num_actual_tokens=num_tokens,
        )
        token_ids = batch.token_ids[rows, positions]
        return self._tensor(token_ids), self._tensor(positions), metadata

    def _generator_for(self, params) -> torch.Generator | None:
        if params.sampling_type != SamplingType.RANDOM_SEED:
            return None
        generator = torch.Generator(device=self.device)
        return generator.manual_seed(params.seed)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)
