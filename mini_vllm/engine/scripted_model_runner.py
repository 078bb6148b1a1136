r"""How can you test an engine without a model?

Give it a model whose answers you have written down. A script is one list of tokens per request; at
the place where a real runner would multiply matrices, this one looks up what comes next. Every
decision of the engine is then real, the answer is known beforehand, no torch is loaded, and a
thousand steps take a fraction of a second.

Only the arithmetic is missing. It takes the same orders as the real runner, learns of requests
from nothing else, and keeps the same rows and block tables. An order that would make the real one
read rubbish makes this one raise.

## A cache that notices

The keys and values of a token depend on that token and on all before it. So this runner stores, in
the slot that the block table names, a *fingerprint* of the whole prefix: a hash of the previous
prefix's fingerprint and the token. Then it looks back *through the block table*, as attention
does, at a slot in every block of the request. If a block was given to two requests, freed too
early, shared under a wrong name, or the table is stale, the fingerprints disagree and the runner
raises {py:class}`~mini_vllm.errors.InvariantError` naming the request, the position and the block.
A real model would have answered, fluently.

All writes of a step happen before any read, as they do layer by layer in a real forward pass. A
prompt that was admitted together with its twin may therefore share blocks that the twin fills in
this very step.

## A row for everyone

{py:meth}`ScriptedModelRunner.forward` returns a row of logits for every request that ran, prompt
chunks included, as upstream's runner does. What does the row of a half-read prompt say? The next
token of the prompt: a perfect language model knows it. Draw from that row, and a prompt `1 2 3 4`
that was cut after 2 begins its answer with a 3 of its own. The answer is shifted, plausible and
wrong; {inv}`needs-sample` is the rule that forbids it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mini_vllm.core.model_runner_output import ForwardOutput, ModelRunnerOutput, TokenLogprobs
from mini_vllm.core.scheduler_output import SchedulerOutput
from mini_vllm.errors import InvariantError, MiniVllmError
from mini_vllm.sampling_params import SamplingParams

#: A token to answer with, or the log-probabilities of several; the likeliest is drawn.
ScriptItem = int | Mapping[int, float]
#: A request's answer: what comes at each place, or a function from the place (0, 1, ...) to it.
Script = Sequence[ScriptItem] | Callable[[int], ScriptItem]


class ScriptError(MiniVllmError):
    """The engine asked for more than the script says: a request ran past its written answer."""


@dataclass(frozen=True, slots=True)
class ScriptedLogits:
    r"""One row: what the script says comes after `position` of request `req_id`.

    `position` counts from 0 over prompt and answer. `logprobs` maps token ids to
    log-probabilities; every other token has none.
    """

    req_id: str
    position: int
    logprobs: Mapping[int, float]

    def argmax(self) -> int:
        """The likeliest token; the lowest id of several equal ones."""
        return min(self.logprobs, key=lambda token: (-self.logprobs[token], token))

    def top(self, count: int) -> list[tuple[int, float]]:
        """The `count` likeliest tokens and their log-probabilities, best first."""
        ranked = sorted(self.logprobs.items(), key=lambda item: (-item[1], item[0]))
        return ranked[:count]


class ScriptedSampler:
    r"""Draws the likeliest token of each row: the sampler of a model without chance.

    Call it with rows; it knows nothing of requests, and will gladly draw from a row that must not
    be drawn from.
    """

    def __call__(self, logits: Iterable[ScriptedLogits]) -> list[int]:
        """One token per row."""
        return [row.argmax() for row in logits]


@dataclass(slots=True)
class _Row:
    """What the runner keeps of one request between steps."""

    token_ids: list[int]
    num_prompt_tokens: int
    sampling_params: SamplingParams
    block_ids: list[int]
    # Fingerprints of all prefixes that were ever computed, by position: what the slots must say.
    fingerprints: list[int] = field(default_factory=list)


class ScriptedModelRunner:
    r"""A model runner that answers from scripts, and whose cache notices corruption.

    `scripts` maps request ids to answers; a request without one takes `default`, and without that,
    asking is a {py:class}`ScriptError`. Answers may be functions, so that a request has no end of
    its own. `block_size` must be the engine's, in tokens. `num_gpu_blocks` is what it claims to
    have room for.

    `check_cache=False` skips the cache and its checks, for measuring the engine alone;
    `step_seconds` is how long it sleeps in each step, as if it computed. The real
    one is `mini_vllm.worker.model_runner.ModelRunner`; upstream:
    {up}`vllm/v1/worker/gpu_model_runner.py#GPUModelRunner`.
    """

    def __init__(
        self,
        scripts: Mapping[str, Script] | None = None,
        *,
        block_size: int = 16,
        num_gpu_blocks: int = 512,
        default: Script | None = None,
        check_cache: bool = True,
        step_seconds: float = 0.0,
    ) -> None:
        self.scripts: dict[str, Script] = dict(scripts or {})
        self.default = default
        self.block_size = block_size
        self.num_gpu_blocks = num_gpu_blocks
        self.check_cache = check_cache
        self.step_seconds = step_seconds
        self.sampler = ScriptedSampler()
        self.requests: dict[str, _Row] = {}
        # Slot b * block_size + i holds the fingerprint of the prefix that ends there.
        self.kv_cache: list[int | None] = []
        self._pending: ForwardOutput | None = None

    # ------------------------------------------------------------------ the runner's interface

    def determine_num_gpu_blocks(self) -> int:
        """Return the number of blocks that was given at construction."""
        return self.num_gpu_blocks

    def initialize_kv_cache(self, num_gpu_blocks: int) -> None:
        """Make an empty cache; every slot says that nothing was ever written there."""
        self.num_gpu_blocks = num_gpu_blocks
        self.kv_cache = [None] * (num_gpu_blocks * self.block_size)

    def execute_model(self, scheduler_output: SchedulerOutput) -> None:
        """Run the forward pass, and keep its rows for {py:meth}`sample_tokens`."""
        if self._pending is not None:
            raise MiniVllmError("execute_model was called twice without sample_tokens between")
        self._pending = self.forward(scheduler_output)

    def sample_tokens(self) -> ModelRunnerOutput:
        """Draw a token for each request whose last token was computed; none for the others."""
        if self._pending is None:
            raise MiniVllmError("sample_tokens was called without execute_model before it")
        output, self._pending = self._pending, None
        drawn = iter(self.sampler(row for row, ok in zip(output.logits, output.needs_sample) if ok))
        sampled = [[next(drawn)] if ok else [] for ok in output.needs_sample]
        self.record_sampled_tokens(output.req_ids, sampled)
        return ModelRunnerOutput(
            req_ids=output.req_ids,
            req_id_to_index={req_id: i for i, req_id in enumerate(output.req_ids)},
            sampled_token_ids=sampled,
            logprobs=self._logprobs(output, sampled),
        )

    # ------------------------------------------------------------------ its organs, by hand

    def forward(self, scheduler_output: SchedulerOutput) -> ForwardOutput:
        r"""Take in the orders, fill the cache, and return one row for each request that ran.

        Draws nothing. Whoever drives the runner by hand must give it the tokens that were drawn,
        with {py:meth}`record_sampled_tokens`, before the next step.
        """
        if self.step_seconds:
            time.sleep(self.step_seconds)
        starts = self._update_states(scheduler_output)
        for req_id, num_tokens in scheduler_output.num_scheduled_tokens.items():
            self._write(req_id, starts[req_id], num_tokens)
        output = ForwardOutput([], [], [])
        for req_id, num_tokens in scheduler_output.num_scheduled_tokens.items():
            row, end = self.requests[req_id], starts[req_id] + num_tokens
            self._read(req_id, end)
            output.req_ids.append(req_id)
            output.needs_sample.append(end == len(row.token_ids))
            output.logits.append(self._next_after(req_id, end - 1))
        return output

    def record_sampled_tokens(
        self, req_ids: Sequence[str], sampled_token_ids: Sequence[Sequence[int]]
    ) -> None:
        """Lengthen the runner's own copy of each request by the tokens that were drawn for it."""
        for req_id, token_ids in zip(req_ids, sampled_token_ids, strict=True):
            self.requests[req_id].token_ids.extend(token_ids)

    # ------------------------------------------------------------------ inside

    def _update_states(self, orders: SchedulerOutput) -> dict[str, int]:
        """Apply the orders' diff to the rows; return where each request starts."""
        for req_id in orders.finished_req_ids:
            # A request may end without ever having run.
            self.requests.pop(req_id, None)
        starts = {}
        for new in orders.scheduled_new_reqs:
            self.requests[new.req_id] = _Row(
                list(new.prompt_token_ids),
                len(new.prompt_token_ids),
                new.sampling_params,
                list(new.block_ids),
            )
            starts[new.req_id] = new.num_computed_tokens
        cached = orders.scheduled_cached_reqs
        for i, req_id in enumerate(cached.req_ids):
            row = self.requests[req_id]
            starts[req_id] = cached.num_computed_tokens[i]
            if req_id in cached.resumed_req_ids:
                row.block_ids = list(cached.new_block_ids[i] or ())
                if row.token_ids != cached.all_token_ids[req_id]:
                    raise InvariantError(f"{req_id!r} resumed with tokens that were not its own")
            else:
                row.block_ids.extend(cached.new_block_ids[i] or ())
        return starts

    def _slot(self, row: _Row, position: int) -> int:
        return row.block_ids[position // self.block_size] * self.block_size + (
            position % self.block_size
        )

    def _write(self, req_id: str, start: int, num_tokens: int) -> None:
        """Put the fingerprint of each new prefix into the slot that the block table names."""
        row = self.requests[req_id]
        end = start + num_tokens
        if end > len(row.token_ids):
            raise InvariantError(
                f"{req_id!r} is to compute up to position {end - 1} and has "
                f"{len(row.token_ids)} tokens"
            )
        if not self.check_cache:
            return
        while len(row.fingerprints) < end:
            previous = row.fingerprints[-1] if row.fingerprints else 0
            row.fingerprints.append(hash((previous, row.token_ids[len(row.fingerprints)])))
        for position in range(start, end):
            self.kv_cache[self._slot(row, position)] = row.fingerprints[position]

    def _read(self, req_id: str, end: int) -> None:
        """Look through the block table at the prefix before `end`, as attention would."""
        if not self.check_cache:
            return
        row = self.requests[req_id]
        # One slot per block is enough: a fingerprint vouches for all before it in its block.
        for position in {*range(self.block_size - 1, end, self.block_size), end - 1}:
            found = self.kv_cache[self._slot(row, position)]
            if position >= len(row.fingerprints) or found != row.fingerprints[position]:
                raise InvariantError(
                    f"request {req_id!r} reads position {position} from block "
                    f"{row.block_ids[position // self.block_size]}, which holds something else"
                )

    def _next_after(self, req_id: str, position: int) -> ScriptedLogits:
        """The row of `position`: the next token if it is known, else what the script says."""
        row = self.requests[req_id]
        if position + 1 < len(row.token_ids):
            return ScriptedLogits(req_id, position, {row.token_ids[position + 1]: 0.0})
        script = self.scripts.get(req_id, self.default)
        place = position + 1 - row.num_prompt_tokens
        if script is None:
            raise ScriptError(f"there is no script for request {req_id!r}")
        if callable(script):
            item = script(place)
        elif place < len(script):
            item = script[place]
        else:
            raise ScriptError(
                f"the script of request {req_id!r} has {len(script)} tokens; the engine asks for "
                f"one more"
            )
        return ScriptedLogits(req_id, position, {item: 0.0} if isinstance(item, int) else item)

    def _logprobs(
        self, output: ForwardOutput, sampled: Sequence[Sequence[int]]
    ) -> dict[str, list[TokenLogprobs]] | None:
        """The log-probabilities of those that asked, as a real sampler reports them."""
        found: dict[str, list[TokenLogprobs]] = {}
        for req_id, row, token_ids in zip(output.req_ids, output.logits, sampled, strict=True):
            count = self.requests[req_id].sampling_params.logprobs
            if count is None or not token_ids:
                continue
            token = token_ids[0]
            top = row.top(len(row.logprobs) if count == -1 else count)
            rank = 1 + sum(p > row.logprobs[token] for p in row.logprobs.values())
            found[req_id] = [
                TokenLogprobs(
                    [token, *(t for t, _ in top)], [row.logprobs[token], *(p for _, p in top)], rank
                )
            ]
        return found or None
