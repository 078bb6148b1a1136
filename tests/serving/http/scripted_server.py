"""A server over a scripted engine, as a process: what `mini_vllm serve` runs, without a model.

Every answer is the same text, with characters of one to four bytes, a token a byte.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from http_servers import MODEL, ByteTokenizer

from mini_vllm.engine.async_llm import AsyncLLM
from mini_vllm.entrypoints.launcher import bind, serve_http
from mini_vllm.entrypoints.openai.api_server import build_app
from mini_vllm.entrypoints.openai.cli_args import ServerArgs
from mini_vllm.entrypoints.openai.serve import make_serving

TEXT = "Straße 東京 🚀 ok.\n" * 40


async def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--step-seconds", type=float, default=0.0)
    parser.add_argument("--max-num-seqs", type=int, default=64)
    parser.add_argument("--max-queued-requests", type=int, default=1024)
    parser.add_argument("--shutdown-timeout", type=float, default=10.0)
    parser.add_argument("--api-key", action="append")
    parser.add_argument("--http", default="auto")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    taken = bind("127.0.0.1", 0)
    engine = AsyncLLM.from_scripted(
        default=list(TEXT.encode()) + [256] * 64,
        tokenizer=ByteTokenizer(),
        step_seconds=args.step_seconds,
        vocab_size=257,
        max_model_len=2048,
        num_gpu_blocks=4096,
        max_num_seqs=args.max_num_seqs,
        check_invariants=True,
    )
    try:
        server_args = ServerArgs(
            served_model_name=[MODEL], max_queued_requests=args.max_queued_requests
        )
        serving = make_serving(engine, MODEL, server_args)
        app = build_app(serving, api_keys=tuple(args.api_key or ()))
        return await serve_http(
            app,
            taken,
            engine,
            serving.admission,
            shutdown_timeout=args.shutdown_timeout,
            http=args.http,
            access_log=False,
        )
    finally:
        engine.shutdown()


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
