r"""How do I see it work, from a shell?

```console
$ mini_vllm generate book/model/checkpoint --prompt "def schedule(self" --max-tokens 40
```

The answer appears as it is drawn. `--prompt` may be given several times; then all run in one batch
and each is printed when it ends. Exit status 1 and one line on the error stream say that a model,
a parameter or a prompt was refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.errors import MiniVllmError
from mini_vllm.sampling_params import RequestOutputKind, SamplingParams


def build_parser() -> argparse.ArgumentParser:
    """The command line: one command so far."""
    parser = argparse.ArgumentParser(prog="mini_vllm", description="A small LLM inference engine.")
    commands = parser.add_subparsers(dest="command", required=True)
    generate = commands.add_parser("generate", help="answer prompts, printing text as it comes")
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
    return parser


def generate(args: argparse.Namespace) -> None:
    """Answer the prompts; stream a single one, print several as they end."""
    engine = LLMEngine.from_keywords(
        args.model,
        dtype=args.dtype,
        max_model_len=args.max_model_len,
        max_num_batched_tokens=args.max_num_batched_tokens,
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = build_parser().parse_args(argv)
    try:
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
