r"""Three ways to give memory to texts whose length nobody knows.

A *slot* has room for what the model keeps of one token. All three memories have the same slots and
serve the same requests; they differ in what they set aside for one, and where.

| memory | sets aside for a request | where |
|---|---|---|
| {py:class}`StaticMemory` | the longest text that there may be | in one of equal cells |
| {py:class}`ContiguousMemory` | prompt, and as much answer as is allowed | in one piece, anywhere |
| {py:class}`PagedMemory` | the blocks that its tokens fill so far | in blocks, anywhere |

What stands outside the tasks is given and works: the trace, and {py:func}`replay`, which runs it.
Run this file to see the three side by side.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


class Span(NamedTuple):
    r"""A stretch of slots that is set aside, and how many of its slots hold tokens."""

    start: int
    length: int
    held: int


class Memory:
    r"""What the three have in common. `tokens` counts the tokens of each request that has room."""

    def __init__(self, num_slots: int) -> None:
        self.num_slots = num_slots
        self.tokens: dict[str, int] = {}

    def place(self, name: str, prompt: int, max_tokens: int) -> bool:
        r"""Make room for a new request and its `prompt` tokens; `False`, and no change, if none."""
        raise NotImplementedError

    def grow(self, name: str) -> bool:
        r"""One token more; `False`, and no change, when there is no room for it."""
        self.tokens[name] += 1
        return True

    def remove(self, name: str) -> None:
        r"""Give back everything that was set aside for a request."""
        raise NotImplementedError

    def need(self, prompt: int, max_tokens: int) -> int:
        r"""How many slots a request needs, at the least, to be placed."""
        return prompt + max_tokens

    def spans(self) -> Iterator[Span]:
        r"""What is set aside, piece by piece."""
        raise NotImplementedError


class StaticMemory(Memory):
    r"""Equal cells of `max_len` slots. `cells` says who has which, counted from 0."""

    def __init__(self, num_slots: int, max_len: int) -> None:
        super().__init__(num_slots)
        self.max_len = max_len
        self.cells: dict[str, int] = {}

    def place(self, name: str, prompt: int, max_tokens: int) -> bool:
        r"""Give a request one whole free cell, any of them; `False` when there is none.

        Cells are whole: what is left of the memory behind the last one is nobody's. A request that
        may become longer than a cell is refused with a `ValueError` that names `max_len`.
        """
        # lab: begin task 1 "give everyone the longest"
        if prompt + max_tokens > self.max_len:
            raise ValueError(f"{prompt} + {max_tokens} tokens do not fit {self.max_len} slots")
        for cell in range(self.num_slots // self.max_len):
            if cell not in self.cells.values():
                self.cells[name] = cell
                self.tokens[name] = prompt
                return True
        return False
        # lab: end

    def remove(self, name: str) -> None:
        r"""Free the request's cell, and forget its tokens."""
        # lab: begin task 1 "give everyone the longest"
        del self.cells[name]
        del self.tokens[name]
        # lab: end

    def spans(self) -> Iterator[Span]:
        r"""One span a cell."""
        for name, cell in self.cells.items():
            yield Span(cell * self.max_len, self.max_len, self.tokens[name])


class ContiguousMemory(Memory):
    r"""A stretch for each request, as long as it asks for, wherever it fits.

    `free` lists the free stretches as pairs of start and length, in the order of their starts; no
    two of them touch, and none is empty. `stretches` has those of the requests.
    """

    def __init__(self, num_slots: int) -> None:
        super().__init__(num_slots)
        self.free: list[tuple[int, int]] = [(0, num_slots)]
        self.stretches: dict[str, tuple[int, int]] = {}

    def place(self, name: str, prompt: int, max_tokens: int) -> bool:
        r"""*First fit*: take the beginning of the first free stretch that is long enough.

        It must have room for the prompt and for `max_tokens` tokens of answer, since a stretch
        cannot be moved or lengthened later. `False` when no single stretch is long enough.
        """
        # lab: begin task 2 "give everyone what they ask for"
        wanted = prompt + max_tokens
        for index, (start, length) in enumerate(self.free):
            if length >= wanted:
                rest = (start + wanted, length - wanted)
                self.free[index : index + 1] = [rest] if rest[1] else []
                self.stretches[name] = (start, wanted)
                self.tokens[name] = prompt
                return True
        return False
        # lab: end

    def remove(self, name: str) -> None:
        r"""Give the request's stretch back; free stretches that touch become one."""
        # lab: begin task 3 "take a stretch back"
        del self.tokens[name]
        merged: list[tuple[int, int]] = []
        for start, length in sorted([*self.free, self.stretches.pop(name)]):
            if merged and sum(merged[-1]) == start:
                start, length = merged[-1][0], merged.pop()[1] + length
            merged.append((start, length))
        self.free = merged
        # lab: end

    def spans(self) -> Iterator[Span]:
        r"""One span a request."""
        for name, (start, length) in self.stretches.items():
            yield Span(start, length, self.tokens[name])


class PagedMemory(Memory):
    r"""Blocks of `block_size` slots. `tables` has each request's, in the order of its tokens."""

    def __init__(self, num_slots: int, block_size: int) -> None:
        super().__init__(num_slots)
        self.block_size = block_size
        self.free_blocks = list(range(num_slots // block_size))
        self.tables: dict[str, list[int]] = {}

    def place(self, name: str, prompt: int, max_tokens: int) -> bool:
        r"""Take as many free blocks as the *prompt* fills, any of them; the answer comes later."""
        # lab: begin task 4 "give everyone blocks"
        wanted = -(-prompt // self.block_size)
        if wanted > len(self.free_blocks):
            return False
        self.tables[name] = [self.free_blocks.pop() for _ in range(wanted)]
        self.tokens[name] = prompt
        return True
        # lab: end

    def grow(self, name: str) -> bool:
        r"""One token more. Only when the last block is full, it takes a free one; or `False`."""
        # lab: begin task 4 "give everyone blocks"
        if self.tokens[name] == len(self.tables[name]) * self.block_size:
            if not self.free_blocks:
                return False
            self.tables[name].append(self.free_blocks.pop())
        self.tokens[name] += 1
        return True
        # lab: end

    def remove(self, name: str) -> None:
        r"""Give all blocks of a request back."""
        # lab: begin task 4 "give everyone blocks"
        self.free_blocks += self.tables.pop(name)
        del self.tokens[name]
        # lab: end

    def need(self, prompt: int, max_tokens: int) -> int:
        r"""The prompt is enough to begin with."""
        return prompt

    def spans(self) -> Iterator[Span]:
        r"""One span a block."""
        for name, table in self.tables.items():
            for index, block in enumerate(table):
                held = min(self.block_size, self.tokens[name] - index * self.block_size)
                yield Span(block * self.block_size, self.block_size, held)


class Account(NamedTuple):
    r"""What the slots of a memory are doing at one moment; the four add up to all of them.

    `held`: they hold tokens. `internal`: set aside, and empty. `external`: free, and of no use to
    the request that waits, though there would be enough of them. `idle`: free, all others.
    """

    held: int
    internal: int
    external: int
    idle: int


def account(num_slots: int, spans: Iterable[Span], wanted: int | None) -> Account:
    r"""Put every slot of a memory into one of four classes.

    `wanted` is how many slots the request needs that stands first in the queue and could not be
    placed; `None` when nobody waits. If that many are free and it could not be placed, then all
    free slots are `external`. If fewer are free, the memory is simply full, and they are `idle`.
    """
    # lab: begin task 5 "account for every slot"
    pieces = list(spans)
    reserved = sum(piece.length for piece in pieces)
    held = sum(piece.held for piece in pieces)
    free = num_slots - reserved
    external = free if wanted is not None and wanted <= free else 0
    return Account(held, reserved - held, external, free - external)
    # lab: end


class Cost(NamedTuple):
    r"""What a block size costs: slots that stay empty, and entries of block tables."""

    unused_slots: int
    table_entries: int


def block_size_costs(lengths: Sequence[int], block_size: int) -> Cost:
    r"""What requests of these final lengths, in tokens, cost with blocks of `block_size`."""
    # lab: begin task 6 "say what a block size costs"
    blocks = sum(-(-length // block_size) for length in lengths)
    return Cost(blocks * block_size - sum(lengths), blocks)
    # lab: end


# ------------------------------------------------------------------ given: the trace and the replay


class Arrival(NamedTuple):
    r"""A request: when it comes, its prompt, the most it may answer, and what it will answer."""

    step: int
    prompt: int
    max_tokens: int
    answer: int


class Moment(NamedTuple):
    r"""One step of a replay: who ran, who waited, and what the memory did."""

    running: int
    waiting: int
    account: Account
    spans: tuple[Span, ...]


def made_up_trace(count: int = 60, seed: int = 2) -> list[Arrival]:
    r"""Many short texts and a few long ones; most answers end long before they have to."""
    draw = random.Random(seed)
    arrivals = []
    for number in range(count):
        prompt = min(360, int(draw.lognormvariate(4.2, 0.8)) + 1)
        max_tokens = draw.choice([32, 64, 128])
        answer = min(max_tokens, int(draw.expovariate(1 / 30)) + 1)
        arrivals.append(Arrival(1 + number // 2, prompt, max_tokens, answer))
    return arrivals


def replay(trace: Sequence[Arrival], memory: Memory) -> list[Moment]:
    r"""Serve a trace, first come, first served; one token a step for everyone who has room.

    Who finds no room for the next token takes the room of the request that was admitted last, which
    waits at the head of the queue until it fits again with all its tokens.
    """
    coming = deque(enumerate(trace))
    waiting: deque[tuple[str, int, int, int]] = deque()
    left: dict[str, tuple[int, int]] = {}
    moments: list[Moment] = []
    while coming or waiting or left:
        step = len(moments) + 1
        while coming and coming[0][1].step <= step:
            number, arrival = coming.popleft()
            waiting.append((f"r{number}", arrival.prompt, arrival.max_tokens, arrival.answer))
        while waiting:
            name, prompt, max_tokens, answer = waiting[0]
            if not memory.place(name, prompt, max_tokens):
                break
            left[name] = (max_tokens, answer)
            waiting.popleft()
        wanted = memory.need(*waiting[0][1:3]) if waiting else None
        spans = tuple(memory.spans())
        moments.append(
            Moment(len(left), len(waiting), account(memory.num_slots, spans, wanted), spans)
        )
        if not left and not coming:
            raise ValueError(f"{waiting[0]} does not fit an empty memory")
        for name in list(left):
            while name in left and not memory.grow(name):
                victim, (max_tokens, answer) = left.popitem()
                waiting.appendleft((victim, memory.tokens[victim], max_tokens, answer))
                memory.remove(victim)
            if name in left:
                max_tokens, answer = left[name]
                left[name] = (max_tokens - 1, answer - 1)
                if answer == 1:
                    del left[name]
                    memory.remove(name)
    return moments


def memories(num_slots: int = 2048, max_len: int = 512, block_size: int = 16) -> dict[str, Memory]:
    r"""The three, empty, with equally many slots."""
    return {
        "static": StaticMemory(num_slots, max_len),
        "contiguous": ContiguousMemory(num_slots),
        "paged": PagedMemory(num_slots, block_size),
    }


def share_held(moments: Sequence[Moment], num_slots: int) -> float:
    r"""The share of slots that held tokens, on average over the steps in which somebody waited."""
    pressed = [moment.account.held / num_slots for moment in moments if moment.waiting]
    return sum(pressed) / len(pressed)


def picture(spans: Iterable[Span], num_slots: int, width: int = 64) -> str:
    r"""A memory as a line: `#` holds tokens, `-` is set aside and empty, `.` is free."""
    slots = ["."] * num_slots
    for start, length, held in spans:
        slots[start : start + length] = "#" * held + "-" * (length - held)
    size = num_slots // width
    cells = [slots[place : place + size] for place in range(0, num_slots, size)]
    return "".join(max("#-.", key=cell.count) for cell in cells)


def main() -> None:
    r"""Print the three memories in one step of the trace, and what became of the trace in each."""
    trace, step = made_up_trace(), 40
    print(f"step {step}, 64 cells of 32 slots each: # tokens, - set aside and empty, . free\n")
    rows = []
    for name, memory in memories().items():
        moments = replay(trace, memory)
        print(f"{name:>10} {picture(moments[step - 1].spans, memory.num_slots)}")
        pressed = [moment for moment in moments if moment.waiting]
        parts = [sum(part) / len(pressed) for part in zip(*(m.account for m in pressed))]
        shares = "".join(f"{part / memory.num_slots:>10.0%}" for part in parts)
        most = max(moment.running for moment in moments)
        rows.append(f"{name:>10}{shares}{most:>14}{len(moments):>8}")
    head = "".join(f"{word:>10}" for word in ("", *Account._fields))
    print("\nof all slots, while somebody waits:")
    print(f"{head}{'most at once':>14}{'steps':>8}", *rows, sep="\n")


if __name__ == "__main__":
    main()
