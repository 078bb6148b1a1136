r"""Numbers of the mock loop's three design scenarios; the givens stand in their briefs."""

from __future__ import annotations

import math

from book.quantities.hardware import h100_bandwidth, h100_bf16_useful
from book.quantities.llama import LLAMA3_8B, DecoderShape, llama3_8b_weight_bytes
from book.quantities.registry import quantity

SEVENTY = "config.json of Llama-3-70B: 80 layers, hidden 8,192, 64 and 8 heads of 128, 28,672"
GIVEN = "arithmetic on the numbers of the brief"
TIMES = "an H100's bandwidth, and 4e14 useful operations a second, on each of the devices"
LLAMA3_70B = DecoderShape(
    layers=80, hidden=8192, heads=64, kv_heads=8, head_dim=128, mlp=28672, vocab=128256
)
DEVICES = 4
USABLE = 0.92 * 80e9


@quantity("sc-70b-weights", unit="B", shown="GB", source=SEVENTY)
def weights_70b() -> int:
    """Weights of Llama-3-70B in bf16."""
    return 2 * LLAMA3_70B.parameters()


@quantity("sc-70b-kv-token", unit="B", source=SEVENTY)
def kv_token_70b() -> int:
    """Keys and values of a token in bf16, all layers, over all devices of a replica."""
    return LLAMA3_70B.kv_bytes_per_token()


@quantity("sc-chat-cache-tokens", unit="token", source=GIVEN)
def chat_cache_tokens() -> int:
    """Tokens of cache of a replica of 4, with 4 GB a device for all else."""
    return int((DEVICES * (USABLE - 4e9) - weights_70b()) // kv_token_70b())


def _flop_token() -> float:
    return 2 * (LLAMA3_70B.parameters() - LLAMA3_70B.vocab * LLAMA3_70B.hidden)


def _arithmetic(tokens: float) -> float:
    return tokens * _flop_token() / (DEVICES * h100_bf16_useful())


@quantity("sc-chat-step", unit="s", shown="ms", source=TIMES)
def chat_step() -> float:
    """A step of decodes alone, 20 requests of 1,650 on 4 devices: weights and cache."""
    read = weights_70b() + 20 * 1650 * kv_token_70b()
    return read / (DEVICES * h100_bandwidth())


@quantity("sc-chat-budget", unit="token", source=TIMES)
def chat_budget() -> int:
    """The largest step within 100 ms, arithmetic alone."""
    return int(0.100 / _arithmetic(1))


@quantity("sc-chat-chunk-step", unit="s", shown="ms", source=TIMES)
def chat_chunk_step() -> float:
    """A full step of 1,024."""
    return _arithmetic(1024)


def _chunks_a_second() -> float:
    return 10 / 4 * 1500 / 1024


@quantity("sc-chat-busy", unit="%", source=TIMES)
def chat_busy() -> float:
    """Share of a replica's time in steps with chunks: 2.5 prompts of 1,500 a second."""
    return 100 * _chunks_a_second() * chat_chunk_step()


@quantity("sc-chat-gap", unit="s", shown="ms", source=TIMES)
def chat_gap() -> float:
    """Mean gap between tokens: a second over its steps with and without chunks."""
    chunks = _chunks_a_second()
    return 1 / (chunks + (1 - chat_busy() / 100) / chat_step())


@quantity("sc-chat-inside", unit="request", source="Little's law")
def chat_inside() -> float:
    """Requests inside at 10 a second and 300 tokens each at that gap, all replicas."""
    return 10 * 300 * chat_gap()


@quantity("sc-chat-held", unit="token", source=GIVEN)
def chat_held() -> float:
    """Tokens that a replica's share of them holds: the prompt and half the answer."""
    return chat_inside() / 4 * 1650


@quantity("sc-chat-busy-less-one", unit="%", source=TIMES)
def chat_busy_less_one() -> float:
    """The share with chunks when three replicas carry all."""
    return chat_busy() * 4 / 3


# Adapters and schemas


def adapter_parameters(rank: int) -> int:
    """Weights of an adapter on the seven projections of each layer of Llama-3-8B."""
    m = LLAMA3_8B
    q, kv = m.heads * m.head_dim, m.kv_heads * m.head_dim
    shapes = [(m.hidden, q), (m.hidden, kv), (m.hidden, kv), (q, m.hidden)]
    shapes += [(m.hidden, m.mlp), (m.hidden, m.mlp), (m.mlp, m.hidden)]
    return m.layers * sum(rank * (a + b) for a, b in shapes)


@quantity("sc-adapter", unit="B", shown="MB", source="Llama-3-8B, rank 16, seven projections, bf16")
def adapter() -> int:
    """One adapter."""
    return 2 * adapter_parameters(16)


@quantity("sc-adapters-held", unit="B", shown="GB", source=GIVEN)
def adapters_held() -> int:
    """Sixteen places on the device."""
    return 16 * adapter()


@quantity("sc-tenant-cache", unit="token", source=GIVEN)
def tenant_cache() -> int:
    """Tokens of cache on one device of 80 GB, 6 GB for all else."""
    free = USABLE - 6e9 - llama3_8b_weight_bytes() - adapters_held()
    return int(free // LLAMA3_8B.kv_bytes_per_token())


@quantity("sc-tenant-inside", unit="request", source="Little's law")
def tenant_inside() -> float:
    """Requests inside at 60 a second and 2 s each."""
    return 60 * 2.0


@quantity("sc-tenant-mask", unit="B", shown="kB", source="one bit a word of Llama-3's vocabulary")
def tenant_mask() -> float:
    """A bit mask over the vocabulary for one request."""
    return LLAMA3_8B.vocab / 8


@quantity("sc-tenant-adapters", unit="", source="60 tenants, evenly, 30 requests on a replica")
def tenant_adapters() -> float:
    """Different adapters among 30 requests if any replica takes any tenant."""
    return 60 * (1 - (1 - 1 / 60) ** 30)


@quantity("sc-tenant-homes", unit="", source=GIVEN)
def tenant_homes() -> float:
    """Tenants of a replica if each tenant has one of 4 homes."""
    return 60 / 4


# Long context with shared documents


@quantity("sc-doc-kv", unit="B", shown="GB", source=GIVEN)
def doc_kv() -> int:
    """Keys and values of a document of 30,000 of Llama-3-8B."""
    return 30_000 * LLAMA3_8B.kv_bytes_per_token()


@quantity("sc-doc-prefill", unit="s", source=TIMES)
def doc_prefill() -> float:
    """Arithmetic of a cold document: the weights and causal attention."""
    m = LLAMA3_8B
    linear = 30_000 * 2 * (m.parameters() - m.vocab * m.hidden)
    attention = m.layers * 4 * m.heads * m.head_dim * 30_000 * 30_000 / 2
    return (linear + attention) / h100_bf16_useful()


@quantity("sc-doc-transfer", unit="s", shown="ms", source=GIVEN)
def doc_transfer() -> float:
    """Moving it at 40 GB a second."""
    return doc_kv() / 40e9


@quantity("sc-doc-fit", unit="", source=GIVEN)
def doc_fit() -> int:
    """Documents in the cache of one device of 80 GB, 6 GB for all else."""
    return int((USABLE - 6e9 - llama3_8b_weight_bytes()) // doc_kv())


@quantity("sc-doc-prefill-devices", unit="", source=GIVEN)
def doc_prefill_devices() -> int:
    """Devices busy with cold documents at 8 requests a second, a fifth of them cold."""
    return math.ceil(8 * 0.2 * doc_prefill())


@quantity("sc-doc-inside", unit="request", source="Little's law")
def doc_inside() -> float:
    """Answers being decoded at 8 a second, 400 tokens of 15 ms."""
    return 8 * 400 * 0.015


@quantity("sc-doc-step", unit="s", shown="ms", source=TIMES)
def doc_step() -> float:
    """A decode of 12 such requests on one device: weights and twelve documents."""
    return (llama3_8b_weight_bytes() + 12 * doc_kv()) / h100_bandwidth()


@quantity("sc-doc-step-fp8", unit="s", shown="ms", source=TIMES)
def doc_step_fp8() -> float:
    """A decode of 12 requests over such documents, cache in one byte an element."""
    return (llama3_8b_weight_bytes() + 12 * doc_kv() / 2) / h100_bandwidth()


@quantity("sc-tenant-compute", unit="%", source=TIMES)
def tenant_compute() -> float:
    """Share of 4 devices' arithmetic that 60 requests a second of 950 tokens take."""
    m = LLAMA3_8B
    flop = 2 * (m.parameters() - m.vocab * m.hidden)
    return 100 * 60 * 950 * flop / (4 * h100_bf16_useful())
