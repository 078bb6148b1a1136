"""The oracle of the whole folder: transformers, greedy, fp32, one unpadded prompt at a time."""

from __future__ import annotations

import json
import platform
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch
import transformers

#: Below this gap between the oracle's two best logits, rounding may decide. Two fp32 computations
#: of one logit differ here by less than 5e-5 (a test holds them to it), so the two best can only
#: change places where their gap is smaller than twice that. Logits span several units.
EPSILON = 1e-4
#: One near-tie may pass in this many tokens.
TOKENS_PER_NEAR_TIE = 10_000


@dataclass
class Oracle:
    """transformers on one checkpoint: greedy continuations, and logits."""

    model: Any
    _answers: dict[tuple, list[int]] = field(default_factory=dict)

    @classmethod
    def load(cls, directory: Path, dtype: torch.dtype = torch.float32) -> Oracle:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            directory, dtype=dtype, attn_implementation="eager"
        )
        return cls(model.eval())

    def generate(self, prompt: list[int], num_tokens: int) -> list[int]:
        key = (tuple(prompt), num_tokens)
        if key not in self._answers:
            with torch.no_grad():
                out = self.model.generate(
                    torch.tensor([prompt]),
                    attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                    max_new_tokens=num_tokens,
                    min_new_tokens=num_tokens,
                    do_sample=False,
                    eos_token_id=None,
                    pad_token_id=0,
                )
            self._answers[key] = out[0, len(prompt) :].tolist()
        return self._answers[key]

    def logits(self, tokens: list[int]) -> torch.Tensor:
        """Scores after each position of one sequence, `[len(tokens), vocab_size]`."""
        with torch.no_grad():
            return self.model(torch.tensor([tokens])).logits[0].float()

    def gap(self, tokens: list[int]) -> float:
        """How far the best token is ahead of the second after `tokens`."""
        best, second = self.logits(tokens)[-1].topk(2).values.tolist()
        return best - second


class Parity:
    """Compares tokens with the oracle's, and counts: tokens, near-ties, and what was exercised."""

    def __init__(self) -> None:
        self.compared: Counter[str] = Counter()
        self.exercised: Counter[str] = Counter()
        self.near_ties: list[str] = []
        self.logits: dict[str, dict[str, float]] = {}
        self._started = time.monotonic()

    def check(
        self, oracle: Oracle, prompts: Sequence[Sequence[int]], run: Any, label: str, group: str
    ) -> None:
        """Every answer of `run` against the oracle's; `group` says where its tokens are counted."""
        self.exercised["runs"] += 1
        self.exercised["requests"] += len(prompts)
        self.exercised["steps"] += run.num_steps
        self.exercised["preemptions"] += run.num_preemptions
        self.exercised["prompt chunks"] += run.num_chunks
        self.exercised["prompt tokens found in the prefix cache"] += run.num_hit_tokens
        for prompt, answer in zip(prompts, run.token_ids, strict=True):
            expected = oracle.generate(list(prompt), len(answer))
            if answer == expected:
                self.compared[group] += len(answer)
                continue
            place = next(i for i, (a, b) in enumerate(zip(answer, expected)) if a != b)
            gap = oracle.gap([*prompt, *expected[:place]])
            message = (
                f"{label}: prompt of {len(prompt)}, token {place}: {answer[place]} instead of "
                f"{expected[place]}, oracle's gap {gap:.2e}"
            )
            assert gap < EPSILON, message
            # After a near-tie the two answer different questions: nothing more to compare.
            self.compared[group] += place + 1
            self.near_ties.append(message)

    @property
    def total(self) -> int:
        return sum(self.compared.values())

    @property
    def allowed(self) -> int:
        return self.total // TOKENS_PER_NEAR_TIE

    def summary(self) -> str:
        return (
            f"parity with transformers: {self.total:,} tokens compared, "
            f"{len(self.near_ties)} near-ties (gap below {EPSILON:g}), {self.allowed} allowed"
        )

    def write(self, path: Path, **more: Any) -> None:
        """The whole count as JSON, for the page that shows it."""
        record = {
            "taken": date.today().isoformat(),
            "seconds": round(time.monotonic() - self._started),
            "tokens": self.total,
            "tokens_by_group": dict(sorted(self.compared.items())),
            "exercised": dict(sorted(self.exercised.items())),
            "epsilon": EPSILON,
            "tokens_per_near_tie": TOKENS_PER_NEAR_TIE,
            "near_ties": self.near_ties,
            "logits": dict(sorted(self.logits.items())),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
            **more,
        }
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
