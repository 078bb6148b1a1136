r"""Which blocks does a request hold, and may it have more?

The {py:mod}`block pool <mini_vllm.core.block_pool>` counts holders without knowing them. This
module knows them: for each request, the list of its blocks in the order of its tokens. That list
is the *block table*. Token `i` of the request lies in block `i // block_size` of the list, at
offset `i % block_size`, and that division is all there is to paging: no tree, no search, and
nothing that must lie side by side in memory.

The scheduler asks two questions here. When it considers a request that waits: *how much of you is
already computed?* ({py:meth}`KVCacheManager.get_computed_blocks`). When it has settled on a number
of tokens: *is there room?* ({py:meth}`KVCacheManager.allocate_slots`). The second answer is either
the new blocks, or `None`, and then nothing has changed. All or nothing is what lets the scheduler
try, evict a victim, and try again.

## The last token is always computed

A lookup may find every block of a prompt. It must not use them all: the answer's first token is
drawn from the logits of the prompt's last token, and logits are not in the cache. So a hit ends at
`num_tokens - 1`; and because hits come in whole blocks, a prompt that is fully cached and ends at
the edge of a block computes one whole block again
({up}`vllm/v1/core/kv_cache_manager.py#KVCacheManager.get_computed_blocks@"all tokens hit"`).
Engines that forget this schedule zero tokens, and a batch in which somebody has a query of length
zero.

## Room for all of it, or for this chunk?

With chunked prefill a long prompt needs few blocks *now*. Admit ten of them by that measure, and
all ten hold a part of their prompt when the pool runs dry; then they preempt one another,
recompute, and preempt again. So before a waiting request is admitted, the blocks for *all* its
tokens must be free, though only the first chunk's are taken
({up}`vllm/config/scheduler.py#SchedulerConfig.scheduler_reserve_full_isl`, on by default at the
pin). Nothing is reserved: a request that is already running may take them in the next step. The
test is a brake on admission, not a promise. There is no watermark beside it at this pin.

When room is counted, a hit is not free of charge. A cached block that nobody holds is one of the
free blocks; taking it as a hit removes it from them. Count `needed` without those, and the pool
hands out a block that the hit has just claimed
({up}`vllm/v1/core/single_type_kv_cache_manager.py#SingleTypeKVCacheManager.get_num_blocks_to_allocate`).

## What upstream has between these two

vLLM's manager asks a coordinator, which asks one manager per *kind* of layer
({up}`vllm/v1/core/kv_cache_coordinator.py#KVCacheCoordinator`,
{up}`vllm/v1/core/single_type_kv_cache_manager.py#FullAttentionManager`): a model with sliding
windows keeps several block tables per request over one pool. All layers here attend to everything,
so there is one table and no coordinator, and the code below is what remains of the three.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from mini_vllm.core.block_pool import BlockPool
from mini_vllm.core.free_block_queue import KVCacheBlock
from mini_vllm.core.prefix_hash import PrefixHasher
from mini_vllm.core.request import Request
from mini_vllm.invariants import invariant

NO_BLOCKS: tuple[KVCacheBlock, ...] = ()


class KVCacheManager:
    r"""The block tables of all requests, over one {py:class}`~mini_vllm.core.block_pool.BlockPool`.

    `num_gpu_blocks` includes the null block; `max_model_len` is in tokens. With `enable_caching`
    off, every lookup misses and nothing is ever named. A request is known here from its first
    {py:meth}`allocate_slots` until {py:meth}`free`: waiting requests hold nothing.
    Upstream: {up}`vllm/v1/core/kv_cache_manager.py#KVCacheManager`.
    """

    invariant_owner = "kv_cache_manager"

    def __init__(
        self,
        num_gpu_blocks: int,
        block_size: int,
        max_model_len: int,
        enable_caching: bool = True,
    ) -> None:
        self.block_size = block_size
        self.max_model_len = max_model_len
        self.enable_caching = enable_caching
        self.block_pool = BlockPool(num_gpu_blocks, enable_caching)
        self.block_hasher = PrefixHasher(block_size) if enable_caching else None
        # The block tables: request id -> its blocks, in the order of its tokens.
        self.req_to_blocks: dict[str, list[KVCacheBlock]] = {}
        # How many of a request's blocks, from the first, are already findable.
        self.num_cached_block: dict[str, int] = {}

    @property
    def usage(self) -> float:
        """The share of the pool in use, 0 to 1."""
        return self.block_pool.get_usage()

    def get_computed_blocks(self, request: Request) -> tuple[Sequence[KVCacheBlock], int]:
        r"""Find the longest cached prefix of a request: its blocks, and how many tokens they hold.

        Walks the request's block names from the first and stops at the first miss, or where only
        the last token would be left. Changes nothing, not even a count: a hit that is not followed
        by {py:meth}`allocate_slots` leaves no trace.
        """
        if not self.enable_caching:
            return NO_BLOCKS, 0
        # Never the whole request: somebody must compute the token whose logits come next.
        max_num_blocks = (request.num_tokens - 1) // self.block_size
        computed_blocks = []
        for block_hash in request.block_hashes[:max_num_blocks]:
            block = self.block_pool.get_cached_block(block_hash)
            if block is None:
                break
            computed_blocks.append(block)
        return computed_blocks, len(computed_blocks) * self.block_size

    def allocate_slots(
        self,
        request: Request,
        num_new_tokens: int,
        new_computed_blocks: Sequence[KVCacheBlock] = NO_BLOCKS,
        full_sequence_must_fit: bool = False,
    ) -> Sequence[KVCacheBlock] | None:
        r"""Give a request room for `num_new_tokens` more, or change nothing and return `None`.

        ```text
        |  computed  |  new_computed_blocks  |  num_new_tokens  |
        |  has them  |  hit: one holder more |  blocks if the last one is full  |
        ```

        `new_computed_blocks` are the hits of {py:meth}`get_computed_blocks`, given when a request
        is admitted and never later. With `full_sequence_must_fit`, the whole request must fit into
        what is free, not just these tokens. Returns the blocks that were added beyond the hits,
        which is nothing in most steps of a decode.

        Names every block that these tokens fill, so that they can be found from now on. Does not
        move `num_computed_tokens`: the scheduler does.
        """
        request_id = request.request_id
        req_blocks = self.req_to_blocks.get(request_id)
        num_held = len(new_computed_blocks) + (len(req_blocks) if req_blocks else 0)
        num_tokens = (
            request.num_computed_tokens
            + len(new_computed_blocks) * self.block_size
            + num_new_tokens
        )
        num_new_blocks = -(-min(num_tokens, self.max_model_len) // self.block_size) - num_held

        if num_new_blocks > 0 or new_computed_blocks:
            num_free = self.block_pool.get_num_free_blocks()
            # A hit on a free block takes it from the free ones: it costs what a new block costs.
            for block in new_computed_blocks:
                if block.ref_cnt == 0:
                    num_free -= 1
            must_fit = num_new_blocks
            if full_sequence_must_fit:
                num_full = min(request.num_tokens, self.max_model_len)
                must_fit = max(must_fit, -(-num_full // self.block_size) - num_held)
            if must_fit > num_free:
                return None

        if req_blocks is None:
            req_blocks = self.req_to_blocks[request_id] = list(new_computed_blocks)
            # The hits have their names already.
            self.num_cached_block[request_id] = len(new_computed_blocks)
            self.block_pool.touch(new_computed_blocks)

        new_blocks: Sequence[KVCacheBlock] = NO_BLOCKS
        if num_new_blocks > 0:
            new_blocks = self.block_pool.get_new_blocks(num_new_blocks)
            req_blocks.extend(new_blocks)

        if self.enable_caching:
            # Tokens that nobody has drawn yet cannot be named.
            num_full_blocks = min(num_tokens, request.num_tokens) // self.block_size
            num_cached = self.num_cached_block[request_id]
            if num_full_blocks > num_cached:
                self.block_pool.cache_full_blocks(
                    req_blocks, request.block_hashes, num_cached, num_full_blocks
                )
                self.num_cached_block[request_id] = num_full_blocks
        return new_blocks

    def forget_uncomputed(self, request: Request) -> None:
        r"""Take back the names of blocks that this request was to fill and will not.

        A block is named when room for its tokens is granted, before the model has run. When the
        grant is taken back in the same step, nobody will write those tokens, and whoever found the
        block would read what lay there before. Call it before {py:meth}`free`, while
        `num_computed_tokens` still stands where the last step that ran left it. Upstream has no
        such line: there the names stay.
        """
        req_blocks = self.req_to_blocks.get(request.request_id, NO_BLOCKS)
        written = request.num_computed_tokens // self.block_size
        named = self.num_cached_block.get(request.request_id, 0)
        if named > written:
            self.block_pool.evict_blocks(req_blocks[written:named])
            self.num_cached_block[request.request_id] = written

    def free(self, request: Request) -> None:
        r"""Give back all blocks of a request, the last one first; nothing happens if it holds none.

        Last first, so that the tail of the request is overwritten before its beginning, which
        others are likelier to share. The blocks keep their names.
        """
        req_blocks = self.req_to_blocks.pop(request.request_id, None)
        if req_blocks is not None:
            del self.num_cached_block[request.request_id]
            self.block_pool.free_blocks(reversed(req_blocks))

    def get_block_ids(self, request_id: str) -> list[int]:
        """The block table of a request, as ids; empty if it holds nothing."""
        return [block.block_id for block in self.req_to_blocks.get(request_id, NO_BLOCKS)]

    def reset_prefix_cache(self) -> bool:
        """Forget every cached prefix; refused with `False` while a request holds a block."""
        return self.block_pool.reset_prefix_cache()


@invariant(
    "refcounts-add-up",
    "A block's count is the number of block tables that hold it, and none holds it twice.",
    phase=2,
    owner="kv_cache_manager",
    anchors=(
        "vllm/v1/core/block_pool.py#BlockPool.touch",
        "vllm/v1/core/single_type_kv_cache_manager.py#SingleTypeKVCacheManager.free",
    ),
)
def _refcounts_add_up(manager: KVCacheManager) -> Iterator[str]:
    holders: Counter[int] = Counter()
    for request_id, blocks in manager.req_to_blocks.items():
        ids = [block.block_id for block in blocks]
        if len(set(ids)) != len(ids):
            yield f"request {request_id!r} holds a block twice: {ids}"
        if 0 in ids:
            yield f"request {request_id!r} holds the null block"
        holders.update(ids)
    for block in manager.block_pool.blocks:
        if not block.is_null and block.ref_cnt != holders[block.block_id]:
            yield (
                f"block {block.block_id} has ref_cnt {block.ref_cnt} and "
                f"{holders[block.block_id]} holders"
            )


@invariant(
    "cached-prefix-named",
    "The named blocks of a request are exactly those that its count of cached blocks covers.",
    phase=2,
    owner="kv_cache_manager",
    anchors=("vllm/v1/core/single_type_kv_cache_manager.py#SingleTypeKVCacheManager.cache_blocks",),
)
def _cached_prefix_named(manager: KVCacheManager) -> Iterator[str]:
    if set(manager.num_cached_block) != set(manager.req_to_blocks):
        yield "block tables and counts of cached blocks are kept for different requests"
        return
    for request_id, blocks in manager.req_to_blocks.items():
        num_cached = manager.num_cached_block[request_id]
        for index, block in enumerate(blocks):
            if (block.block_hash is not None) != (index < num_cached):
                yield f"block {index} of request {request_id!r}: named or not, against {num_cached}"


@invariant(
    "names-differ-in-a-table",
    "No block table holds two blocks of one name: duplicates are always of different requests.",
    phase=2,
    owner="kv_cache_manager",
    anchors=('vllm/v1/core/block_pool.py#BlockHashToBlockMap@"block tables are append-only"',),
)
def _names_differ_in_a_table(manager: KVCacheManager) -> Iterator[str]:
    for request_id, blocks in manager.req_to_blocks.items():
        names = [block.block_hash for block in blocks if block.block_hash is not None]
        if len(set(names)) != len(names):
            yield f"request {request_id!r} holds two blocks of one name"
