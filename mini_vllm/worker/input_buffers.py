r"""Where does a graph look for its step?

Always in the same place. A graph reads its inputs at the addresses that they had when it was
captured, so the arrays of a step must not be made anew for each: they are made once, as large as
any captured step, and each step is written over the one before.

A step that is smaller than its graph leaves rows over. What is written there must be harmless to
whoever reads it:

| array | in rows that are nobody's | so that |
|---|---|---|
| token ids, positions | 0 | the embedding and the rotation read a row that exists |
| `slot_mapping` | -1 | their keys and values are not stored |
| `query_start_loc` | the number of real tokens | a request that is nobody's has no queries |
| `seq_lens` | 0 | and nothing to look back on |
| `block_table` | 0 | block 0, which is never handed out |

The third row is a decision. Padding tokens belong to no request at all; padding requests have
no tokens. So a kernel that goes by requests does nothing for either of them.

Upstream fills in the same, at several places:
{up}`queries and lengths
<vllm/v1/worker/gpu_model_runner.py#GPUModelRunner._prepare_inputs@".fill(cu_num_tokens[-1])">`,
{up}`slots
<vllm/v1/worker/gpu_model_runner.py#GPUModelRunner._get_slot_mappings@".fill_(-1)">`,
{up}`block tables <vllm/v1/worker/gpu_model_runner.py@".fill_(NULL_BLOCK_ID)">`,
{up}`positions
<vllm/v1/worker/gpu_model_runner.py#GPUModelRunner._preprocess@":num_input_tokens].zero_()">`.
Token ids it leaves: what an earlier step wrote there is a word of the vocabulary, too.
"""

from __future__ import annotations

import torch

from mini_vllm.attention.metadata import AttentionMetadata


class InputBuffers:
    r"""The arrays of a step, at addresses that never change.

    For steps of up to `max_num_tokens` tokens and `max_num_reqs` requests of up to `max_blocks`
    blocks. {py:meth}`load` overwrites them; what it returns are views, and good until the next
    call.
    """

    def __init__(
        self,
        max_num_tokens: int,
        max_num_reqs: int,
        max_blocks: int,
        max_model_len: int,
        device: torch.device,
    ) -> None:
        self.max_model_len = max_model_len

        def zeros(*shape: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self.token_ids = zeros(max_num_tokens)
        self.positions = zeros(max_num_tokens, dtype=torch.int64)
        self.slot_mapping = zeros(max_num_tokens, dtype=torch.int64)
        self.query_start_loc = zeros(max_num_reqs + 1)
        self.seq_lens = zeros(max_num_reqs)
        self.block_table = zeros(max_num_reqs, max_blocks)

    def load(
        self,
        token_ids: torch.Tensor,
        positions: torch.Tensor,
        num_padded: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the tokens of a step, padded to `num_padded`; returns both padded arrays."""
        num_tokens = len(token_ids)
        for buffer, given in ((self.token_ids, token_ids), (self.positions, positions)):
            buffer[:num_tokens].copy_(given)
            buffer[num_tokens:num_padded].zero_()
        return self.token_ids[:num_padded], self.positions[:num_padded]

    def load_metadata(
        self, metadata: AttentionMetadata, num_tokens: int, num_reqs: int, max_query_len: int
    ) -> AttentionMetadata:
        r"""Write what attention must know, padded to `num_tokens` and `num_reqs`.

        The numbers on the host in what is returned are not this step's. A graph has them frozen,
        so they must be right for every step that it will be replayed for: `max_query_len`, the
        longest text that there may be, and the padded number of tokens.
        """
        real_tokens, real_reqs = metadata.num_actual_tokens, metadata.num_reqs
        self.slot_mapping[:real_tokens].copy_(metadata.slot_mapping)
        self.slot_mapping[real_tokens:num_tokens].fill_(-1)
        self.query_start_loc[: real_reqs + 1].copy_(metadata.query_start_loc)
        self.query_start_loc[real_reqs + 1 : num_reqs + 1].fill_(real_tokens)
        self.seq_lens[:real_reqs].copy_(metadata.seq_lens)
        self.seq_lens[real_reqs:num_reqs].zero_()
        # Past a request's last block the table is stale in any case.
        self.block_table[:real_reqs, : metadata.block_table.shape[1]].copy_(metadata.block_table)
        self.block_table[real_reqs:num_reqs].zero_()
        return AttentionMetadata(
            query_start_loc=self.query_start_loc[: num_reqs + 1],
            seq_lens=self.seq_lens[:num_reqs],
            block_table=self.block_table[:num_reqs],
            slot_mapping=self.slot_mapping[:num_tokens],
            max_query_len=max_query_len,
            max_seq_len=self.max_model_len,
            num_actual_tokens=num_tokens,
        )
