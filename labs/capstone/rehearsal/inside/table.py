r"""Ask one implementation when it stops, row by row.

`table.py FOUND VLLM VERSION`. Tokens are appended one at a time and `check_stop` is asked after
each, as the scheduler does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import importing
from rows import EOS, OTHER_EOS, ROWS, RUNS, Row, at


def ask(row: Row) -> str:
    r"""What this implementation does with one row; an exception is an answer too."""
    from vllm.sampling_params import RepetitionDetectionParams, SamplingParams
    from vllm.v1.core.sched.utils import check_stop
    from vllm.v1.request import Request

    settings = {"max_tokens": 50, **row.params}
    if (repeated := settings.get("repetition_detection")) is not None:
        settings["repetition_detection"] = RepetitionDetectionParams(**repeated)
    params = SamplingParams(**settings)
    params.update_from_generation_config({"eos_token_id": [EOS, OTHER_EOS]}, EOS)
    request = Request(
        request_id=row.id,
        prompt_token_ids=[1, 2, 3, 4],
        sampling_params=params,
        pooling_params=None,
    )
    if row.max_tokens_later is not None:
        request.max_tokens = row.max_tokens_later
    for number, token in enumerate(row.tokens, start=1):
        request.append_output_token_ids(token)
        if check_stop(request, row.max_model_len):
            return at(request.status.name, number, request.stop_reason)
        if request.is_finished():
            return f"{request.status.name} without saying so"
    return RUNS


def main() -> int:
    found, vllm, version = sys.argv[1:]
    importing.use(Path(vllm), version)
    answers = {}
    for row in ROWS:
        try:
            answers[row.id] = ask(row)
        except Exception as error:
            answers[row.id] = f"{type(error).__name__}: {error}"[:120]
    importing.report(found, answers=answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
