r"""How do I see it work, from a shell?

```console
$ mini_vllm generate book/model/checkpoint --prompt "def schedule(self" --max-tokens 40
```

The answer appears as it is drawn. `--prompt` may be given several times; then all run in one batch
and each is printed when it ends. Exit status 1 and one line on the error stream say that a model,
a parameter or a prompt was refused.

```console
$ mini_vllm serve book/model/checkpoint --served-model-name book
READY http://127.0.0.1:8000
```

The same engine, in a process of its own, behind HTTP; any client of OpenAI's API can talk to it.
What the server takes and gives is on {doc}`a page of its own </book/reference/serving>`.

```console
$ mini_vllm bench --help
```

Measurements; the same as `python -m mini_vllm.bench`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
from collections.abc import Sequence

from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.errors import ConfigError, MiniVllmError
from mini_vllm.sampling_params import RequestOutputKind, SamplingParams


def build_parser() -> argparse.ArgumentParser:
    """The command line: `generate`, `serve`, and `bench`, which has a parser of its own."""
    parser = argparse.ArgumentParser(prog="mini_vllm", description="A small LLM inference engine.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_generate(commands.add_parser("generate", help="answer prompts, printing text as it comes"))
    serve = commands.add_parser("serve", help="answer over HTTP, as OpenAI's API does")
    # Its flags need the argument records only, and so no web framework.
    from mini_vllm.entrypoints.openai.cli_args import add_serve_arguments

    add_serve_arguments(serve)
    commands.add_parser("bench", help="measure; `mini_vllm bench --help`", add_help=False)
    return parser


def _add_generate(generate: argparse.ArgumentParser) -> None:
    generate.add_argument("model", help="a checkpoint directory, or a hub id")
    generate.add_argument(
        "--prompt", action="append", required=True, help="may be given several times"
    )
    generate.add_argument("--max-tokens", type=int, default=64)
    generate.add_argument("--temperature", type=float, default=0.0, help="0: the likeliest token")
    generate.add_argument("--top-p", type=float, default=1.0)
    generate.add_argument("--top-k", type=int, default=0)
    generate.add_argument("--seed", type=int, default=None)
    generate.add_argument("--stop", action="append", help="a string that ends the answer")
    generate.add_argument("--dtype", default="auto")
    generate.add_argument("--max-model-len", type=int, default=None)
    generate.add_argument("--max-num-batched-tokens", type=int, default=2048)
    generate.add_argument("--attention-backend", default="auto", help="auto, or the name of one")
    generate.add_argument(
        "--compilation-config", type=_json, metavar="JSON", help="what is compiled and captured"
    )


def _json(text: str) -> object:
    return json.loads(text)


def generate(args: argparse.Namespace) -> None:
    """Answer the prompts; stream a single one, print several as they end.

    What the engine decides at its start, such as its attention backend, goes to the error stream.
    """
    logging.basicConfig(stream=sys.stderr, format="[%(message)s]")
    logging.getLogger("mini_vllm").setLevel(logging.INFO)
    engine = LLMEngine.from_keywords(
        args.model,
        dtype=args.dtype,
        max_model_len=args.max_model_len,
        max_num_batched_tokens=args.max_num_batched_tokens,
        compilation_config=args.compilation_config,
    )
    streams = len(args.prompt) == 1
    params = SamplingParams(
        max_tokens=args.max_tokens,
        temperature=args.temperature,
        top_p=args.top_p,
        top_k=args.top_k,
        seed=args.seed,
        stop=args.stop,
        output_kind=RequestOutputKind.DELTA if streams else RequestOutputKind.FINAL_ONLY,
    )
    for index, prompt in enumerate(args.prompt):
        engine.add_request(str(index), prompt, params)
    if streams:
        print(args.prompt[0], end="", flush=True)
    while engine.has_unfinished_requests():
        for output in engine.step():
            answer = output.outputs[0]
            if streams:
                print(answer.text, end="", flush=True)
                if output.finished:
                    print(f"\n[{answer.finish_reason}]", file=sys.stderr)
            else:
                print(f"--- {output.prompt!r} [{answer.finish_reason}]\n{answer.text}", flush=True)
    if streams:
        print()


def serve(args: argparse.Namespace) -> int:
    r"""Serve until a signal; returns the exit status.

    Raises {py:class}`~mini_vllm.errors.ConfigError` where the server's libraries are missing.
    """
    from mini_vllm.entrypoints.openai.cli_args import parse_serve_arguments

    engine_args, server_args = parse_serve_arguments(args)
    try:
        from mini_vllm.entrypoints.openai.serve import run_server
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the server needs {error.name}: pip install 'inside-the-engine[serve]'"
        ) from error
    return run_server(engine_args, server_args)


def bench(argv: Sequence[str]) -> int:
    """Hand the rest of the command line to the room upstairs, which has its own parser."""
    # By name: this room is below `bench`, and must run without it.
    return importlib.import_module("mini_vllm.bench.__main__").main(list(argv))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        if argv[:1] == ["bench"]:
            return bench(argv[1:])
        args = build_parser().parse_args(argv)
        if args.command == "serve":
            return serve(args)
        generate(args)
    except MiniVllmError as error:
        print(f"mini_vllm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
