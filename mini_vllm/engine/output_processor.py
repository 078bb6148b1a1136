r"""What becomes of a token once it is drawn?

It arrives here as news: "request 7, token 1034". The core keeps no text and shows nobody anything.
For each request this module keeps what the caller will read, adds the news to it, and answers with
a {py:class}`~mini_vllm.outputs.RequestOutput`: all so far, only the news, or nothing until the
end, as the request asked.

It may also answer back. When the {py:mod}`detokenizer <mini_vllm.engine.detokenizer>` completes a
stop string, the request has ended for its reader while the core still counts it as running. The
output says `stop`, the state is dropped, and the id goes into a list of requests to abort. In vLLM
that list crosses a process border to the core
({up}`vllm/v1/engine/llm_engine.py#LLMEngine.step@"abort_requests(processed_outputs.reqs_to_abort)"`),
and a token that the core drew meanwhile is ignored here, because nobody of that name is known any
more.

## Two finish lines

So a request can end in two places, and its `finish_reason` may come from either. *The core ends
it*: end of sequence, a stop token, a length, a repetition; then the news carries the reason. *The
text ends it*: then the reason is made here. An abort comes from outside both. Five words in all:
{py:data}`mini_vllm.core.request.FINISH_REASON_STRINGS`.

One loop over the news, and no other: with a thousand requests a step, each further pass over the
batch is time in which, here, the device waits, and upstream every reader does
({up}`vllm/v1/engine/output_processor.py#OutputProcessor.process_outputs`).

## To a list, or to whoever waits

A script that steps the engine itself takes each step's outputs as a list. A server has a task per
request, asleep until there is something for it; so a request may come with a
{py:class}`~mini_vllm.engine.output_collector.RequestOutputCollector`, its output goes there, and
the list stays empty.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from mini_vllm.core.engine_core_output import EngineCoreOutput
from mini_vllm.core.engine_core_request import EngineCoreRequest
from mini_vllm.core.request import FinishReason
from mini_vllm.core.stats import EngineCoreEventType
from mini_vllm.engine.detokenizer import IncrementalDetokenizer, Tokenizer
from mini_vllm.engine.iteration_stats import IterationStats
from mini_vllm.engine.logprobs import LogprobsProcessor
from mini_vllm.engine.output_collector import RequestOutputCollector
from mini_vllm.engine.parallel_sampling import ParentRequest
from mini_vllm.errors import RequestError
from mini_vllm.outputs import CompletionOutput, RequestMetrics, RequestOutput
from mini_vllm.sampling_params import RequestOutputKind


@dataclass(slots=True)
class OutputProcessorOutput:
    """What one step gives the callers, and whom the core must end because the text has ended."""

    request_outputs: list[RequestOutput] = field(default_factory=list)
    reqs_to_abort: list[str] = field(default_factory=list)


class RequestState:
    r"""What the front-end keeps of one request: its text, its log-probabilities, its times.

    One of `n` answers has a `parent` and its `index` among them. With a `collector` its outputs go
    there. Upstream: {up}`vllm/v1/engine/output_processor.py#RequestState`.
    """

    def __init__(
        self,
        request: EngineCoreRequest,
        prompt: str | None,
        tokenizer: Tokenizer | None,
        parent: ParentRequest | None = None,
        index: int = 0,
        collector: RequestOutputCollector | None = None,
    ) -> None:
        params = request.sampling_params
        self.request_id = request.request_id
        self.parent = parent
        self.index = index
        self.collector = collector
        self.max_tokens = params.max_tokens
        self.prompt = prompt
        self.prompt_token_ids = request.prompt_token_ids
        self.output_kind = params.output_kind
        self.detokenizer = IncrementalDetokenizer(tokenizer, params, request.prompt_token_ids)
        self.logprobs_processor = LogprobsProcessor(tokenizer, params)
        self.metrics = RequestMetrics(arrival_time=request.arrival_time)
        self.num_cached_tokens: int | None = None

    def make_request_output(
        self,
        new_token_ids: list[int],
        finish_reason: FinishReason | None,
        stop_reason: int | str | None,
    ) -> RequestOutput | None:
        r"""What to tell the caller now; `None` when it only wants to hear of the end."""
        finished = finish_reason is not None
        if self.output_kind == RequestOutputKind.FINAL_ONLY and not finished:
            return None
        delta = self.output_kind == RequestOutputKind.DELTA
        logprobs = self.logprobs_processor.logprobs
        if logprobs is not None:
            logprobs = logprobs[len(logprobs) - len(new_token_ids) :] if delta else list(logprobs)
        completion = CompletionOutput(
            index=self.index,
            text=self.detokenizer.get_next_output_text(finished, delta),
            # A copy: what a caller has been given must not grow under its hands.
            token_ids=new_token_ids if delta else list(self.detokenizer.token_ids),
            cumulative_logprob=self.logprobs_processor.cumulative_logprob,
            logprobs=logprobs,
            finish_reason=None if finish_reason is None else str(finish_reason),
            stop_reason=stop_reason,
        )
        request_id, completions = self.request_id, [completion]
        if self.parent is not None:
            request_id = self.parent.request_id
            completions, finished = self.parent.get_outputs(self.request_id, completion)
            if not completions:
                return None
        return RequestOutput(
            request_id=request_id,
            prompt=self.prompt,
            prompt_token_ids=self.prompt_token_ids,
            outputs=completions,
            finished=finished,
            metrics=self.metrics,
            num_cached_tokens=self.num_cached_tokens,
        )


class OutputProcessor:
    r"""From the core's news to what callers read.

    `tokenizer` may be `None`; answers then have tokens and no text. `request_states` holds what the
    core knows by its ids, children included; `parent_requests` what callers know as one request
    with several answers. Upstream: {up}`vllm/v1/engine/output_processor.py#OutputProcessor`.
    """

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        self.tokenizer = tokenizer
        self.request_states: dict[str, RequestState] = {}
        self.parent_requests: dict[str, ParentRequest] = {}

    def get_num_unfinished_requests(self) -> int:
        """How many callers still wait for their end."""
        return len(self.request_states)

    def has_unfinished_requests(self) -> bool:
        """Whether any caller still waits."""
        return bool(self.request_states)

    def check_ids(self, request_id: str, n: int) -> None:
        r"""Refuse a request one of whose ids is in use by an unfinished one.

        Raises {py:class}`~mini_vllm.errors.RequestError`. With `n` answers it takes `n + 1` ids:
        its own, and one per child.
        """
        children = ParentRequest.child_ids(request_id, n) if n > 1 else []
        for one in (request_id, *children):
            if one in self.request_states or one in self.parent_requests:
                raise RequestError(
                    f"request id {one!r} is in use by an unfinished request",
                    parameter="request_id",
                    value=one,
                )

    def add_request(
        self,
        request: EngineCoreRequest,
        prompt: str | None,
        parent: ParentRequest | None = None,
        index: int = 0,
        collector: RequestOutputCollector | None = None,
    ) -> None:
        """Begin to keep an answer. Somebody has made sure that the id is not in use."""
        self.request_states[request.request_id] = RequestState(
            request, prompt, self.tokenizer, parent, index, collector
        )
        if parent is not None:
            self.parent_requests[parent.request_id] = parent

    def core_ids(self, request_ids: Iterable[str]) -> list[str]:
        """The unfinished requests of the core that callers know by these ids; a parent's are many.

        Unknown and finished ones are passed over.
        """
        ids: list[str] = []
        for request_id in request_ids:
            parent = self.parent_requests.get(request_id)
            if parent is not None:
                ids += sorted(parent.child_requests)
            elif request_id in self.request_states:
                ids.append(request_id)
        return ids

    def abort_requests(
        self, request_ids: Iterable[str], iteration_stats: IterationStats | None = None
    ) -> list[RequestOutput]:
        r"""Drop requests, and make the last output of each: what it had, and `abort`.

        It goes to the collector of the request, or is returned where there is none. The ids are
        the callers'; unknown ones are passed over. Does not tell the core.
        """
        outputs = []
        for request_id in self.core_ids(request_ids):
            state = self.request_states[request_id]
            output = state.make_request_output([], FinishReason.ABORT, None)
            self._forget(state, FinishReason.ABORT, iteration_stats)
            if output is None:
                continue
            if state.collector is not None:
                state.collector.put(output)
            else:
                outputs.append(output)
        return outputs

    def fail_request(self, request_id: str, error: Exception) -> None:
        """Drop a request of the core that was refused, or whose engine is dead, with an error."""
        state = self.request_states.get(request_id)
        if state is None:
            return
        if state.collector is not None:
            state.collector.put(error)
        self._forget(state)

    def propagate_error(self, error: Exception) -> None:
        """Drop everything: every caller who still waits gets the error."""
        for request_id in list(self.request_states):
            self.fail_request(request_id, error)

    def _forget(
        self,
        state: RequestState,
        finish_reason: FinishReason | None = None,
        iteration_stats: IterationStats | None = None,
    ) -> None:
        del self.request_states[state.request_id]
        parent = state.parent
        if parent is not None:
            parent.child_requests.discard(state.request_id)
            if not parent.child_requests:
                self.parent_requests.pop(parent.request_id, None)
        if iteration_stats is not None and finish_reason is not None:
            iteration_stats.update_from_finished_request(
                state.request_id,
                finish_reason,
                len(state.prompt_token_ids),
                state.num_cached_tokens,
                state.max_tokens,
                state.metrics,
            )

    def process_outputs(
        self,
        engine_core_outputs: Iterable[EngineCoreOutput],
        timestamp: float | None = None,
        iteration_stats: IterationStats | None = None,
    ) -> OutputProcessorOutput:
        r"""Add one step's news to the answers; return what to tell, and whom to abort.

        `timestamp` is the core's, of the end of the step; without one it is now. What the step
        meant in latencies is added to `iteration_stats`, where somebody wants to know.
        """
        processed = OutputProcessorOutput()
        now = time.monotonic() if timestamp is None else timestamp
        wall_clock = time.time()
        for news in engine_core_outputs:
            state = self.request_states.get(news.request_id)
            if state is None:
                # Aborted, or ended by a stop string, while the core drew one more token.
                continue
            finish_reason, stop_reason = news.finish_reason, news.stop_reason
            if iteration_stats is not None:
                iteration_stats.update_from_output(
                    news, now, len(state.prompt_token_ids), state.metrics
                )
            self._update_metrics(state, news, now, wall_clock)

            stop_string = state.detokenizer.update(
                news.new_token_ids, stop_terminated=finish_reason == FinishReason.STOP
            )
            if stop_string is not None:
                finish_reason, stop_reason = FinishReason.STOP, stop_string
            state.logprobs_processor.update(news.new_logprobs)

            output = state.make_request_output(news.new_token_ids, finish_reason, stop_reason)
            if output is not None:
                if state.collector is not None:
                    state.collector.put(output)
                else:
                    processed.request_outputs.append(output)
            if finish_reason is not None:
                self._forget(state, finish_reason, iteration_stats)
                if not news.finished:
                    processed.reqs_to_abort.append(news.request_id)
        return processed

    @staticmethod
    def _update_metrics(
        state: RequestState, news: EngineCoreOutput, now: float, wall_clock: float
    ) -> None:
        metrics = state.metrics
        for event in news.events or ():
            if event.type == EngineCoreEventType.QUEUED:
                metrics.queued_ts = event.timestamp
            elif event.type == EngineCoreEventType.SCHEDULED and not metrics.scheduled_ts:
                # Only the first: a preemption is part of what came after.
                metrics.scheduled_ts = event.timestamp
        if metrics.num_generation_tokens == 0:
            state.num_cached_tokens = news.num_cached_tokens
            metrics.first_token_ts = now
            metrics.first_token_latency = wall_clock - metrics.arrival_time
        metrics.last_token_ts = now
        metrics.num_generation_tokens += len(news.new_token_ids)
