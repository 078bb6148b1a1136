r"""When must a request stop? The contract of this rehearsal, one situation a row.

Tokens come one at a time, and the question is asked after each. An answer is the status at which it
stopped, after how many tokens and with which reason, or that it runs on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

EOS, STOP, OTHER_EOS = 7, 8, 9
RUNS = "runs on"
STOPPED, LENGTH, REPETITION = "FINISHED_STOPPED", "FINISHED_LENGTH_CAPPED", "FINISHED_REPETITION"


@dataclass(frozen=True)
class Row:
    r"""One situation: what was asked for, which tokens come, and which answers are right.

    `right` holds more than one answer where a correct repair may choose. `max_tokens_later` is a
    limit that a server lowers after the parameters were checked. The prompt has four tokens.
    """

    id: str
    says: str
    tokens: tuple[int, ...]
    right: tuple[str, ...]
    params: dict[str, Any] = field(default_factory=dict)
    max_model_len: int = 100
    max_tokens_later: int | None = None


def at(status: str, tokens: int, reason: object = None) -> str:
    return f"{status} after {tokens}" + ("" if reason is None else f" ({reason})")


TEXT = (20, 21, 22, 23, 24, 25, 26, 27)
LOOP = (30, 31, 30, 31, 30, 31)
_REPEATED = {"max_pattern_size": 4, "min_pattern_size": 2, "min_count": 3}

ROWS = (
    Row(
        "eos-is-last",
        "EOS is the last token that max_tokens allows",
        (*TEXT[:3], EOS),
        (at(STOPPED, 4),),
        {"max_tokens": 4},
    ),
    Row(
        "eos-is-last-ignored",
        "the same with ignore_eos",
        (*TEXT[:3], EOS),
        (at(LENGTH, 4),),
        {"max_tokens": 4, "ignore_eos": True},
    ),
    Row(
        "id-is-last",
        "a stop id is the last token allowed",
        (*TEXT[:3], STOP),
        (at(STOPPED, 4, STOP),),
        {"max_tokens": 4, "stop_token_ids": [STOP]},
    ),
    Row(
        "eos-below-min",
        "EOS below min_tokens",
        (*TEXT[:2], EOS, 26),
        (RUNS,),
        {"min_tokens": 5},
    ),
    Row(
        "id-below-min",
        "a stop id below min_tokens",
        (*TEXT[:2], STOP, 26),
        (RUNS,),
        {"min_tokens": 5, "stop_token_ids": [STOP]},
    ),
    Row(
        "eos-at-min",
        "EOS exactly at min_tokens",
        (*TEXT[:4], EOS),
        (at(STOPPED, 5),),
        {"min_tokens": 5},
    ),
    Row(
        "listed-eos",
        "ignore_eos, and EOS listed as a stop id",
        (*TEXT[:2], EOS),
        (at(STOPPED, 3, EOS),),
        {"ignore_eos": True, "stop_token_ids": [EOS]},
    ),
    Row(
        "second-eos",
        "a second EOS of the model's",
        (*TEXT[:2], OTHER_EOS),
        (at(STOPPED, 3, OTHER_EOS),),
    ),
    Row(
        "second-eos-ignored",
        "the same with ignore_eos",
        (*TEXT[:2], OTHER_EOS),
        (RUNS,),
        {"ignore_eos": True},
    ),
    Row("model-len", "max_model_len reached", TEXT, (at(LENGTH, 6),), max_model_len=10),
    Row("max-tokens", "max_tokens reached", TEXT, (at(LENGTH, 6),), {"max_tokens": 6}),
    Row(
        "model-len-below-min",
        "max_model_len reached below min_tokens",
        TEXT,
        (at(LENGTH, 6),),
        {"min_tokens": 20},
        max_model_len=10,
    ),
    Row(
        "max-tokens-below-min",
        "a lowered max_tokens reached below min_tokens",
        TEXT,
        (at(LENGTH, 6),),
        {"min_tokens": 20},
        max_tokens_later=6,
    ),
    Row(
        "one-short",
        "one short of max_model_len, below min_tokens",
        TEXT[:5],
        (RUNS,),
        {"min_tokens": 20},
        max_model_len=10,
    ),
    Row(
        "eos-at-the-wall",
        "EOS fills max_model_len, below min_tokens",
        (*TEXT[:5], EOS),
        (at(LENGTH, 6), at(STOPPED, 6)),
        {"min_tokens": 20},
        max_model_len=10,
    ),
    Row(
        "loop-below-min",
        "a repetition below min_tokens",
        LOOP,
        (RUNS,),
        {"min_tokens": 20, "repetition_detection": _REPEATED},
    ),
    Row(
        "loop",
        "a repetition, min_tokens reached",
        LOOP,
        (at(REPETITION, 6, "repetition_detected"),),
        {"min_tokens": 2, "repetition_detection": _REPEATED},
    ),
    Row(
        "loop-is-last",
        "a repetition ends with the last token allowed",
        LOOP,
        (at(LENGTH, 6),),
        {"max_tokens": 6, "repetition_detection": _REPEATED},
    ),
)
