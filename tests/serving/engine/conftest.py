"""What the tests of the engine's process share: engines that are closed, and a loop that ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from mini_vllm.engine.async_llm import AsyncLLM
from tests.serving.engine.streams import ByteTokenizer


@pytest.fixture(scope="session")
def byte_tokenizer() -> ByteTokenizer:
    return ByteTokenizer()


@pytest.fixture
def start() -> Iterator[Callable[..., AsyncLLM]]:
    """Start engines that check themselves after every step, and end them all."""
    started: list[AsyncLLM] = []

    def start(*args: Any, **kwargs: Any) -> AsyncLLM:
        kwargs.setdefault("check_invariants", True)
        started.append(AsyncLLM.from_scripted(*args, **kwargs))
        return started[-1]

    yield start
    for llm in started:
        llm.shutdown()
        assert llm.client.core_process.exit_code is not None


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine, and never for ever."""
    return lambda coroutine: asyncio.run(asyncio.wait_for(coroutine, 30))
