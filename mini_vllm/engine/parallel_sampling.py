r"""How does one prompt get several answers?

The core has never heard of `n`. A request with `n=3` is three requests before it reaches the core,
*children* with ids of their own and the same prompt, and it is one again after the detokenizer.
That costs almost nothing, because two other parts were built well: the scheduler admits all three
in one step if it can, and the prefix cache finds the first child's full blocks when the second
asks, so the prompt is computed once
({up}`vllm/v1/engine/parallel_sampling.py#ParentRequest` does the same, and for the same reason
`best_of` could be removed there).

What must be decided is randomness. Three children that draw from one seed give one answer three
times. So child `i` draws from `seed + i`; without a seed they draw from the engine's generator, and
differ anyway. Greedy children could not differ at all, and so `n > 1` is refused when the
temperature is 0 ({up}`vllm/sampling_params.py#SamplingParams._verify_greedy_sampling`).

The children's outputs carry the parent's id and an `index`. A stream gets each child's news as it
comes; whoever asked for the end only gets one output with all the answers, in the order of their
indices, when the last has ended. `finished` is about the parent: it is true when no child is left.
"""

from __future__ import annotations

from dataclasses import replace

from mini_vllm.core.engine_core_request import EngineCoreRequest
from mini_vllm.outputs import CompletionOutput
from mini_vllm.sampling_params import RequestOutputKind, SamplingParams


class ParentRequest:
    r"""One request of the caller, and the `n` children that the core sees in its place.

    `child_requests` holds the ids of those that have not ended.
    Upstream: {up}`vllm/v1/engine/parallel_sampling.py#ParentRequest`.
    """

    def __init__(self, request_id: str, sampling_params: SamplingParams) -> None:
        self.request_id = request_id
        self.n = sampling_params.n
        self.final_only = sampling_params.output_kind == RequestOutputKind.FINAL_ONLY
        self.child_requests: set[str] = set()
        self._ends: dict[int, CompletionOutput] = {}

    @staticmethod
    def child_ids(request_id: str, n: int) -> list[str]:
        """The ids under which the core will know the children."""
        return [f"{index}_{request_id}" for index in range(n)]

    def fan_out(self, request: EngineCoreRequest) -> list[EngineCoreRequest]:
        r"""Make the children of a checked request: their ids, and a seed for each.

        The children share the prompt's list and nothing else; `request` is not changed.
        """
        children = []
        for index, child_id in enumerate(self.child_ids(self.request_id, self.n)):
            params = request.sampling_params.clone()
            params.n = 1
            if params.seed is not None:
                params.seed += index
            self.child_requests.add(child_id)
            children.append(replace(request, request_id=child_id, sampling_params=params))
        return children

    def get_outputs(
        self, child_id: str, completion: CompletionOutput
    ) -> tuple[list[CompletionOutput], bool]:
        r"""What to tell the caller of a child's news, and whether the parent has ended by it.

        For a caller who wants the end only, nothing until the last child ends, then all answers in
        order.
        """
        if completion.finished():
            self.child_requests.discard(child_id)
        finished = not self.child_requests
        if not self.final_only:
            return [completion], finished
        self._ends[completion.index] = completion
        return ([self._ends[i] for i in sorted(self._ends)] if finished else []), finished
