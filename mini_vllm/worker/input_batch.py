r"""Why keep the batch, if it is different in every step?

Because it is nearly the same. Of 64 requests that decode, 63 decode again in the next step, one
token further on. Building tensors from scratch would look at every token of every request, every
step; keeping them as rows of arrays means that a step touches what changed: a counter per request,
a token per request, and now and then a row that leaves or arrives.

So a request owns a **row** while it runs: its tokens, how many of them are computed, its
temperature, its blocks, all at the same index of a dozen arrays. Rows in use are always the first
`num_reqs`, so that a step can slice and never needs a list. When requests leave, holes appear;
those that arrive fill the lowest, and what is left over is filled from the end
({py:meth}`InputBatch.condense`). A request may thus be moved to another row at any step, and
nobody outside may remember row numbers.

A preempted request loses its row and keeps its state ({py:class}`CachedRequestState`): the tokens
it has drawn and the generator it draws from outlive its memory. Upstream:
{up}`vllm/v1/worker/gpu_input_batch.py#InputBatch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from mini_vllm.sample.logits_processors import BatchUpdate, LogitsProcessors
from mini_vllm.sample.metadata import SamplingMetadata
from mini_vllm.sample.penalties import Penalties
from mini_vllm.sampling_params import SamplingParams, SamplingType
from mini_vllm.worker.block_table import BlockTable


@dataclass(slots=True)
class CachedRequestState:
    r"""What the worker knows of a request, whether or not it has a row.

    `output_token_ids` is a live list: rules of sampling hold on to it. `generator` is set for
    requests with a seed. Upstream: {up}`vllm/v1/worker/gpu_input_batch.py#CachedRequestState`.
    """

    req_id: str
    prompt_token_ids: list[int]
    sampling_params: SamplingParams
    block_ids: list[int]
    num_computed_tokens: int
    output_token_ids: list[int] = field(default_factory=list)
    generator: torch.Generator | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens of the prompt and of the answer so far."""
        return len(self.prompt_token_ids) + len(self.output_token_ids)


class InputBatch:
    r"""The requests that ran in the last step, in rows.

    Of each array the first `num_reqs` rows are in use between steps. `token_ids` is
    `[max_num_reqs, max_model_len]`; `num_tokens` and `num_computed_tokens` are `[max_num_reqs]`.
    """

    def __init__(
        self,
        *,
        max_num_reqs: int,
        max_model_len: int,
        block_size: int,
        vocab_size: int,
        device: torch.device | str = "cpu",
    ):
        self.max_num_reqs = max_num_reqs
        self.vocab_size = vocab_size
        self.device = torch.device(device)
        self.token_ids = np.zeros((max_num_reqs, max_model_len), np.int32)
        self.num_tokens = np.zeros(max_num_reqs, np.int32)
        self.num_computed_tokens = np.zeros(max_num_reqs, np.int32)
        self.block_table = BlockTable(block_size, max_num_reqs, max_model_len)
        self.temperature = np.zeros(max_num_reqs, np.float32)
        self.top_p = np.ones(max_num_reqs, np.float32)
        self.top_k = np.zeros(max_num_reqs, np.int32)
        self.processors = LogitsProcessors.builtin(max_num_reqs)

        self.requests: list[CachedRequestState | None] = []
        self.row_of: dict[str, int] = {}
        self._holes: list[int] = []
        self._added: list[tuple[int, SamplingParams, list[int]]] = []
        self._moved: list[tuple[int, int]] = []
        self._metadata: SamplingMetadata | None = None

    @property
    def num_reqs(self) -> int:
        """How many requests have a row."""
        return len(self.row_of)

    @property
    def req_ids(self) -> list[str]:
        """The requests, in the order of their rows."""
        return [self._request(row).req_id for row in range(self.num_reqs)]

    def add_request(self, request: CachedRequestState) -> int:
        """Give a request a row, the lowest hole if there is one; returns it."""
        if self._holes:
            self._holes.sort(reverse=True)
            row = self._holes.pop()
            self.requests[row] = request
        else:
            row = len(self.requests)
            if row == self.max_num_reqs:
                raise IndexError(f"a batch of {self.max_num_reqs} rows is full")
            self.requests.append(request)
        self.row_of[request.req_id] = row

        num_prompt, num_tokens = len(request.prompt_token_ids), request.num_tokens
        self.token_ids[row, :num_prompt] = request.prompt_token_ids
        self.token_ids[row, num_prompt:num_tokens] = request.output_token_ids
        self.num_tokens[row] = num_tokens
        self.num_computed_tokens[row] = request.num_computed_tokens
        self.block_table.add_row(row, request.block_ids)

        params = request.sampling_params
        greedy = params.sampling_type == SamplingType.GREEDY
        self.temperature[row] = 0.0 if greedy else params.temperature
        self.top_p[row] = params.top_p
        self.top_k[row] = params.top_k if 0 < params.top_k < self.vocab_size else self.vocab_size
        self._added.append((row, params, request.output_token_ids))
        return row

    def remove_request(self, req_id: str) -> None:
        """Take a request's row away, if it has one. Its state is the caller's to keep or drop."""
        row = self.row_of.pop(req_id, None)
        if row is not None:
            self.requests[row] = None
            self._holes.append(row)

    def condense(self) -> None:
        r"""Fill the holes that are left with the last rows, so that the first `num_reqs` are in
        use.

        Call it after all removals and additions of a step.
        """
        removed = sorted(self._holes)
        for hole in removed:
            while self.requests and self.requests[-1] is None:
                self.requests.pop()
            if hole >= len(self.requests):
                break
            self._move_row(len(self.requests) - 1, hole)
        while self.requests and self.requests[-1] is None:
            self.requests.pop()
        self._holes.clear()
        if removed or self._added or self._moved:
            self._metadata = None
            update = BatchUpdate(removed, tuple(self._added), tuple(self._moved))
            self._added.clear()
            self._moved.clear()
            self.processors.update_state(update)
        else:
            self.processors.update_state(None)

    def append_token(self, row: int, token_id: int) -> None:
        """Lengthen a request by a token that was drawn for it."""
        self._request(row).output_token_ids.append(token_id)
        count = self.num_tokens[row]
        # The last token of a request that fills the longest allowed text is never computed.
        if count < self.token_ids.shape[1]:
            self.token_ids[row, count] = token_id
        self.num_tokens[row] = count + 1

    def sampling_metadata(self, rows: Sequence[int] | None = None) -> SamplingMetadata:
        r"""The sampling state of `rows`, or of all rows (kept until the batch changes).

        Call it after {py:meth}`condense`.
        """
        if rows is not None and len(rows) < self.num_reqs:
            return self._make_metadata(list(rows))
        if self._metadata is None:
            self._metadata = self._make_metadata(list(range(self.num_reqs)))
        return self._metadata

    def _make_metadata(self, rows: list[int]) -> SamplingMetadata:
        requests = [self._request(row) for row in rows]
        params = [request.sampling_params for request in requests]
        temperature, top_p, top_k = self.temperature[rows], self.top_p[rows], self.top_k[rows]
        greedy = temperature == 0.0
        taxed = [i for i, p in enumerate(params) if Penalties.wanted_by(p)]
        penalties = Penalties(
            rows=taxed,
            prompts=[requests[i].prompt_token_ids for i in taxed],
            outputs=[requests[i].output_token_ids for i in taxed],
            params=[params[i] for i in taxed],
        )
        generators = {i: r.generator for i, r in enumerate(requests) if r.generator is not None}
        return SamplingMetadata(
            rows=rows,
            temperature=None if greedy.all() else self._tensor(temperature),
            all_random=not greedy.any(),
            top_k=self._tensor(top_k) if (top_k < self.vocab_size).any() else None,
            top_p=self._tensor(top_p) if (top_p < 1.0).any() else None,
            generators=generators,
            penalties=penalties if taxed else None,
            processors=self.processors,
            num_logprobs={i: p.logprobs for i, p in enumerate(params) if p.logprobs is not None},
        )

    def _move_row(self, source: int, target: int) -> None:
        request = self._request(source)
        self.requests[target] = request
        self.requests.pop()
        self.row_of[request.req_id] = target
        count = self.num_tokens[source]
        self.token_ids[target, :count] = self.token_ids[source, :count]
        for array in (
            self.num_tokens,
            self.num_computed_tokens,
            self.temperature,
            self.top_p,
            self.top_k,
        ):
            array[target] = array[source]
        self.block_table.move_row(source, target)
        self._moved.append((source, target))

    def _request(self, row: int) -> CachedRequestState:
        request = self.requests[row]
        if request is None:
            raise LookupError(f"row {row} is empty: the batch was not condensed")
        return request

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)
