r"""The pictures and tables of the model card, drawn from the files that the runs wrote."""

from __future__ import annotations

import itertools

from matplotlib.figure import Figure

from book.figures import palette, plt
from book.model.journal import BUCKET

COLOURS = {"target": palette.blue, "draft": palette.orange}


def loss_curves(journals: dict[str, list[dict]], baselines: dict[str, float]) -> Figure:
    r"""Loss against tokens seen: training as a thin line, held-out text as dots."""
    figure, axes = plt.subplots(figsize=(7.2, 4.2))
    for name, records in journals.items():
        colour = COLOURS[name]
        axes.plot(
            [record["tokens"] / 1e6 for record in records],
            [record["train_loss"] for record in records],
            color=colour,
            lw=0.7,
            alpha=0.6,
        )
        held = [record for record in records if "heldout_loss" in record]
        axes.plot(
            [record["tokens"] / 1e6 for record in held],
            [record["heldout_loss"] for record in held],
            "o",
            ms=4,
            color=colour,
            label=f"{name}, held out",
        )
    for before, after in itertools.pairwise(journals["target"]):
        if after["epoch"] > before["epoch"]:
            axes.axvline(before["tokens"] / 1e6, color=palette.muted, lw=0.8, ls=":")
            axes.annotate(
                "a new epoch, longer windows",
                (before["tokens"] / 1e6, 0.97),
                xycoords=("data", "axes fraction"),
                xytext=(3, 0),
                textcoords="offset points",
                va="top",
                fontsize=9,
                color=palette.muted,
            )
    for name, label in (("frequency", "frequencies alone"), ("pair", "the token before")):
        axes.axhline(baselines[name], color=palette.muted, lw=0.8, ls="--")
        axes.annotate(
            label,
            (0.5, baselines[name]),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            va="bottom",
            fontsize=9,
            color=palette.muted,
        )
    axes.set(xlabel="tokens seen, millions", ylabel="loss, nats per token", xlim=(0, None))
    axes.set_ylim(1.5, baselines["uniform"])
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.78))
    return figure


def loss_by_position(figures: dict[str, dict]) -> Figure:
    r"""Held-out loss against the position in the window, to well past the trained length."""
    figure, axes = plt.subplots(figsize=(7.2, 3.2))
    for name, colour in COLOURS.items():
        losses = figures[name]["loss_by_position"]
        middles = [BUCKET * (index + 0.5) for index in range(len(losses))]
        axes.plot(middles, losses, "o-", ms=3, lw=1.2, color=colour, label=name)
    trained = figures["target"]["trained_length"]
    axes.axvline(trained, color=palette.muted, lw=0.8, ls="--")
    axes.annotate(
        "trained length",
        (trained, 1),
        xycoords=("data", "axes fraction"),
        xytext=(3, 0),
        textcoords="offset points",
        va="top",
        fontsize=9,
        color=palette.muted,
    )
    axes.set(xlabel="position in the window, tokens", ylabel="loss, nats per token", xlim=(0, None))
    axes.legend()
    return figure


def as_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    r"""A Markdown table; the first column is text, the others are figures."""
    rule = ("---", *["---:"] * (len(header) - 1))
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def figures_table(figures: dict) -> str:
    r"""The card's main table, one column a checkpoint."""
    lines = {
        "parameters": lambda f: f"{f['parameters']:,}",
        "folder, MB": lambda f: f"{f['checkpoint_bytes'] / 1e6:.2f}",
        "tokens seen in training": lambda f: f"{f['train_tokens']:,}",
        "trained length, tokens": lambda f: f"{f['trained_length']:,}",
        "held-out loss, nats per token": lambda f: f"{f['loss']:.3f}",
        "held-out perplexity": lambda f: f"{f['perplexity']:.2f}",
        "bits per byte": lambda f: f"{f['bits_per_byte']:.3f}",
        "next token guessed": lambda f: f"{f['top1_accuracy']:.1%}",
    }
    rows = [
        (label, show(figures["target"]), show(figures["draft"])) for label, show in lines.items()
    ]
    return as_table(("", "target", "draft"), rows)


def baseline_table(figures: dict) -> str:
    r"""What a loss is made of: tables that count, then the two models."""
    losses = {
        "every token equally likely": figures["baselines"]["uniform"],
        "frequencies of the training text": figures["baselines"]["frequency"],
        "frequencies given the token before": figures["baselines"]["pair"],
        "the draft": figures["draft"]["loss"],
        "the target": figures["target"]["loss"],
    }
    rows = [(name, f"{loss:.3f}") for name, loss in losses.items()]
    return as_table(("predictor", "nats per held-out token"), rows)
