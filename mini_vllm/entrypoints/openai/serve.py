r"""`mini_vllm serve`: from flags to a server that runs.

The order matters. The port is taken first, because that is the cheapest thing that can fail. Then
the chat template, then the engine, which is the slow part; then the socket is opened.

A server runs for weeks, so what grows must have a bound. Requests do (the queue), blocks do (the
pool), bodies do (the edge). One that is easily overlooked is in the library below: oneDNN compiles
a kernel per shape and keeps a thousand of them, and a batch that changes its size in every step
makes a new shape in every step. The load test found it, as memory that rose for minutes;
{py:data}`KERNEL_CACHES` is the bound.

Whoever can reach the server can use it, and see what the metrics tell about others. So it listens
on this machine alone unless told otherwise, and says so when it is told.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import os
import sys
from pathlib import Path
from typing import Any

from mini_vllm import __version__
from mini_vllm.engine.async_llm import AsyncLLM
from mini_vllm.engine.engine_args import EngineArgs
from mini_vllm.entrypoints.launcher import bind, serve_http
from mini_vllm.entrypoints.openai.admission import Admission
from mini_vllm.entrypoints.openai.api_server import build_app
from mini_vllm.entrypoints.openai.chat_template import ChatTemplate, template_of_tokenizer
from mini_vllm.entrypoints.openai.cli_args import ServerArgs
from mini_vllm.entrypoints.openai.serving import Serving
from mini_vllm.errors import ConfigError
from mini_vllm.observe.cudagraph_logging import CUDAGraphLogging

logger = logging.getLogger("mini_vllm.server")

#: How many kernels oneDNN and its wrapper in torch keep, one for each shape of a product.
KERNEL_CACHES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "64"}
#: Longest chat template that is read, in bytes: real ones have a few thousand.
MAX_TEMPLATE_BYTES = 2**20


def run_server(engine_args: EngineArgs, server_args: ServerArgs) -> int:
    r"""Serve until the end; returns the exit status.

    Which one says what is in {py:mod}`mini_vllm.entrypoints.launcher`.
    """
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("mini_vllm").setLevel(logging.INFO)
    if not is_loopback(server_args.host):
        guard = "an API key guards it" if server_args.api_key else "nothing guards it: --api-key"
        logger.warning("%s can be reached from other machines; %s", server_args.host, guard)
    for name, capacity in KERNEL_CACHES.items():
        # For the engine's process, which inherits it and loads torch.
        os.environ.setdefault(name, capacity)
    taken = bind(server_args.host, server_args.port)
    template = read_template(server_args.chat_template)
    try:
        return asyncio.run(_serve(engine_args, server_args, taken, template))
    finally:
        taken.close()


async def _serve(
    engine_args: EngineArgs, server_args: ServerArgs, taken: Any, template: str | None
) -> int:
    counted = [CUDAGraphLogging()] if server_args.cudagraph_metrics else []
    engine = AsyncLLM.from_engine_args(engine_args, stat_loggers=counted)
    try:
        serving = make_serving(engine, engine_args.model, server_args, template)
        app = build_app(
            serving,
            max_body_bytes=server_args.max_body_bytes,
            api_keys=tuple(server_args.api_key or ()),
        )
        return await serve_http(
            app,
            taken,
            engine,
            serving.admission,
            shutdown_timeout=server_args.shutdown_timeout,
            log_level=server_args.uvicorn_log_level,
            access_log=not server_args.disable_uvicorn_access_log,
        )
    finally:
        engine.shutdown()
        for one in counted:
            one.log()  # what came after the last table


def make_serving(
    engine: Any, model: str, server_args: ServerArgs, template: str | None = None
) -> Serving:
    """What the routes share, from an engine and the server's flags."""
    special = getattr(engine.tokenizer, "special_tokens_map", None) or {}
    texts = {name: text for name, text in special.items() if isinstance(text, str)}
    chat_template = (
        template_of_tokenizer(engine.tokenizer)
        if template is None
        else ChatTemplate(template, texts)
    )
    max_num_seqs = engine.config.scheduler_config.max_num_seqs
    return Serving(
        engine=engine,
        model_names=tuple(server_args.served_model_name or [model]),
        admission=Admission(max_num_seqs + server_args.max_queued_requests),
        model_path=model,
        system_fingerprint=fingerprint(engine.config),
        chat_template=chat_template,
        enable_prompt_tokens_details=server_args.enable_prompt_tokens_details,
        log_requests=server_args.enable_log_requests,
    )


def fingerprint(config: Any) -> str:
    r"""A name for this server's version and configuration: equal names, comparable answers.

    Upstream: {up}`vllm/entrypoints/openai/fingerprint.py#build_system_fingerprint`.
    """
    digest = hashlib.sha256(repr(config).encode()).hexdigest()[:8]
    return f"mini_vllm-{__version__}-{digest}"


def read_template(path: str | None) -> str | None:
    """The operator's chat template; a refusal if the file cannot be read."""
    if path is None:
        return None
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(MAX_TEMPLATE_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"chat_template {path!r} cannot be read: {error}") from error
    if len(text) > MAX_TEMPLATE_BYTES:
        raise ConfigError(f"chat_template {path!r} is longer than {MAX_TEMPLATE_BYTES} bytes")
    return text


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
