r"""One query, a past of a hundred thousand tokens, and a device full of processors: who works?

A decode is one query, and its heads are few. If a program takes one key head of one request, a
model with {given}`8` of them gives the device 8 programs. Of its {given}`132 processors`
{qty}`attention-idle-processors` have nothing to do while these 8 walk through
the whole past. The work must be cut along the only long axis that is left: the past itself. Each
*segment* of it gets a program of its own, keeps its own running softmax, and writes down what it
found; a second, small kernel puts the findings together
({py:mod}`mini_vllm.attention.online_softmax` says why nothing is lost). This is Flash-Decoding
{cite}`flash-decoding`.

## How many segments?

More segments, more programs; but a segment is not free. Its program writes one row of numbers per
query head, in float32, and the merge reads it again. With a group of $g$ query heads per key
head, $d$ numbers in a head and $e$ bytes in a stored number, a segment of $p$ positions moves

$$\underbrace{2\,p\,d\,e}_{\text{keys and values}} \quad\text{and}\quad
\underbrace{2 \cdot 4\,g\,(d + 2)}_{\text{its findings, out and in}}$$

bytes. The second is to stay below a sixteenth of the first, so $p \ge 64\,g\,(d+2)/(d\,e)$: for
$g = 4$, $d = 128$ and bfloat16 {qty}`attention-smallest-segment` positions, and as many times
that for a chunk as a block has tokens. Between the two wishes
{py:func}`plan_launch` decides:

1. as many segments as bring the programs up to {py:data}`PROGRAMS_PER_PROCESSOR` a processor, so
   that while some wait for memory others compute;
2. none so short that its findings cost more than that sixteenth;
3. at most {py:data}`MOST_SEGMENTS`, which the merge holds at once; and a power of two, as each
   number of segments is a kernel that is compiled.

A batch of many requests fills the device by itself. There the answer is one segment, which means:
no second kernel. Upstream decides with two constants
({up}`vllm/v1/attention/backends/triton_attn.py#TritonAttentionMetadataBuilder.__init__`): 16
segments as long as requests times key heads are at most 128, and none beyond. It splits only where
every request has a single new token
({up}`vllm/v1/attention/ops/triton_unified_attention.py#unified_attention@"or max_seqlen_q > 1"`).

## Rows of a tile

The plan also says how many query rows a program takes at once. The query heads of a group share
their keys, so they are rows of one tile: a key is loaded once and multiplied $g$ times. A matrix
unit (NVIDIA: tensor core) wants {given}`16` rows at least, and upstream's tile
{up}`has as many
<vllm/v1/attention/ops/triton_unified_attention.py#unified_attention@"16 if num_queries_per_kv">`.
A decode of a group of 4 fills 4 of them and wastes the rest. In time that costs nothing, as long as
it waits for memory. A chunk of a prompt fills up to `MOST_ROWS`, and the more rows, the fewer times
the past is read.

Needs no torch and no device: the arithmetic of a plan can be tested and plotted anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Programs that one processor of the device should have. Chosen, not yet measured on a device.
PROGRAMS_PER_PROCESSOR = 4
#: Segments at most.
MOST_SEGMENTS = 32
#: Query rows of a tile: what a matrix unit wants, and what a program can hold. Products of float32
#: are done without that unit, in registers, of which 64 rows want more than there are.
LEAST_ROWS, MOST_ROWS, MOST_ROWS_FLOAT32 = 16, 64, 32
#: What the findings of a segment may cost, as a share of what it reads.
MOST_OVERHEAD = 1 / 16
#: Keys and values of one tile together, in bytes. With twice as much the compiler runs out of
#: registers on an Ampere device (heads of 128, 64 rows), and keeps some of it in memory.
TILE_BYTES = 16 << 10


@dataclass(frozen=True)
class LaunchPlan:
    r"""How one step's attention is dealt out to programs.

    There are `num_query_blocks * num_kv_heads * num_segments` programs. Each takes `queries` tokens
    of a request with all query heads of a group, in `rows` rows, and walks its part of the past in
    tiles of `tile` positions. With `one_query`, block `i` is request `i`.
    """

    rows: int
    queries: int
    tile: int
    num_queries: int
    num_query_blocks: int
    num_segments: int
    one_query: bool
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.num_query_blocks} blocks of {self.queries} tokens, {self.rows} rows, "
            f"{self.num_segments} segments ({self.reason})"
        )


def plan_launch(
    *,
    num_queries: int,
    num_reqs: int,
    max_query_len: int,
    max_seq_len: int,
    num_heads: int,
    num_kv_heads: int,
    head_size: int,
    element_bytes: int,
    num_processors: int,
    sliding_window: int | None = None,
    tile: int | None = None,
    smallest_segment: int | None = None,
) -> LaunchPlan:
    r"""The plan for a step of `num_queries` query tokens in `num_reqs` requests.

    Depends on the longest request and not on each, so that it can be made without asking a device;
    for a graph, `max_seq_len` is the most that any replay may see. `tile` and `smallest_segment`
    override what follows from the shape; tests use them to cut short texts.
    """
    group = num_heads // num_kv_heads
    least = max(LEAST_ROWS, _power_of_two_above(group))
    one_query = max_query_len == 1
    if one_query:
        rows, queries, num_blocks = least, 1, num_reqs
    else:
        most = MOST_ROWS if element_bytes < 4 else MOST_ROWS_FLOAT32
        rows = max(least, min(most, _power_of_two_above(max_query_len * group)))
        queries = rows // group
        # A request of n tokens takes at most n // queries + 1 blocks; see the kernel.
        num_blocks = num_queries // queries + num_reqs
    visible = max_seq_len
    if sliding_window is not None:
        visible = min(visible, sliding_window + queries - 1)
    smallest = smallest_segment or smallest_segment_for(queries * group, head_size, element_bytes)
    num_segments, reason = _segments(
        num_blocks * num_kv_heads, visible, smallest, num_processors * PROGRAMS_PER_PROCESSOR
    )
    return LaunchPlan(
        rows=rows,
        queries=queries,
        tile=tile or tile_places(head_size, element_bytes),
        num_queries=num_queries,
        num_query_blocks=num_blocks,
        num_segments=num_segments,
        one_query=one_query,
        reason=reason,
    )


def _segments(programs: int, visible: int, smallest: int, wanted: int) -> tuple[int, str]:
    room, pieces = wanted // programs, visible // smallest
    if room < 2:
        return 1, f"{programs} programs keep the device busy, {wanted} are wanted"
    if pieces < 2:
        return 1, f"{visible} positions are too few to cut: a segment has at least {smallest}"
    most = min(room, pieces, MOST_SEGMENTS)
    number = _power_of_two_above(most + 1) // 2
    return number, f"{programs} programs alone, {wanted} are wanted, segments of {smallest} or more"


def smallest_segment_for(rows: int, head_size: int, element_bytes: int) -> int:
    r"""How many positions a segment must have, so that its findings are cheap beside it.

    `rows` is how many of them a block has: query heads of a group, times tokens. Holds bytes of
    findings to {py:data}`MOST_OVERHEAD` of the bytes of keys and values.
    """
    findings = 2 * 4 * rows * (head_size + 2)
    per_position = 2 * head_size * element_bytes
    return -(-findings // int(per_position * MOST_OVERHEAD))


def tile_places(head_size: int, element_bytes: int) -> int:
    r"""How many positions a tile has: a power of two from 16 to 64.

    Keys and values of a tile take at most {py:data}`TILE_BYTES`, unless 16 positions take more.
    """
    fits = TILE_BYTES // (2 * max(_power_of_two_above(head_size), 16) * element_bytes)
    return max(16, min(64, fits))


def largest_workspace(num_heads: int, num_kv_heads: int, num_processors: int) -> int:
    r"""The most rows of findings that any plan with more than one segment can ask for.

    More than one segment is only planned while all programs together are at most as many as are
    wanted, and a program has at most `rows` rows; so this bounds it whatever the batch is.
    """
    rows = max(MOST_ROWS, _power_of_two_above(num_heads // num_kv_heads))
    return num_processors * PROGRAMS_PER_PROCESSOR * rows


def _power_of_two_above(n: int) -> int:
    # The least power of two that is at least n.
    return 1 << (n - 1).bit_length()
