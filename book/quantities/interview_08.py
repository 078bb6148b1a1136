r"""Numbers of the mock loop's questions on speculative decoding."""

from __future__ import annotations

from book.quantities.hardware import h100_bandwidth, h100_bf16_useful
from book.quantities.llama import LLAMA3_8B, llama3_8b_flop_per_token, llama3_8b_weight_bytes
from book.quantities.registry import quantity

GEOMETRIC = "each draft accepted with the same probability, given that those before it were"
TIMES = "step times of Llama-3-8B on an H100: the longer of weights and useful arithmetic"
GIVEN = "arithmetic on the numbers of the text"
PIN = "the pinned tree's rule, computed"
ALPHA, DRAFTS, DRAFT_COST = 0.7, 4, 0.05


def tokens_a_step(alpha: float, drafts: int) -> float:
    """Expected tokens of a request in a step: accepted drafts and one more."""
    return sum(alpha**i for i in range(drafts + 1))


def step_seconds(tokens: int) -> float:
    """A step of so many tokens: the weights' bytes or the arithmetic, whichever is longer."""
    weights = llama3_8b_weight_bytes() / h100_bandwidth()
    return max(weights, tokens * llama3_8b_flop_per_token() / h100_bf16_useful())


@quantity("i08-tokens-a-step", unit="token", source=GEOMETRIC, phases=(8,))
def tokens_a_step_4() -> float:
    """Tokens a step with 4 drafts of 0.7 each."""
    return tokens_a_step(ALPHA, DRAFTS)


def _speed(drafts: int) -> float:
    return tokens_a_step(ALPHA, drafts) / (1 + drafts * DRAFT_COST)


@quantity("i08-speed-4", unit="×", source=GEOMETRIC, phases=(8,))
def speed_4() -> float:
    """Gain with 4 drafts if each costs a twentieth of a step and verification is free."""
    return _speed(4)


@quantity("i08-best-drafts", unit="", source=GEOMETRIC, phases=(8,))
def best_drafts() -> int:
    """The number of drafts at which that gain is largest."""
    return max(range(1, 30), key=_speed)


@quantity("i08-speed-best", unit="×", source=GEOMETRIC, phases=(8,))
def speed_best() -> float:
    """The gain there."""
    return _speed(best_drafts())


@quantity("i08-mean-length", unit="token", source=PIN, phases=(8,))
def mean_length() -> float:
    """Mean acceptance length for per-position rates 0.8, 0.6, 0.45."""
    return 1 + 0.8 + 0.6 + 0.45


@quantity("i08-draft-rate", unit="%", source=PIN, phases=(8,))
def draft_rate() -> float:
    """The average draft acceptance rate for the same."""
    return 100 * (0.8 + 0.6 + 0.45) / 3


@quantity("i08-third-given-second", unit="%", source=GIVEN, phases=(8,))
def third_given_second() -> float:
    """How often the third is accepted where the second was."""
    return 100 * 0.45 / 0.6


@quantity("i08-free-tokens", unit="token", source=TIMES, phases=(8,))
def free_tokens() -> int:
    """Tokens a step at which arithmetic takes as long as reading the weights."""
    weights = llama3_8b_weight_bytes() / h100_bandwidth()
    return int(weights * h100_bf16_useful() / llama3_8b_flop_per_token())


@quantity("i08-free-requests", unit="request", source=TIMES, phases=(8,))
def free_requests() -> int:
    """Requests with 4 drafts that fill it."""
    return free_tokens() // (DRAFTS + 1)


@quantity("i08-plain-256", unit="s", shown="ms", source=TIMES, phases=(8,))
def plain_256() -> float:
    """A step of 256 decodes: time a token of each request."""
    return step_seconds(256)


@quantity("i08-spec-256", unit="s", shown="ms", source=TIMES, phases=(8,))
def spec_256() -> float:
    """A step of 256 requests with 4 drafts each."""
    return step_seconds(256 * (DRAFTS + 1))


@quantity("i08-spec-256-token", unit="s", shown="ms", source=TIMES, phases=(8,))
def spec_256_token() -> float:
    """Time a token of each request there, drafting not counted."""
    return spec_256() / tokens_a_step_4()


@quantity("i08-noise", unit="B", shown="MB", source=PIN, phases=(8,))
def noise() -> int:
    """One row of float32 noise over Llama-3's vocabulary for each of 256 requests."""
    return 256 * LLAMA3_8B.vocab * 4


@quantity("i08-noise-each", unit="B", shown="MB", source=GIVEN, phases=(8,))
def noise_each() -> int:
    """A row of float32 noise for each of 4 drafts of each of 256 requests."""
    return noise() * DRAFTS


@quantity("i08-onehot-accept", unit="%", source=GIVEN, phases=(8,))
def onehot_accept() -> float:
    """Acceptance of the draft's favourite, p = (0.5, 0.3, 0.2)."""
    return 100 * 0.5


@quantity("i08-ratio-accept", unit="%", source=GIVEN, phases=(8,))
def ratio_accept() -> float:
    """Acceptance if the draft is drawn from q = (0.6, 0.3, 0.1) and the ratio is tested."""
    return 100 * sum(min(p, q) for p, q in zip((0.5, 0.3, 0.2), (0.6, 0.3, 0.1), strict=True))


def capture_sizes(query: int, largest: int = 512) -> list[int]:
    """Default capture sizes, rounded up to multiples of a uniform decode's queries."""
    sizes = [1, 2, 4, *range(8, 256, 8), *range(256, largest + 1, 16)]
    rounded = {-(-size // query) * query for size in sizes}
    return sorted(size for size in rounded if size <= largest)


@quantity("i08-largest-graph", unit="token", source=PIN, phases=(8,))
def largest_graph() -> int:
    """The largest capture size with 4 drafts."""
    return capture_sizes(DRAFTS + 1)[-1]


@quantity("i08-graph-requests", unit="request", source=PIN, phases=(8,))
def graph_requests() -> int:
    """Decodes that it holds."""
    return largest_graph() // (DRAFTS + 1)


@quantity("i08-synthetic-second", unit="%", source=PIN, phases=(8,))
def synthetic_second() -> float:
    """Rate of the second draft for a synthetic mean length of 2.5."""
    return 100 * (2.5 - 1 - 1)


@quantity("i08-synthetic-geometric", unit="%", source=GEOMETRIC, phases=(8,))
def synthetic_geometric() -> float:
    """The conditional rate at which a geometric draft of 4 has that mean length."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if tokens_a_step(middle, 4) < 2.5 else (low, middle)
    return 100 * low


@quantity("i08-lookahead", unit="block", source=GIVEN, phases=(8,))
def lookahead() -> int:
    """Blocks of 16 that 4 places ahead cost 512 requests on average."""
    return 512 * DRAFTS // 16


@quantity("i08-window-loss", unit="%", source=GIVEN, phases=(8,))
def window_loss() -> float:
    """Throughput lost while nobody drafts, if drafting had given 2.0 times."""
    return 100 * (1 - 1 / 2.0)
