r"""How much of a backend may be recorded in a CUDA graph?

A graph is a list of launches with everything in it frozen: which kernels, how many programs each,
at which addresses their arguments are. What may differ between two replays is only what lies *in*
memory. So a backend can be recorded as far as its launches do not depend on numbers that the host
reads: the lengths of the requests, the split into decodes and prompts, a plan of who computes what.

The names and their order are upstream's, since a dispatcher compares them:
{up}`vllm/v1/attention/backend.py#AttentionCGSupport`. At start-up the mode that was asked for is
resolved down to what the backend can do:
{up}`vllm/config/compilation.py#CompilationConfig.resolve_cudagraph_mode_and_sizes`.

This module needs no torch, so that the dispatcher need not either.
"""

from __future__ import annotations

from enum import Enum


class AttentionCGSupport(Enum):
    """For which batches a backend's part of a step may be recorded; a larger value allows more."""

    #: Every batch, decodes and chunks of prompts mixed.
    ALWAYS = 3
    #: Batches in which every request has the same number of new tokens (decodes that speculate).
    UNIFORM_BATCH = 2
    #: Batches in which every request has one new token.
    UNIFORM_SINGLE_TOKEN_DECODE = 1
    #: None: attention runs between the recorded pieces.
    NEVER = 0
