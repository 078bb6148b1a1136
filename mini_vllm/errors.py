r"""What can go wrong, and whose fault is it?

An engine serves many people at once, so the first question about an error is not "what" but
"whose". A bad prompt is one caller's mistake and must cost nobody else a token. A wrong
configuration is the operator's, and the process should not start. A model that raises in the
middle of a step is everybody's: the counters have moved and the keys and values have not.

Each class below is one answer. Every message names the value and the limit that it broke, since an
error that says "too long" sends its reader to the source. All derive from
{py:class}`MiniVllmError`; those that blame an argument are also `ValueError`, so that code written
for vLLM, which raises {up}`vllm/exceptions.py#VLLMValidationError`, catches them too.
"""

from __future__ import annotations


class MiniVllmError(Exception):
    """The root of every error that this engine raises on purpose."""


class ConfigError(MiniVllmError, ValueError):
    """The operator asked for an engine that cannot be built; nothing was started."""


class CheckpointError(MiniVllmError):
    """A checkpoint does not hold what its config promises: a tensor missing, spare or misshapen."""


class RequestError(MiniVllmError, ValueError):
    r"""One request is refused; no state has changed, and all other requests go on.

    `parameter` is the name of the argument at fault and `value` what it held, for a server that
    must put them into a reply of its own ({up}`vllm/exceptions.py#VLLMValidationError` carries the
    same pair).
    """

    def __init__(self, message: str, *, parameter: str | None = None, value: object = None):
        super().__init__(message)
        self.parameter = parameter
        self.value = value


class InvariantError(MiniVllmError):
    """A named invariant does not hold: the engine is wrong, not its input."""


class GraphError(MiniVllmError):
    r"""A graph cannot hold what it was given, or would be replayed on what it was not made for.

    Most of these would be no error on a device but a wrong number, some steps later.
    """


class EngineDeadError(MiniVllmError):
    r"""A step failed half way, and the engine refuses to guess what its cache now holds.

    The scheduler advances `num_computed_tokens` before the model runs. If the model then raises,
    the counters claim keys and values that were never written, and every later token would be
    computed from noise. Upstream draws the same conclusion:
    {up}`vllm/v1/engine/exceptions.py#EngineDeadError`.
    """
