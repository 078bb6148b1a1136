r"""Chunked prefill: what one budget does to a prompt that is longer than what is left of it.

Two functions decide how many tokens a request gets in a step, one for those who run and one for
those who come in. Three more say what follows from them, without running anything: which chunks a
prompt is read in, when its first token comes, and which budget makes it come in time.

{py:class}`ChunkingScheduler`, at the end, is given: the engine's own scheduler with your two
functions in it. Run this file to see prompts being cut, capped, and not cut.
"""

from __future__ import annotations

from collections.abc import Iterable

from mini_vllm.config import CacheConfig, SchedulerConfig
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.core.scheduler import Scheduler
from mini_vllm.core.step_plan import StepPlan
from mini_vllm.sampling_params import SamplingParams


def share_of_running(missing: int, left: int, threshold: int = 0) -> int:
    r"""How many tokens a running request gets in this step; it may be 0.

    `missing` is what it lacks, `left` what remains of the step's budget. `threshold` is the most
    that one request may get of a step, however much is left; 0 means that there is no such limit.
    None of the three is negative.
    """
    # TODO task 1: cut a running request's share
    raise NotImplementedError("task 1: cut a running request's share")


def share_of_newcomer(
    missing: int, left: int, threshold: int = 0, may_cut: bool = True
) -> int | None:
    r"""How many tokens the request at the head of the queue gets; `None` if it must stay there.

    `missing`, `left` and `threshold` are those of {py:func}`share_of_running`, and `missing` and
    `left` are at least 1. The threshold says what the request may ask for. If that is more than is
    left, the request is cut to what is left; or, with `may_cut` off, nobody comes in any more in
    this step.
    """
    # TODO task 2: cut a newcomer's share, or shut the door
    raise NotImplementedError("task 2: cut a newcomer's share, or shut the door")


def chunks(
    num_prompt_tokens: int, budget: int, num_decoding: int = 0, threshold: int = 0
) -> list[int]:
    r"""The pieces in which a prompt goes through the model, in their order.

    The prompt may be cut, finds nothing in a cache, and shares each step with `num_decoding`
    requests that were there before it, run on after it and take one token each, and with nobody
    else. Raises `ValueError` when they leave it nothing.
    """
    # TODO task 3: say which chunks a prompt gets
    raise NotImplementedError("task 3: say which chunks a prompt gets")


def step_of_first_token(
    num_prompt_tokens: int, budget: int, num_decoding: int = 0, threshold: int = 0
) -> int:
    r"""In which step after its arrival does the prompt's first token come out, counted from 1?

    In the situation of {py:func}`chunks`, and with its `ValueError`. A formula: what it costs does
    not depend on how long the prompt is.
    """
    # TODO task 4: say when its first token comes
    raise NotImplementedError("task 4: say when its first token comes")


def smallest_budget(num_prompt_tokens: int, num_steps: int, num_decoding: int = 0) -> int:
    r"""The smallest budget with which the first token comes out in step `num_steps` at the latest.

    In the situation of {py:func}`chunks`, without a threshold. A formula again. Raises `ValueError`
    when `num_steps` is less than 1: no budget will do.
    """
    # TODO task 5: choose the smallest budget
    raise NotImplementedError("task 5: choose the smallest budget")


class ChunkingScheduler(Scheduler):
    r"""The engine's scheduler, with your two functions where it decides. Nothing to fill in here.

    Asks for as much memory as it needs and takes it for granted that there is enough.
    """

    def _schedule_running(self, plan: StepPlan) -> None:
        threshold = self.scheduler_config.long_prefill_token_threshold
        for request in self.running:
            missing = request.num_tokens - request.num_computed_tokens
            share = share_of_running(missing, plan.token_budget, threshold)
            if share > 0:
                plan.running.append(request)
                self._grant(plan, request, share)

    def _schedule_waiting(self, plan: StepPlan) -> None:
        config = self.scheduler_config
        threshold, may_cut = config.long_prefill_token_threshold, config.enable_chunked_prefill
        while self.waiting and plan.token_budget > 0:
            if len(self.running) == self.max_num_running_reqs:
                break
            missing = self.waiting.peek_request().num_tokens
            share = share_of_newcomer(missing, plan.token_budget, threshold, may_cut)
            if share is None:
                break
            request = self.waiting.pop_request()
            request.status = RequestStatus.RUNNING
            self.running.append(request)
            plan.new.append(request)
            self._grant(plan, request, share)

    def _grant(self, plan: StepPlan, request: Request, share: int) -> None:
        new_blocks = self.kv_cache_manager.allocate_slots(request, share)
        if new_blocks is None:
            raise RuntimeError(f"no memory for {share} tokens of {request}")
        plan.new_blocks[request.request_id] = new_blocks
        plan.num_scheduled_tokens[request.request_id] = share
        plan.token_budget -= share


Arrival = tuple[int, str, int, int]


def grants(
    arrivals: Iterable[Arrival],
    *,
    budget: int,
    max_num_seqs: int = 8,
    max_model_len: int = 64,
    threshold: int = 0,
    may_cut: bool = True,
    kind: type[Scheduler] = ChunkingScheduler,
) -> list[dict[str, int]]:
    r"""Play arrivals to their end; for each step, the tokens that each request was granted.

    An arrival is the step before which it comes, a name, the length of its prompt and of its
    answer. A scheduler that does not come to an end is stopped after 2,000 steps.
    """
    config = SchedulerConfig(
        max_model_len=max_model_len,
        max_num_batched_tokens=budget,
        max_num_seqs=max_num_seqs,
        enable_chunked_prefill=may_cut,
        long_prefill_token_threshold=threshold,
    )
    cache = CacheConfig(block_size=4, enable_prefix_caching=False)
    scheduler, later, steps = kind(config, cache, num_gpu_blocks=4000), list(arrivals), []
    while (later or scheduler.has_unfinished_requests()) and len(steps) < 2000:
        for arrival in [one for one in later if one[0] == len(steps) + 1]:
            later.remove(arrival)
            step, name, length, answer = arrival
            params = SamplingParams(max_tokens=answer, ignore_eos=True)
            scheduler.add_request(Request(name, [3] * length, params, float(step)))
        orders = scheduler.schedule()
        names = list(orders.num_scheduled_tokens)
        seen = [scheduler.requests[name] for name in names]
        drawn = [[7] if one.num_computed_tokens == one.num_tokens else [] for one in seen]
        index = {name: place for place, name in enumerate(names)}
        scheduler.update_from_output(orders, ModelRunnerOutput(names, index, drawn))
        steps.append(dict(orders.num_scheduled_tokens))
    return steps


def main() -> None:
    r"""Print one load under three settings."""
    load = [(1, "talks", 3, 12), (2, "long", 40, 2), (2, "next", 30, 2), (2, "short", 4, 2)]
    for title, options in (
        ("budget 16", {"budget": 16}),
        ("budget 16, threshold 6", {"budget": 16, "threshold": 6}),
        ("budget 64, no prompt is cut", {"budget": 64, "may_cut": False}),
    ):
        if options != {"budget": 16}:
            print()
        print(f"{title:<30}{'talks':>6}{'long':>6}{'next':>6}{'short':>6}{'in all':>8}")
        for number, step in enumerate(grants(load, **options), start=1):
            if not step.keys() - {"talks"} and number > 1:
                break
            cells = "".join(f"{step.get(name, '.'):>6}" for _, name, *_ in load)
            print(f"{f'step {number}':>30}{cells}{sum(step.values()):>8}")


if __name__ == "__main__":
    main()
