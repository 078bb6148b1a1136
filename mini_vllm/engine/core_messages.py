r"""What may cross the border between two processes?

Plain values: numbers, strings, lists, and records of them. A process border is where a program
stops trusting itself, and the usual way across it in Python, pickle, runs whatever the other side
wrote. So the messages are msgpack, made from the dataclasses that the engine has anyway, and the
reader says which record it expects. A value of another kind is an error on the side that sends; a
field of another type is an error on the side that reads. Nothing is ever executed.

A message is a list of frames, the first of which says what it is:

| to the core | frames after the first | |
|---|---|---|
| `ADD` | the id; an `EngineCoreRequest` | a request |
| `ABORT` | a list of ids | nobody wants these any more |
| `UTILITY` | call id, method, arguments | a question; the answer comes with some later message |

| from the core | frames after the first | |
|---|---|---|
| `READY` | a {py:class}`CoreReady` | once, when the model is loaded |
| `OUTPUTS` | an `EngineCoreOutputs` | after each step |
| `DEAD` | a text | the last words |

The id of a request stands in a frame of its own, so that a request whose body cannot be read can
still be refused *by name*. Upstream has the same types of message
({up}`vllm/v1/engine/__init__.py#EngineCoreRequestType`) and the same encoding, with a side door for
tensors ({up}`vllm/v1/serial_utils.py#MsgpackEncoder`), since images cross its border.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from mini_vllm.config import EngineConfig
from mini_vllm.core.engine_core_output import EngineCoreOutputs
from mini_vllm.core.engine_core_request import EngineCoreRequest

# How many messages may wait on either side before the core stops to let the front-end catch up.
MAX_WAITING_MESSAGES = 256


class EngineCoreRequestType(Enum):
    r"""What a message to the core is, as its first frame.

    Upstream: {up}`vllm/v1/engine/__init__.py#EngineCoreRequestType`.
    """

    ADD = b"\x00"
    ABORT = b"\x01"
    UTILITY = b"\x03"


class EngineCoreReplyType(Enum):
    """What a message from the core is, as its first frame."""

    READY = b"READY"
    OUTPUTS = b"OUTPUTS"
    DEAD = b"ENGINE_CORE_DEAD"


@dataclass(frozen=True, kw_only=True)
class ScriptedModel:
    r"""The model of a test in plain values: an answer per request, and how long a step takes.

    See {py:class}`mini_vllm.engine.scripted_model_runner.ScriptedModelRunner`.
    """

    scripts: Mapping[str, list[int | dict[int, float]]]
    default: list[int | dict[int, float]] | None = None
    step_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CoreSetup:
    r"""All that a core's process is told at its birth.

    `directory` holds the sockets, which are its client's. With `scripted` no model is loaded.
    `num_threads` is how many threads torch may use, `None` for its own choice. With
    `check_invariants` every registered invariant of the scheduler and its blocks is checked after
    every step, and the first violation is the end: a switch for tests, it walks the whole pool.
    What the process logs at `log_level` and above goes to its error stream.
    """

    config: EngineConfig
    directory: str
    scripted: ScriptedModel | None = None
    num_threads: int | None = None
    check_invariants: bool = False
    log_level: int = logging.WARNING

    @property
    def input_address(self) -> str:
        """Where the core listens."""
        return f"ipc://{self.directory}/input"

    @property
    def output_address(self) -> str:
        """Where the core speaks."""
        return f"ipc://{self.directory}/output"


@dataclass(frozen=True, kw_only=True)
class CoreReady:
    r"""What the front-end must know of a core that has loaded its model.

    `max_num_tokens` is how far one request can get, by the model's limit and by the size of the
    cache. Upstream: {up}`vllm/v1/engine/__init__.py#EngineCoreReadyResponse`.
    """

    num_gpu_blocks: int
    max_num_tokens: int


@dataclass(frozen=True)
class UtilityCall:
    """A question to the core: the name of a method, and what to call it with."""

    call_id: int
    method: str
    args: list[Any]


encode = msgspec.msgpack.Encoder().encode
decode_setup = msgspec.msgpack.Decoder(CoreSetup).decode
decode_ready = msgspec.msgpack.Decoder(CoreReady).decode
decode_request = msgspec.msgpack.Decoder(EngineCoreRequest).decode
decode_ids = msgspec.msgpack.Decoder(list[str]).decode
decode_call = msgspec.msgpack.Decoder(UtilityCall).decode
decode_outputs = msgspec.msgpack.Decoder(EngineCoreOutputs).decode

#: What encoding or decoding a bad value may raise.
ENCODING_ERRORS = (TypeError, ValueError, OverflowError, msgspec.MsgspecError, RecursionError)
