r"""How long does a page take, by what stands on it?

A page says its minutes so that an evening can be planned with it, and a promise of forty minutes
that takes two hours is a defect like any other. So the minutes of `phases.toml` are checked against
what the page consists of when it is built, docstrings that are woven in included. The model is
rough on purpose: it must notice a budget that is off by half, not tell two readers apart.

| what stands there | what it takes |
|---|---|
| prose | a minute for 175 words |
| code to read | a minute for 10 lines |
| code to type, in a mini-build | a minute for 4 lines |
| output | a minute for 20 lines |
| a figure | 45 s |
| a player | 150 s |
| a displayed equation | 20 s |
| an anchor, once a page | 6 s |
| a recall question | 60 s |
| a question or an exercise | the minutes that it declares |

**Prose.** The mean for silent reading of English non-fiction is 238 words a minute, and most adults
read between 175 and 300 {cite}`reading-rate`. This prose is to be learnt from: the slow end.

**Code.** Who looks for defects does well to read at most 200 lines an hour {cite}`review-rate`.
Here the text beside the code says what to see and nobody hunts, so three times that. In a
mini-build the reader writes each line, runs it, and reads why.

**The rest** are this book's own estimates, and nobody has measured them on its readers. Axes,
legend and the point of the caption for a figure; some twenty steps, each looked at once, for a
player; the preview opened for one anchor in two or three; an answer said aloud, unfolded and
marked. A formula in a line counts as three words. Code that is folded away counts nothing.

**A lab** is mostly thinking, and is checked more loosely: its README as above, and the lines of its
solution that the starter leaves out, at 0.8 a minute, with a factor of two either way. The rate is
the median of the 22 labs of phases 00 to 03, whose minutes were set before it; they lie between
0.4 and 1.5.

Declared and counted in minutes, a time is said in hours and minutes once it is longer than two
hours (`in_words`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

PROSE_WORDS_A_MINUTE = 175
CODE_LINES_A_MINUTE = 10
TYPED_LINES_A_MINUTE = 4
OUTPUT_LINES_A_MINUTE = 20
FIGURE_SECONDS = 45
PLAYER_SECONDS = 150
EQUATION_SECONDS = 20
ANCHOR_SECONDS = 6
LAB_LINES_A_MINUTE = 0.8
RECALL_SECONDS = 60
WORDS_OF_A_FORMULA = 3

#: Above so many minutes a time is said in hours and minutes.
MOST_MINUTES = 120

#: A declared budget may be off from the model by this factor, either way.
FACTOR = 1.25
#: The same for a lab.
LAB_FACTOR = 2.0


@dataclass
class Load:
    """What stands on a page, counted; minutes come from it and from nothing else."""

    words: int = 0
    code_lines: int = 0
    typed_lines: int = 0
    output_lines: int = 0
    figures: int = 0
    players: int = 0
    equations: int = 0
    anchors: int = 0
    recalls: int = 0
    entry_minutes: int = 0
    lab_lines: int = 0
    #: Excerpts that a build without the pinned tree cannot show: such a page is not judged.
    absent: int = 0

    def minutes(self) -> float:
        """The model's minutes."""
        seconds = (
            self.figures * FIGURE_SECONDS
            + self.players * PLAYER_SECONDS
            + self.equations * EQUATION_SECONDS
            + self.anchors * ANCHOR_SECONDS
            + self.recalls * RECALL_SECONDS
        )
        return (
            self.words / PROSE_WORDS_A_MINUTE
            + self.code_lines / CODE_LINES_A_MINUTE
            + self.typed_lines / TYPED_LINES_A_MINUTE
            + self.output_lines / OUTPUT_LINES_A_MINUTE
            + self.lab_lines / LAB_LINES_A_MINUTE
            + self.entry_minutes
            + seconds / 60
        )

    def as_json(self) -> dict[str, float]:
        """Counts and minutes, for the record that a build leaves."""
        return {**asdict(self), "minutes": round(self.minutes(), 1)}


def complaint(declared: int, load: Load) -> str:
    """What is wrong with a declared budget; empty when it fits, or when nobody can tell."""
    if load.absent:
        return ""
    model = load.minutes()
    factor = LAB_FACTOR if load.lab_lines else FACTOR
    if model / factor <= declared <= model * factor or abs(declared - model) < 1:
        return ""
    parts = ", ".join(f"{value} {name}" for name, value in asdict(load).items() if value)
    return (
        f"{declared} minutes are declared, and what stands there takes about {model:.0f} "
        f"({parts}); a factor of {factor} is allowed"
    )


def in_words(minutes: int, unit: str = "minutes") -> str:
    r"""A time as a reader wants it: `98 minutes`, and `28 h 40 min` rather than 1,720 minutes.

    `unit` is what follows a time that stays in minutes. The blanks within a time do not break.
    The script of the progress says it in the same words: `timeInWords` in `progress.js`.
    """
    if minutes <= MOST_MINUTES:
        return f"{minutes} {unit}"
    hours, rest = divmod(minutes, 60)
    return f"{hours}\u00a0h\u00a0{rest}\u00a0min" if rest else f"{hours}\u00a0h"
