r"""What does the scheduler tell the model runner, and what does it leave out?

A step's orders are a diff. The runner keeps, for each request it has met, the tokens, the block
table and the sampling parameters; so the scheduler sends everything about a request once
({py:class}`NewRequestData`), and afterwards only what changed ({py:class}`CachedRequestData`): two
counters and the blocks that were added.

That is why a runner must hear of *every* change of life. A request that ended since the last step
is named in `finished_req_ids`, so that its row can be freed; one that was preempted and comes back
is named in `resumed_req_ids`, and its blocks then *replace* the row's instead of growing it.
Forget the first, and rows pile up of requests that nobody will schedule again. Forget the second,
and the runner reads keys and values through a stale block table, which no assertion notices.

Upstream sends the same message ({up}`vllm/v1/core/sched/output.py#SchedulerOutput`), with fields
for LoRA, images, drafts and connectors beside these, and with one list of block ids per group of
layers rather than one in all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mini_vllm.core.request import Request
from mini_vllm.sampling_params import SamplingParams


@dataclass(slots=True)
class NewRequestData:
    r"""All about a request that the runner meets for the first time.

    `num_computed_tokens` is not always 0: it counts what the prefix cache already holds, and
    `block_ids` begins with the blocks that hold it.
    Upstream: {up}`vllm/v1/core/sched/output.py#NewRequestData`.
    """

    req_id: str
    prompt_token_ids: list[int]
    sampling_params: SamplingParams
    block_ids: list[int]
    num_computed_tokens: int

    @classmethod
    def from_request(cls, request: Request, block_ids: list[int]) -> NewRequestData:
        """Take what the runner must know from a request that is about to run."""
        return cls(
            req_id=request.request_id,
            prompt_token_ids=request.prompt_token_ids,
            sampling_params=request.sampling_params,
            block_ids=block_ids,
            num_computed_tokens=request.num_computed_tokens,
        )


@dataclass(slots=True)
class CachedRequestData:
    r"""What changed for the requests that the runner knows, in columns.

    All lists run in the order of `req_ids`. `new_block_ids[i]` is appended to the row of request
    `i`, or replaces it when the id is in `resumed_req_ids`; `None` means no new block, which is
    the usual case of a decode. `num_computed_tokens[i]` is the state *before* this step: the
    position of the first token to compute. `all_token_ids` has the tokens of the resumed requests,
    prompt and answer so far, and `new_token_ids[i]` is empty except for those, where it holds the
    tokens to compute in this step. (Sampled tokens are not sent back: the runner drew them. Only
    pipeline parallelism, whose first stage never sees them, needs that.)

    Upstream: {up}`vllm/v1/core/sched/output.py#CachedRequestData`.
    """

    req_ids: list[str] = field(default_factory=list)
    resumed_req_ids: set[str] = field(default_factory=set)
    new_token_ids: list[list[int]] = field(default_factory=list)
    all_token_ids: dict[str, list[int]] = field(default_factory=dict)
    new_block_ids: list[list[int] | None] = field(default_factory=list)
    num_computed_tokens: list[int] = field(default_factory=list)
    num_output_tokens: list[int] = field(default_factory=list)

    @property
    def num_reqs(self) -> int:
        """How many known requests run in this step."""
        return len(self.req_ids)


@dataclass(slots=True)
class SchedulerOutput:
    r"""The orders for one step.

    `num_scheduled_tokens` maps every request that runs to the number of tokens it may move, in the
    order in which the scheduler reached them; its sum is `total_num_scheduled_tokens`, and never
    more than the budget ({inv}`budget-kept`). `finished_req_ids` ended *between* the previous step
    and this one, `preempted_req_ids` in the making of this one.

    A step may schedule nothing: when the last request has just ended, an empty step still carries
    its id to the runner.
    Upstream: {up}`vllm/v1/core/sched/output.py#SchedulerOutput`.
    """

    scheduled_new_reqs: list[NewRequestData]
    scheduled_cached_reqs: CachedRequestData
    num_scheduled_tokens: dict[str, int]
    total_num_scheduled_tokens: int
    finished_req_ids: set[str]
    preempted_req_ids: set[str]

    @classmethod
    def make_empty(cls) -> SchedulerOutput:
        """Return orders to do nothing."""
        return cls([], CachedRequestData(), {}, 0, set(), set())
