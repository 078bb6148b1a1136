"""The load of `hold.py`, small enough for every run: 24 streams for ten seconds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import hold


@pytest.mark.slow
@pytest.mark.skipif(
    not (hold.CHECKPOINT / "model.safetensors").is_file(), reason="the book's model is not here"
)
def test_streams_at_once_are_complete_and_equal_to_their_answers_alone():
    result = hold.run(streams=24, seconds=10)
    assert result["problems"] == []
    assert result["streams_complete"] > 24
    assert result["streams_left_by_the_client"] > 0
    assert result["kv_cache_usage_at_the_end"] == 0
