r"""Lab 04: counts by hand, machines made up, and a clock that is told what to say.

Nothing here fails because a machine is slow. Two predictions are answered by measuring; what is
measured is printed and not judged.
"""

from __future__ import annotations

import time

import pytest

H100 = (989e12, 3.35e12)  # operations and bytes a second, from the data sheet
TINY = (2, 6, 4, 2, 3, 10, 50)  # layers, hidden, heads, kv_heads, head_size, mlp, vocab
# queries, output: 6 x 12 each; keys, values: 6 x 6 each; gate, up, down: 6 x 10 each
TINY_LAYER = 6 * 12 + 12 * 6 + 6 * 6 + 6 * 6 + 3 * 60
TINY_TABLE = 6 * 50
FACTORS = ("less than foretold", "up to twice", "two to five times", "over five times")


def shape(impl, numbers=TINY):
    return impl.Shape(*numbers)


def chunks(impl, *pairs):
    return [impl.Chunk(*pair) for pair in pairs]


def choice(value, edges, names):
    return names[sum(value > edge for edge in edges)]


class Clock:
    r"""A clock that moves only when something runs."""

    def __init__(self, *durations):
        self.now, self.durations, self.runs = 100.0, list(durations), 0

    def __call__(self):
        return self.now

    def run(self):
        self.now += self.durations[self.runs]
        self.runs += 1


# ---------------------------------------------------------------- task 1: measuring


@pytest.mark.task(1)
@pytest.mark.parametrize(
    ("durations", "rate"),
    [((9, 2, 4, 3, 5, 6), 15.0), ((1, 6, 5, 3, 4, 5), 10.0), ((9, 5, 4, 3, 3, 2), 15.0)],
)
def test_the_best_run_counts_and_the_first_does_not(impl, durations, rate):
    clock = Clock(*durations)
    assert impl.measure(clock.run, 30, clock) == pytest.approx(rate)
    assert clock.runs == 6, "one run to warm up, and five that count"


@pytest.mark.task(1)
def test_as_many_runs_as_are_wanted(impl):
    clock = Clock(1, 8, 4, 2)
    assert impl.measure(clock.run, 16, clock, 2) == pytest.approx(4.0)
    assert clock.runs == 3


# ---------------------------------------------------------------- task 2: weights


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("numbers", "count"),
    [
        (TINY, 2 * TINY_LAYER + TINY_TABLE),
        ((1, 1, 1, 1, 1, 1, 1), 8),
        ((1, 5, 3, 1, 7, 2, 4), 5 * 7 * 8 + 30 + 20),
        ((32, 4096, 32, 8, 128, 14336, 128256), 7_504_658_432),
    ],
)
def test_every_matrix_once(impl, numbers, count):
    assert impl.weights_read(shape(impl, numbers)) == count


# ---------------------------------------------------------------- task 3: operations


def operations_by_hand(pairs):
    r"""Token by token, for the tiny shape."""
    total = 0
    for num_tokens, before in pairs:
        for place in range(num_tokens):
            seen = before + place + 1
            total += 2 * 2 * TINY_LAYER
            total += 2 * 4 * seen * (2 * 3 + 2 * 3)  # layers, heads, scores and values
        total += 2 * TINY_TABLE
    return total


@pytest.mark.task(3)
@pytest.mark.parametrize(
    "pairs",
    [[(1, 0)], [(1, 9)], [(7, 0)], [(4, 5)], [(1, 3), (1, 8), (6, 2)], [(2, 0), (2, 0)], []],
)
def test_a_step_is_its_tokens_one_by_one(impl, pairs):
    found = impl.operations(shape(impl), chunks(impl, *pairs))
    assert found == operations_by_hand(pairs)


@pytest.mark.task(3)
def test_in_two_chunks_or_in_one(impl):
    tiny, table = shape(impl), 2 * TINY_TABLE
    whole = impl.operations(tiny, chunks(impl, (10, 0)))
    halves = [impl.operations(tiny, chunks(impl, pair)) for pair in ((4, 0), (6, 4))]
    assert sum(halves) == whole + table, "only the scores after the first half are new"


# ---------------------------------------------------------------- task 4: bytes


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("pairs", "tokens"),
    [([(1, 0)], 1), ([(1, 9)], 10), ([(7, 0)], 7), ([(4, 5)], 9), ([(1, 3), (6, 2)], 12), ([], 0)],
)
@pytest.mark.parametrize("size", [1, 4])
def test_weights_once_and_everybodys_own_past(impl, pairs, tokens, size):
    impl.weights_read = lambda shape: 1000
    found = impl.moved_bytes(shape(impl), chunks(impl, *pairs), size)
    # keys and values: 2 vectors in 2 layers of 2 heads of 3 elements
    assert found == size * (1000 + 24 * tokens)


# ---------------------------------------------------------------- task 5: the roofline


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("work", "expected", "limit"),
    [
        ((1000, 10), 10.0, "arithmetic"),
        ((1000, 200), 20.0, "memory"),
        ((10, 1000), 100.0, "memory"),
        ((1000, 100), 10.0, "arithmetic"),
        ((1000, 101), 10.1, "memory"),
    ],
)
def test_the_slower_of_the_two_decides(impl, work, expected, limit):
    machine = impl.Machine(operations_per_second=100, bytes_per_second=10)
    assert impl.seconds(machine, impl.Work(*work)) == pytest.approx(expected)
    assert impl.limit(machine, impl.Work(*work)) == limit


@pytest.mark.task(5)
@pytest.mark.parametrize(("intensity", "reach"), [(0.5, 5), (9, 90), (10, 100), (11, 100)])
def test_a_slope_and_a_roof(impl, intensity, reach):
    machine = impl.Machine(operations_per_second=100, bytes_per_second=10)
    assert impl.attainable(machine, intensity) == pytest.approx(reach)


# ---------------------------------------------------------------- task 6: the corner


def given_parts(impl):
    r"""A decode does 20 operations, and 2 more a token before; weights are 600 elements."""

    def operations(shape, chunks):
        return sum(chunk.num_tokens * (20 + 2 * chunk.before) for chunk in chunks)

    def moved_bytes(shape, chunks, size):
        return size * (600 + sum(3 * (chunk.before + chunk.num_tokens) for chunk in chunks))

    def seconds(machine, work):
        return max(work[0] / machine[0], work[1] / machine[1])

    def limit(machine, work):
        return "memory" if work[1] / machine[1] > work[0] / machine[0] else "arithmetic"

    impl.weights_read = lambda shape: 600
    impl.operations, impl.moved_bytes = operations, moved_bytes
    impl.seconds, impl.limit = seconds, limit


@pytest.mark.task(6)
@pytest.mark.parametrize(
    ("machine", "before", "size", "count"),
    [
        # n * 20 / 2 >= (600 + 3 n) / 1
        ((2, 1), 0, 1, 86),
        # n * 20 / 2 >= 2 * (600 + 3 n) / 1
        ((2, 1), 0, 2, 300),
        # n * 40 / 2 >= (600 + 33 n) / 1, never; and at equal rates n * 40 >= 600 + 33 n
        ((2, 1), 10, 1, None),
        ((1, 1), 10, 1, 86),
        ((1, 1), 0, 1, 36),
        ((1, 1), 16, 1, 600),
        ((1, 1), 17, 1, None),
        # each brings as much to move as to compute, and the weights on top
        ((20, 3), 0, 1, None),
        ((1, 1000), 0, 1, 1),
    ],
)
def test_the_fewest_decodes_that_arithmetic_limits(impl, machine, before, size, count):
    given_parts(impl)
    assert impl.corner(impl.Machine(*machine), shape(impl), before, size) == count


# ---------------------------------------------------------------- all together


@pytest.mark.task(2, 3, 4, 5)
def test_an_8b_model_on_an_h100(impl, truth):
    machine = impl.Machine(*H100)
    prompt = impl.work_of(impl.LLAMA3_8B, chunks(impl, (1000, 0)), 2)
    decode = impl.work_of(impl.LLAMA3_8B, chunks(impl, (1, 1000)), 2)
    names = ("about 1.5 ms", "about 5 ms", "about 15 ms", "about 150 ms")
    truth("prompt-time", choice(1e3 * impl.seconds(machine, prompt), (3, 9, 50), names))
    assert impl.limit(machine, prompt) == "arithmetic"
    assert impl.limit(machine, decode) == "memory"
    assert 1e3 * impl.seconds(machine, prompt) == pytest.approx(14.4, abs=0.2)
    assert 1e3 * impl.seconds(machine, decode) == pytest.approx(4.5, abs=0.1)


@pytest.mark.task(2, 3, 4, 6)
def test_its_corner_and_the_past(impl, truth):
    machine = impl.Machine(*H100)
    found = impl.corner(machine, impl.LLAMA3_8B, 0, 2)
    names = ("about 3", "about 30", "about 300", "about 3,000")
    truth("corner", choice(found, (10, 100, 1000), names))
    assert 295 < found < 302
    far = impl.corner(machine, impl.LLAMA3_8B, 30_000, 2)
    names = ("about 30", "about 300", "about 3,000")
    truth("long-past", "never" if far is None else choice(far, (100, 1000), names))
    assert far is None


@pytest.mark.task(1, 2, 3, 4, 5)
def test_your_machine_measured_and_not_judged(impl, truth):
    machine = impl.this_machine()
    balance = machine.operations_per_second / machine.bytes_per_second
    names = ("under 2", "2 to 10", "10 to 50", "over 50")
    truth("machine-balance", choice(balance, (2, 10, 50), names))
    for id, pair in (("prefill-factor", (64, 0)), ("decode-factor", (1, 64))):
        [chunk] = chunks(impl, pair)
        taken = 1 / impl.measure(impl.Step(impl.SMALL, chunk), 1, time.perf_counter, 2)
        foretold = impl.seconds(machine, impl.work_of(impl.SMALL, [chunk], 4))
        truth(id, choice(taken / foretold, (1, 2, 5), FACTORS))
        assert foretold > 0
        assert taken > 0
