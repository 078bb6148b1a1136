"""A backend that a graph can hold: no host reads, and padding writes nothing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from mini_vllm.attention.metadata import AttentionMetadata  # noqa: E402
from mini_vllm.attention.torch_reference import TorchReferenceBackend  # noqa: E402
from mini_vllm.attention.torch_static import TorchStaticBackend  # noqa: E402
from mini_vllm.compilation.recorded_graph import RecordedGraph  # noqa: E402
from mini_vllm.errors import GraphError  # noqa: E402
from mini_vllm.worker.input_buffers import InputBuffers  # noqa: E402

LAYER = SimpleNamespace(
    num_heads=4, num_kv_heads=2, head_size=8, scale=0.35, sliding_window=None, logits_soft_cap=None
)
BLOCK_SIZE = 4


def step(seq_lens: list[int], query_lens: list[int]) -> AttentionMetadata:
    starts = torch.tensor([0, *query_lens]).cumsum(0).int()
    table = torch.arange(1, 1 + 4 * len(seq_lens)).view(-1, 4).int()
    positions = [range(s - q, s) for s, q in zip(seq_lens, query_lens, strict=True)]
    slots = [
        int(table[row, p // BLOCK_SIZE]) * BLOCK_SIZE + p % BLOCK_SIZE
        for row, ps in enumerate(positions)
        for p in ps
    ]
    return AttentionMetadata(
        starts, torch.tensor(seq_lens).int(), table, torch.tensor(slots),
        max(query_lens), max(seq_lens), sum(query_lens),
    )  # fmt: skip


def rows(num: int) -> list[torch.Tensor]:
    return [torch.randn(num, heads, LAYER.head_size) for heads in (4, 2, 2)]


@pytest.fixture(autouse=True)
def _no_grad():
    torch.manual_seed(3)
    with torch.no_grad():
        yield


def test_the_reference_cannot_be_captured() -> None:
    cache, metadata = torch.randn(2, 9, 2, BLOCK_SIZE, 8), step([5], [1])
    with pytest.raises(GraphError, match="inside a graph"):
        RecordedGraph().capture(
            lambda: TorchReferenceBackend().forward(LAYER, *rows(1), cache, metadata)
        )


def test_one_graph_serves_every_batch_that_is_padded_to_it() -> None:
    cache = torch.randn(2, 13, 2, BLOCK_SIZE, 8)
    cache[:, 12] = float("nan")  # a page that nobody has written
    buffers = InputBuffers(8, 3, 4, 16, torch.device("cpu"))
    inputs = [one * 0 for one in rows(8)]
    backend, graph = TorchStaticBackend(), RecordedGraph()
    empty = AttentionMetadata(
        torch.tensor([0, 3, 6, 8]).int(), torch.tensor([3, 3, 2]).int(),
        torch.zeros(3, 1).int(), torch.full((8,), -1), 3, 3, 8,
    )  # fmt: skip
    shared = buffers.load_metadata(empty, 8, 3, 8)
    before = cache.clone()
    out = graph.capture(lambda: backend.forward(LAYER, *inputs, cache, shared))
    assert torch.equal(before[:, :12], cache[:, :12])

    for seq_lens, query_lens in (([5, 9], [1, 1]), ([7, 3, 6], [4, 3, 1]), ([2], [2])):
        metadata, num = step(seq_lens, query_lens), sum(query_lens)
        given, expected_cache = rows(num), cache.clone()
        expected = TorchReferenceBackend().forward(LAYER, *given, expected_cache, metadata)
        for buffer, one in zip(inputs, given, strict=True):
            buffer[:num], buffer[num:] = one, float("inf")
        buffers.load_metadata(metadata, 8, 3, 8)
        graph.replay()
        torch.testing.assert_close(out[:num], expected, atol=2e-6, rtol=0)
        # Padding wrote nothing, not even into block 0; and the real rows wrote what they should.
        assert torch.equal(cache[:, :12], expected_cache[:, :12])


def test_padding_that_had_a_slot_would_be_seen() -> None:
    """The test above can fail: without -1 the rows that are nobody's do write."""
    cache, metadata = torch.zeros(2, 9, 2, BLOCK_SIZE, 8), step([1], [1])
    padded = AttentionMetadata(
        metadata.query_start_loc, metadata.seq_lens, metadata.block_table,
        torch.tensor([4, 0]), 1, 1, 2,
    )  # fmt: skip
    TorchStaticBackend().forward(LAYER, *rows(2), cache, padded)
    assert cache[:, 0].abs().sum() > 0
