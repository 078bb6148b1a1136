r"""What has the model learnt? Every figure of the model card, from text that it has not seen.

The unit of training is nats per token, but a token is what a tokenizer made it: with larger tokens
the same model has a larger loss. **Bits per byte** has no such excuse. It is the size of the
held-out text, in bits, after compression by the model, divided by its size in bytes; 8 is no
compression at all.

Three baselines say how much of a loss is easy: every token equally likely, the frequencies of the
training text, and the frequencies given the token before (mixed with the former, so that an unseen
pair costs no infinity).

All of it reads the *published* checkpoint, in bfloat16 on disk and computed in float32, not the
weights that training ended with.

    python -m book.model.evaluate
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from book.model import corpus, journal
from book.model.batches import encode
from book.model.recipe import RECIPES, Recipe

POSITIONS_PROBED = 4096  # four times the trained length: far enough to see where quality ends
PAIR_WEIGHT = 0.8


@dataclass(frozen=True)
class Figures:
    r"""What the model card says of one checkpoint, measured on all of the held-out text."""

    parameters: int
    checkpoint_bytes: int
    trained_length: int
    train_tokens: int
    heldout_tokens: int
    heldout_bytes: int
    loss: float
    perplexity: float
    bits_per_byte: float
    top1_accuracy: float
    loss_by_position: list[float]


def load(folder: Path) -> PreTrainedModel:
    r"""The published checkpoint in float32, ready for inference."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.inference_mode()
def token_losses(model: PreTrainedModel, tokens: Tensor) -> tuple[Tensor, Tensor]:
    r"""Nats of every token but the first of `[windows, length]`, and whether it was guessed.

    Both results have shape `[windows, length - 1]`.
    """
    logits = model(tokens[:, :-1], use_cache=False).logits  # [windows, length - 1, vocab]
    targets = tokens[:, 1:]
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return losses.view_as(targets), logits.argmax(-1) == targets


def windows_of(tokens: np.ndarray, window: int) -> list[Tensor]:
    r"""The ribbon in pieces of `window + 1`, neighbours sharing a token; the last is shorter."""
    ids = torch.from_numpy(tokens.astype(np.int64))
    return [ids[None, start : start + window + 1] for start in range(0, len(ids) - 1, window)]


def measure(recipe: Recipe, heldout: list[np.ndarray], heldout_bytes: int) -> Figures:
    r"""Evaluate one published checkpoint; `heldout` are documents as tokens."""
    folder = corpus.HERE / recipe.folder
    model = load(folder)
    ribbon = np.concatenate(heldout)
    losses, hits = [], []
    for piece in track(windows_of(ribbon, recipe.trained_length), f"{recipe.name}: loss"):
        loss, hit = token_losses(model, piece)
        losses.append(loss.flatten())
        hits.append(hit.flatten())
    nats = torch.cat(losses).double()
    mean = nats.mean().item()
    return Figures(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        checkpoint_bytes=sum(path.stat().st_size for path in folder.iterdir()),
        trained_length=recipe.trained_length,
        train_tokens=journal.read(recipe.name)[-1]["tokens"],
        heldout_tokens=len(nats),
        heldout_bytes=heldout_bytes,
        loss=round(mean, 4),
        perplexity=round(math.exp(mean), 3),
        bits_per_byte=round(nats.sum().item() / math.log(2) / heldout_bytes, 4),
        top1_accuracy=round(torch.cat(hits).double().mean().item(), 4),
        loss_by_position=_by_position(model, ribbon),
    )


def baselines(train: list[np.ndarray], heldout: list[np.ndarray], vocab: int) -> dict[str, float]:
    r"""Nats per held-out token of three models that are tables."""
    seen, ribbon = np.concatenate(train).astype(np.int64), np.concatenate(heldout).astype(np.int64)
    single = np.bincount(seen, minlength=vocab) + 1.0
    single /= single.sum()
    pairs = np.bincount(seen[:-1] * vocab + seen[1:], minlength=vocab * vocab)
    after = np.maximum(pairs.reshape(vocab, vocab).sum(1), 1)
    before, current = ribbon[:-1], ribbon[1:]
    given = pairs[before * vocab + current] / after[before]
    mixed = PAIR_WEIGHT * given + (1 - PAIR_WEIGHT) * single[current]
    return {
        "uniform": round(math.log(vocab), 4),
        "frequency": round(-np.log(single[current]).mean().item(), 4),
        "pair": round(-np.log(mixed).mean().item(), 4),
    }


def main() -> None:
    r"""Measure every published checkpoint and write `training/figures.json`."""
    texts = corpus.read()
    tokenizer = AutoTokenizer.from_pretrained(corpus.HERE / RECIPES["target"].folder)
    train = encode(tokenizer, [document.text for document in texts.train])
    heldout = encode(tokenizer, [document.text for document in texts.heldout])
    heldout_bytes = sum(document.num_bytes for document in texts.heldout)
    result: dict[str, object] = {
        "tokens": {"train": sum(map(len, train)), "heldout": sum(map(len, heldout))},
        "baselines": baselines(train, heldout, len(tokenizer)),
    }
    for name, recipe in RECIPES.items():
        result[name] = asdict(measure(recipe, heldout, heldout_bytes))
    journal.FIGURES.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(journal.FIGURES)


def _by_position(model: PreTrainedModel, ribbon: np.ndarray) -> list[float]:
    r"""Mean loss of each run of `journal.BUCKET` positions, far past the trained length."""
    rows = [
        token_losses(model, piece)[0]
        for piece in track(windows_of(ribbon, POSITIONS_PROBED), "loss by position")
        if piece.shape[1] == POSITIONS_PROBED + 1
    ]
    by_position = torch.cat(rows).mean(0).view(-1, journal.BUCKET).mean(1)
    return [round(value, 4) for value in by_position.tolist()]


if __name__ == "__main__":
    main()
