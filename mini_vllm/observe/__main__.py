r"""`python -m mini_vllm.observe CHECKPOINT --prompt TEXT --trace FILE`: watch a run.

Runs the prompts in one batch, prints what each step did, and writes a file for
{py:mod}`Perfetto <mini_vllm.observe.perfetto>`, or with `--json` a
{py:mod}`trace file <mini_vllm.observe.trace_file>`. A checkpoint named `scripted` needs no torch:
prompts are then lists of so many tokens, and the answers are counted numbers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mini_vllm.engine.input_processor import PromptType
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.errors import MiniVllmError
from mini_vllm.observe.perfetto import write_perfetto
from mini_vllm.observe.probe import Probe
from mini_vllm.observe.trace_file import write_trace
from mini_vllm.sampling_params import SamplingParams


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m mini_vllm.observe", description="Watch the engine answer."
    )
    parser.add_argument("model", help="a checkpoint directory, or `scripted`")
    parser.add_argument("--prompt", action="append", required=True, help="text; scripted: a length")
    parser.add_argument("--max-tokens", type=int, default=16)
    parser.add_argument("--max-num-batched-tokens", type=int, default=2048)
    parser.add_argument("--max-num-seqs", type=int, default=64)
    parser.add_argument("--num-blocks", type=int, help="the size of the cache, in blocks")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write a trace for Perfetto")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a trace file")
    return parser


def build_engine(args: argparse.Namespace) -> LLMEngine:
    """The engine that the options ask for."""
    options: dict[str, Any] = {
        "max_num_batched_tokens": args.max_num_batched_tokens,
        "max_num_seqs": args.max_num_seqs,
    }
    if args.model == "scripted":
        if args.num_blocks:
            options["num_gpu_blocks"] = args.num_blocks
        return LLMEngine.from_scripted(default=lambda place: 100 + place, **options)
    return LLMEngine.from_keywords(
        args.model, max_model_len=1024, num_gpu_blocks_override=args.num_blocks, **options
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the prompts, print the table, write the files; returns the exit status."""
    args = build_parser().parse_args(argv)
    try:
        engine = build_engine(args)
        params = SamplingParams(temperature=0.0, max_tokens=args.max_tokens)
        for index, text in enumerate(args.prompt):
            prompt: PromptType = text
            if args.model == "scripted":
                prompt = {"prompt_token_ids": [7 + index] * int(text)}
            engine.add_request(str(index), prompt, params)
        with Probe(engine) as probe:
            while engine.has_unfinished_requests():
                engine.step()
    except (MiniVllmError, ValueError) as error:
        print(f"observe: {error}", file=sys.stderr)
        return 1
    # The files first: whoever reads the table may stop before its end.
    if args.trace:
        write_perfetto(probe.records, args.trace)
    if args.json:
        write_trace(probe.records, args.json)
    print(probe.trace.table())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
