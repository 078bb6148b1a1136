r"""What happened in a step, in sentences that a reader who sees no picture can follow.

The words are chosen from what the recorder saw, never from what a scenario was meant to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from book.traces.recording import Event, Lane
from mini_vllm.observe.probe import RequestRecord, StepRecord


def listed(words: Sequence[object]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    texts = [str(word) for word in words]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def counted(count: int, noun: str) -> str:
    """`1 token`, `2 tokens`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def blocks_named(ids: Sequence[int]) -> str:
    """`block 3`, `blocks 3, 2 and 1`."""
    return f"block{'' if len(ids) == 1 else 's'} {listed(ids)}"


def positions(index: int, size: int) -> str:
    """The tokens that block number `index` of a table holds, counted from 0."""
    return f"{index * size} to {index * size + size - 1}"


@dataclass
class _Return:
    """Blocks that a request gave back: those that became free, those that others still hold."""

    freed: list[int]
    kept: list[int]


class StepStory:
    """Gathers what the recorder sees in one step, then tells it in the order of the step."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self._returns: dict[str, _Return] = {}
        self._evictions: list[tuple[int, int, int]] = []
        self._waiting: list[tuple[str, str]] = []

    def beginning(self) -> str:
        """What can be said before the first step."""
        free = counted(self.lane.num_blocks - 1, "block")
        slots = counted(self.lane.block_size, "token")
        return f"Before the first step: {free} of {slots} each are free, and nobody is there yet."

    # ------------------------------------------------------------------ what the recorder saw

    def evicted(self, block_id: int, owner: int, index: int) -> None:
        """A block was handed out whose contents could still be found."""
        self._evictions.append((block_id, owner, index))

    def freed(self, req_id: str, freed: list[int], kept: list[int]) -> None:
        """A request gave its blocks back."""
        self._returns[req_id] = _Return(freed, kept)

    def scheduled(
        self, record: StepRecord, waiting: Sequence[str], num_running: int, room: tuple[int, int]
    ) -> None:
        """The orders are written: who waits, and at which of the scheduler's questions.

        `room`: how many free blocks the first of the waiting needs, and how many there are.
        """
        if not waiting:
            return
        if record.preempted_req_ids:
            reason = "a step that preempts somebody admits nobody"
        elif record.total_num_scheduled_tokens == record.token_budget:
            reason = "the budget is spent"
        elif num_running == record.max_num_seqs:
            reason = f"all {counted(record.max_num_seqs, 'seat')} are taken"
        else:
            needed, free = room
            verb = "is" if free == 1 else "are"
            reason = f"it needs {counted(needed, 'block')}, and {free} {verb} free"
            self._waiting.append((waiting[0], reason))
            waiting, reason = waiting[1:], f"{waiting[0]} is before it"
        self._waiting += [(name, reason) for name in waiting]

    # ------------------------------------------------------------------ the telling

    def told(
        self, record: StepRecord, arrived: Sequence[str], outside: Sequence[str]
    ) -> list[Event]:
        """The events of the step: arrivals, victims, prompts, decodes, evictions, waits, ends."""
        events = [Event("arrive", self._arrivals(arrived))] if arrived else []
        # The victims in the order in which they had to go.
        victims = [name for name in self._returns if record.requests[name].preempted]
        events += [Event("preempt", self._preemption(name)) for name in victims]
        spent = record.total_num_scheduled_tokens == record.token_budget
        decodes, prompts = [], []
        for row in record.scheduled:
            (decodes if row.is_decode else prompts).append(row)
        if decodes:
            names = listed([row.req_id for row in decodes])
            each = "decodes, one token" if len(decodes) == 1 else "decode, one token each"
            events.append(Event("decode", f"{names} {each}."))
        whole = [row for row in prompts if self._in_one_go(row)]
        if len(whole) > 1:
            events.append(Event("prompt", self._whole_prompts(whole)))
            prompts = [row for row in prompts if row not in whole]
        for row in prompts:
            kind = "hit" if row.num_cached_tokens else "prompt"
            events.append(Event(kind, self._prompt(row, spent)))
        if self._evictions:
            events.append(Event("evict", self._eviction()))
        events += self._waits(victims, outside)
        ended = record.finished_req_ids
        if ended:
            last = "draws its last token and ends"
            last = last if len(ended) == 1 else "draw their last tokens and end"
            events.append(Event("finish", f"{listed(ended)} {last}."))
        events += [Event("free", self._return(name)) for name in ended]
        return events

    def _arrivals(self, names: Sequence[str]) -> str:
        prompts = {plan.name: plan.prompt for plan in self.lane.requests}
        if len(names) == 1:
            return f"{names[0]} arrives with a prompt of {counted(prompts[names[0]], 'token')}."
        lengths = listed([prompts[name] for name in names])
        return f"{listed(names)} arrive with prompts of {lengths} tokens."

    def _whole_prompts(self, rows: Sequence[RequestRecord]) -> str:
        """Several newcomers whose prompts are read in one go."""
        counts = " + ".join(str(row.num_scheduled_tokens) for row in rows)
        return (
            f"{listed([row.req_id for row in rows])} are admitted: all {counts} tokens of their "
            "prompts are computed, and each draws its first token."
        )

    def _preemption(self, name: str) -> str:
        back = self._returns[name]
        text = (
            f"No block is free, so {name}, admitted last, must give way: it returns "
            f"{blocks_named(back.freed or back.kept)}, last first, and its computed tokens count "
            f"as 0 again."
        )
        if back.freed and back.kept:
            text += f" Others still hold {blocks_named(back.kept)}."
        return text

    @staticmethod
    def _in_one_go(row: RequestRecord) -> bool:
        """Whether a newcomer's prompt is read in this step, all of it, and none from the cache."""
        return row.status_before == "WAITING" and (
            row.num_scheduled_tokens == row.num_prompt_tokens == row.num_tokens_before
        )

    def _prompt(self, row: RequestRecord, spent: bool) -> str:
        """A request whose tokens are read: its prompt, or after a preemption all that it has."""
        count, left = row.num_scheduled_tokens, row.num_tokens_before - row.num_computed_tokens
        answering = row.num_tokens_before > row.num_prompt_tokens
        if left:
            later = f"{left} {'is' if left == 1 else 'are'} left for later steps"
            ending = f"; {later}, since the budget is spent." if spent else f"; {later}."
        else:
            ending = f", and it draws its {'next' if answering else 'first'} token."
        whole = "what it has" if answering else "its prompt"
        if not row.admitted:
            rest = counted(count, "token") if left else f"the last {counted(count, 'token')}"
            verb = "is" if count == 1 else "are"
            start = f"{row.req_id} catches up" if answering else f"{row.req_id}'s prompt goes on"
            return f"{start}: {rest} {verb} computed{ending}"
        text = f"{row.req_id} is admitted{' again' * (row.status_before == 'PREEMPTED')}: "
        if row.num_cached_tokens:
            hits = row.block_ids[: row.num_cached_tokens // self.lane.block_size]
            text += f"the first {row.num_cached_tokens} tokens of {whole} are found in the cache "
            text += f"({blocks_named(hits)}); {'' if left else 'only '}"
            return text + f"{count} more {'is' if count == 1 else 'are'} computed{ending}"
        if left:
            share = f"{count} of the {row.num_tokens_before} tokens"
            return f"{text}{share} of {whole} {'is' if count == 1 else 'are'} computed{ending}"
        share = "the only token" if count == 1 else f"all {count} tokens"
        return f"{text}{share} of {whole} {'is' if count == 1 else 'are'} computed{ending}"

    def _eviction(self) -> str:
        size, plans = self.lane.block_size, self.lane.requests
        lost = [
            f"block {block_id} ({plans[owner].name}'s tokens {positions(index, size)})"
            for block_id, owner, index in self._evictions
        ]
        verb = "is handed out for something new and loses its name"
        if len(lost) > 1:
            verb = "are handed out for something new and lose their names"
        return f"Eviction: {listed(lost)} {verb}."

    def _waits(self, victims: Sequence[str], outside: Sequence[str]) -> list[Event]:
        reasons: dict[str, list[str]] = {}
        for name, reason in self._waiting:
            if name not in victims:
                reasons.setdefault(reason, []).append(name)
        if outside:
            reasons["the batch is closed until its last request has ended"] = list(outside)
        return [
            Event("wait", f"{listed(names)} wait{'s' if len(names) == 1 else ''}: {reason}.")
            for reason, names in reasons.items()
        ]

    def _return(self, name: str) -> str:
        back = self._returns[name]
        text = f"{name} gives back {blocks_named([*back.freed, *back.kept])}"
        if not back.freed:
            return f"{text}, which {'is' if len(back.kept) == 1 else 'are'} still held by others."
        which = "it" if len(back.freed) == 1 else "they"
        verb = "joins" if len(back.freed) == 1 else "join"
        if back.kept:
            kept = f"{blocks_named(back.kept)} {'is' if len(back.kept) == 1 else 'are'}"
            return (
                f"{text}: {kept} still held by others, and {blocks_named(back.freed)} {verb} the "
                "tail of the free queue."
            )
        order = "" if len(back.freed) == 1 else ", last first"
        return f"{text}{order}: {which} {verb} the tail of the free queue."
