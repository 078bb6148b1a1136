r"""How can two requests find out that they begin alike, without comparing their tokens?

By comparing names. Every *full* block of tokens gets a name, a SHA-256 digest, and it is made of
two things: the block's own tokens, and the name of the block before it.

$$h_0 = \mathrm{SHA256}(h_\mathrm{root},\ t_0 \dots t_{B-1}) \qquad
  h_i = \mathrm{SHA256}(h_{i-1},\ t_{iB} \dots t_{iB+B-1})$$

Because of the chain, equal names mean equal tokens *from the first one on*. That is what makes the
lookup right: the keys and values of a token depend on everything before it, so a block may be
shared only by a request that has the same tokens at the same positions. Hash the block's own
tokens alone, and the sentence "The answer is" would be shared between two requests that reached it
by different ways: fluent, and wrong.

The chain also makes the lookup short. Without block 3 of a request nobody can use block 4, even if
it is still there under its name: what is shared must be a beginning. So a lookup walks from the
front and stops at the first miss.

Only full blocks have names. A block that is still filling up would need a new name with every
token, and a request that shared it would write its own next token into it.

## What is in the tuple

A name is the digest of bytes that say one thing only: the parent's name, then eight bytes a token.
Nothing is ambiguous, since both widths are fixed. A short or weak hash would be a bug that
serves one user's keys and values to another, once in a long while.

Upstream hashes the same pair and a third thing, the *extra keys*
({up}`vllm/v1/core/kv_cache_utils.py#hash_block_tokens`): which LoRA adapter ran, which image
stands at a placeholder, a tenant's salt
({up}`vllm/v1/core/kv_cache_utils.py#generate_block_hash_extra_keys`). Adapter and image change
what a token's keys and values are, so they must change its name; the salt changes only the name,
so that two tenants cannot share. This engine has none of them yet; whoever adds an adapter adds it
here as well.

Upstream's root is drawn at random in each process unless `PYTHONHASHSEED` is set
({up}`vllm/v1/core/kv_cache_utils.py#init_none_hash`). Ours is fixed, so that two builds of this
book print the same names.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mini_vllm.core.request import Request

#: The parent of every first block.
ROOT_HASH = hashlib.sha256(b"mini_vllm: the parent of a first block").digest()


def hash_block_tokens(parent_hash: bytes, token_ids: Sequence[int]) -> bytes:
    r"""Name one full block by a digest of its tokens and of all before them.

    `parent_hash` is the name of the block before, or {py:data}`ROOT_HASH` for the first.
    Upstream: {up}`vllm/v1/core/kv_cache_utils.py#hash_block_tokens`.
    """
    return hashlib.sha256(parent_hash + struct.pack(f"<{len(token_ids)}q", *token_ids)).digest()


class PrefixHasher:
    r"""Names the full blocks of requests, `block_size` tokens each.

    One instance serves a whole engine. A request calls it whenever one of its blocks may have
    become full, and gets the names that it lacks; the work for a token is done once, however often
    the request is looked at, preempted or scheduled. Reads the request, and does not change it.
    Upstream: {up}`vllm/v1/core/kv_cache_utils.py#get_request_block_hasher`.
    """

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self._pack = struct.Struct(f"<{block_size}q").pack

    def __call__(self, request: Request) -> list[bytes]:
        """Return the names of those full blocks of `request` that have none yet."""
        tokens, known, size = request.all_token_ids, request.block_hashes, self.block_size
        parent = known[-1] if known else ROOT_HASH
        names = []
        for start in range(len(known) * size, len(tokens) - size + 1, size):
            parent = hashlib.sha256(parent + self._pack(*tokens[start : start + size])).digest()
            names.append(parent)
        return names
