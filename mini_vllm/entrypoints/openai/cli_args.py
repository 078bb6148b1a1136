r"""Which flags does `mini_vllm serve` take?

Those of the engine, made from the fields of {py:class}`~mini_vllm.engine.engine_args.EngineArgs`,
so that a field that is added there is a flag here; and those of the server, which are the fields of
{py:class}`ServerArgs`. Names are vLLM's where the meaning is
({up}`vllm/entrypoints/openai/cli_args.py#FrontendArgs`).

A flag of vLLM that this engine lacks is not unknown: it is taken, and refused by name unless its
value asks for nothing. `--tensor-parallel-size 1` passes, and a script written for the real server
runs, or says why it does not.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import types
from dataclasses import MISSING, dataclass, fields
from typing import Any, Union, get_args, get_origin, get_type_hints

from mini_vllm.config.compilation import CompilationConfig, CUDAGraphMode
from mini_vllm.engine.engine_args import NEUTRAL_VALUES, EngineArgs
from mini_vllm.errors import ConfigError

#: What each flag of the engine does; one that is missing here shows its name only.
ENGINE_HELP = {
    "tokenizer": "directory of the tokenizer, if it is not the model's",
    "skip_tokenizer_init": "load none: prompts and answers are token ids",
    "dtype": "auto, float32, bfloat16 or float16",
    "max_model_len": "most tokens of a prompt and its answer",
    "max_logprobs": "most alternatives that a request may ask for",
    "seed": "of the draws that have no seed of their own",
    "block_size": "tokens per block of the cache",
    "num_gpu_blocks_override": "blocks of the cache, instead of what the device has room for",
    "kv_cache_memory_bytes": "bytes of the cache, instead of a number of blocks",
    "enable_prefix_caching": "share the blocks of equal prefixes",
    "max_num_seqs": "most requests in a step",
    "max_num_batched_tokens": "most tokens in a step",
    "enable_chunked_prefill": "let a prompt be read in pieces",
    "long_prefill_token_threshold": "most tokens of one prompt in a step; 0: no such limit",
    "scheduler_reserve_full_isl": "admit a prompt only if the cache has room for all of it",
    "scheduling_policy": "fcfs or priority",
    "device": "auto, cpu or cuda",
    "attention_backend": "auto, or the name of one",
    "compilation_config": 'what is compiled and captured, such as {"cudagraph_mode": "FULL"}',
    "enforce_eager": "refuse a configuration that compiles or captures",
}


#: The same for the server.
SERVER_HELP = {
    "host": "the address to listen on",
    "port": "the port; 0 lets the system choose, and READY says which",
    "served_model_name": "names under which the model answers, instead of its path",
    "chat_template": "a file with the chat template to use",
    "api_key": "keys of which a request must have one; less visible as VLLM_API_KEY",
    "max_queued_requests": "most answers that wait; beyond them, and max_num_seqs that run, 429",
    "max_body_bytes": "longest body of a request, in bytes",
    "shutdown_timeout": "seconds that open answers have after SIGTERM",
    "enable_prompt_tokens_details": "tell in usage how many tokens of the prompt were cached",
    "enable_log_requests": "log the parameters of every request",
    "cudagraph_metrics": "log a table of steps by mode and padding, where there are graphs",
    "uvicorn_log_level": "critical, error, warning, info, debug or trace",
    "disable_uvicorn_access_log": "no line per HTTP request",
}


@dataclass(kw_only=True)
class ServerArgs:
    """The flags of the server."""

    host: str = "127.0.0.1"
    port: int = 8000
    served_model_name: list[str] | None = None
    chat_template: str | None = None
    api_key: list[str] | None = None
    max_queued_requests: int = 1024
    max_body_bytes: int = 8 * 2**20
    shutdown_timeout: float = 30.0
    enable_prompt_tokens_details: bool = False
    enable_log_requests: bool = False
    cudagraph_metrics: bool = False
    uvicorn_log_level: str = "info"
    disable_uvicorn_access_log: bool = False

    def __post_init__(self) -> None:
        limits = {"port": 0, "max_queued_requests": 0, "max_body_bytes": 1, "shutdown_timeout": 0}
        for name, least in limits.items():
            if not getattr(self, name) >= least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.port > 65535:
            raise ConfigError(f"port must be at most 65535, got {self.port}")
        levels = ("critical", "error", "warning", "info", "debug", "trace")
        if self.uvicorn_log_level not in levels:
            raise ConfigError(
                f"uvicorn_log_level must be one of {', '.join(levels)}, "
                f"got {self.uvicorn_log_level!r}"
            )


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the server's flags and the engine's, and the neutral ones without help."""
    parser.add_argument("model", help="a checkpoint directory, or a hub id")
    server = parser.add_argument_group("server")
    for one in fields(ServerArgs):
        _add_flag(server, ServerArgs, one.name, SERVER_HELP[one.name])
    engine = parser.add_argument_group("engine")
    for one in fields(EngineArgs):
        if one.name != "model":
            _add_flag(engine, EngineArgs, one.name, ENGINE_HELP.get(one.name, ""))
    for name in sorted(NEUTRAL_VALUES):
        parser.add_argument(
            _dashed(name),
            type=_literal,
            nargs="?",
            const=True,
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
        )


def parse_serve_arguments(args: argparse.Namespace) -> tuple[EngineArgs, ServerArgs]:
    r"""From parsed flags to the two records.

    Raises {py:class}`~mini_vllm.errors.ConfigError` for a value that is refused, and for
    `--cudagraph-metrics` where no graphs are asked for: there would be nothing to count.
    """
    given = dict(vars(args))
    of_server = {one.name for one in fields(ServerArgs)}
    of_engine = {one.name for one in fields(EngineArgs)} | set(NEUTRAL_VALUES)
    server = ServerArgs(**{name: given[name] for name in given if name in of_server})
    if not server.api_key and os.environ.get("VLLM_API_KEY"):
        server.api_key = [os.environ["VLLM_API_KEY"]]
    engine = EngineArgs.from_keywords(**{name: given[name] for name in given if name in of_engine})
    if server.cudagraph_metrics:
        compilation = CompilationConfig.from_value(engine.compilation_config)
        if compilation.cudagraph_mode is CUDAGraphMode.NONE:
            raise ConfigError("cudagraph_metrics=True means nothing with cudagraph_mode=NONE")
    return engine, server


def _add_flag(group: Any, record: type, name: str, about: str) -> None:
    """One flag for one field: its type and default are the field's."""
    (one,) = (one for one in fields(record) if one.name == name)
    default = None if one.default is MISSING else one.default
    kind = get_type_hints(record)[name]
    if get_origin(kind) in (types.UnionType, Union):
        (kind,) = (part for part in get_args(kind) if part is not type(None))
    options: dict[str, Any] = {"default": default, "help": f"{about} (default: {default})".strip()}
    if kind is bool:
        options["action"] = argparse.BooleanOptionalAction
    elif get_origin(kind) is list:
        options |= {"nargs": "+", "metavar": name.upper()}
    elif kind in (int, float, str):
        options |= {"type": kind, "metavar": kind.__name__.upper()}
    else:
        # A field with a structure, such as a nested configuration, is written as JSON.
        options |= {"type": _literal, "metavar": "JSON"}
    group.add_argument(_dashed(name), **options)


def _dashed(name: str) -> str:
    return "--" + name.replace("_", "-")


def _literal(text: str) -> Any:
    """A value as Python or JSON writes it; anything else is the text itself."""
    names = {"true": True, "false": False, "null": None, "none": None}
    if text.lower() in names:
        return names[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
