r"""What must attention be told that the tokens do not say themselves?

Take three requests in one step. A decodes its 9th token; B starts with a prompt of 4; C continues
a prompt: {given}`5 tokens` are stored and 3 more come now. The model sees eight tokens in a row:

```text
token             0    1  2  3  4    5  6  7
request           A    B  B  B  B    C  C  C
position          8    0  1  2  3    5  6  7

query_start_loc   [0, 1, 5, 8]     request i has tokens q[i] to q[i+1] - 1
seq_lens          [9, 4, 8]        its text: what is stored, and this step's
block_table       [[7, 2, 5],      its blocks, a row of ids a request;
                   [3, 0, 0],      what stands behind the last is stale
                   [9, 4, 0]]
slot_mapping      [20, 12 .. 15,   where each new key and value goes,
                   17 .. 19]       in blocks of 4
```

Check one: C's first new token has position 5, so it belongs to place 1 of its second block, number
4; slot $4 \times 4 + 1 = 17$. Nothing here says "prefill" or "decode". The number of new tokens
does, if anybody asks.

Upstream's per-step object has the same four arrays:
{up}`vllm/v1/attention/backend.py#CommonAttentionMetadata`. There the operation that a compiled
model calls takes tensors and a layer's name
({up}`vllm/model_executor/layers/attention/attention.py#unified_attention_with_output`), and finds
the metadata in a global, {up}`vllm/forward_context.py#set_forward_context`. Here it is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from mini_vllm.attention.metadata_builder import AttentionMetadataBuilder


@dataclass(frozen=True)
class AttentionMetadata:
    r"""One step, as attention sees it. Built once per step, shared by all layers, never modified.

    - `query_start_loc`: `[num_reqs + 1]`, int32; the queries of request `i` are
      `query_start_loc[i]` to `query_start_loc[i + 1] - 1`.
    - `seq_lens`: `[num_reqs]`, int32; tokens of the request that exist after this step, stored and
      new.
    - `block_table`: `[num_reqs, max_blocks]`, int32; entries past a request's last block are stale.
    - `slot_mapping`: `[num_tokens]`, int64; where each token's key and value go, in slots; a
      negative one is not stored.

    `builder` is who made it for a backend
    ({py:class}`~mini_vllm.attention.metadata_builder.AttentionMetadataBuilder`); None if nobody
    did, and then it says no more than these arrays.
    """

    query_start_loc: torch.Tensor
    seq_lens: torch.Tensor
    block_table: torch.Tensor
    slot_mapping: torch.Tensor
    max_query_len: int
    max_seq_len: int
    num_actual_tokens: int
    builder: AttentionMetadataBuilder | None = field(
        default=None, repr=False, compare=False, kw_only=True
    )

    @property
    def num_reqs(self) -> int:
        """How many requests take part in the step."""
        return self.seq_lens.shape[0]

    @cached_property
    def last_tokens(self) -> torch.Tensor:
        """The place of each request's last token in the step, `[num_reqs]`, int64."""
        return self.query_start_loc[1:].long() - 1

    @cached_property
    def last_tokens_only(self) -> AttentionMetadata:
        r"""The same step, with a single query per request: its last token.

        All keys and values are still stored. This is what the model's last layer needs, because
        nobody reads what it says about the other tokens of a prompt. A plan that was made for all
        queries does not fit, so the builder makes another.
        """
        ones = torch.arange(self.num_reqs + 1, dtype=torch.int32, device=self.seq_lens.device)
        narrowed = replace(self, query_start_loc=ones, max_query_len=1)
        return narrowed if self.builder is None else self.builder.build(narrowed)

    @cached_property
    def host(self) -> HostMetadata:
        """The same arrays as NumPy, for code that loops over requests on the CPU."""
        return HostMetadata(
            *(
                t.cpu().numpy()
                for t in (self.query_start_loc, self.seq_lens, self.block_table, self.slot_mapping)
            )
        )


@dataclass(frozen=True)
class HostMetadata:
    r"""{py:class}`AttentionMetadata` in NumPy, with its requests sorted by kind.

    A request with one new token reads its whole past for one query, and is as fast as memory. One
    with many is a matrix product. Backends that treat the two differently split here;
    upstream's do it in {up}`vllm/v1/attention/backends/utils.py#split_decodes_and_prefills`, and
    reorder the batch first so that each kind is contiguous.
    """

    query_start_loc: np.ndarray
    seq_lens: np.ndarray
    block_table: np.ndarray
    slot_mapping: np.ndarray

    @cached_property
    def query_lens(self) -> np.ndarray:
        """New tokens per request, `[num_reqs]`."""
        return np.diff(self.query_start_loc)

    @cached_property
    def single_rows(self) -> np.ndarray:
        """The requests that have exactly one new token."""
        return np.flatnonzero(self.query_lens == 1)

    @cached_property
    def single_tokens(self) -> np.ndarray:
        """The place of that token in the step, for each of {py:attr}`single_rows`."""
        return self.query_start_loc[self.single_rows]

    @cached_property
    def num_single_positions(self) -> int:
        """How many positions {py:attr}`single_rows` look back on, all together."""
        return int(self.seq_lens[self.single_rows].sum())

    @cached_property
    def multi_rows(self) -> np.ndarray:
        """The requests that have more than one new token."""
        return np.flatnonzero(self.query_lens > 1)
