r"""`python -m mini_vllm.bench COMMAND`, or `mini_vllm bench COMMAND`.

{py:mod}`mini_vllm.bench` says what for. Each command lives in a module of its own, which adds its
options and runs it; this one only finds it.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

#: Command, the module that has `add_arguments` and `main`, and what it is for.
COMMANDS = {
    "latency": ("latency", "seconds for one fixed batch, with percentiles"),
    "throughput": ("throughput", "output tokens per second beside transformers' generate"),
    "serve": ("serve", "load on an OpenAI-compatible server: TTFT, time per token, goodput"),
    "compare": ("compare", "two records of latency or serve as a before/after table"),
    "gpu": ("gpu.run", "shares of a CUDA device's limits, graphs, and throughput on it"),
    "side-by-side": ("side_by_side", "every work beside vLLM and transformers, for the book"),
}


def build_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The command line; only the command that is named loads its module."""
    parser = argparse.ArgumentParser(prog="mini_vllm bench", description="Measure.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name in argv:
            importlib.import_module(f"mini_vllm.bench.{module}").add_arguments(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    args = build_parser(argv).parse_args(argv)
    module, _ = COMMANDS[args.command]
    result: int = importlib.import_module(f"mini_vllm.bench.{module}").main(args)
    return result


if __name__ == "__main__":
    raise SystemExit(main())
