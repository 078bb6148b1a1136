r"""What is known of a step before it is ordered?

Who got how much of the budget so far, and who had to give way. The
{py:class}`~mini_vllm.core.scheduler.Scheduler` writes it while it goes through its requests, takes
entries out again when a preemption hits somebody who was in the step already, and turns it into
orders at the end. Upstream keeps the same things in local variables of one long method
({up}`vllm/v1/core/sched/scheduler.py#Scheduler.schedule@"req_to_new_blocks: dict"`).
"""

from __future__ import annotations

from collections.abc import Sequence

from mini_vllm.core.free_block_queue import KVCacheBlock
from mini_vllm.core.request import Request


class StepPlan:
    r"""A step while it is being decided: the budget that is left, and who got what from it.

    Lives for one call of {py:meth}`~mini_vllm.core.scheduler.Scheduler.schedule`.
    `num_scheduled_tokens` is in the order in which requests were reached. `new_blocks` holds what
    a running request was given beyond the blocks it had.
    """

    __slots__ = (
        "new",
        "new_blocks",
        "num_scheduled_tokens",
        "preempted",
        "resumed",
        "running",
        "token_budget",
    )

    def __init__(self, token_budget: int) -> None:
        self.token_budget = token_budget
        self.num_scheduled_tokens: dict[str, int] = {}
        self.new_blocks: dict[str, Sequence[KVCacheBlock]] = {}
        self.running: list[Request] = []
        self.new: list[Request] = []
        self.resumed: list[Request] = []
        self.preempted: list[Request] = []
