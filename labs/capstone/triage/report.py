r"""The Gauntlet's screen: one line a check, the verdicts, the survivors by cost."""

from __future__ import annotations

from rich.console import Console

from capstone.triage.agreement import Result
from capstone.triage.findings import CHECKS, Verdict
from capstone.triage.gauntlet import Trial, ranked, rejected_minutes

_SIGNS = {Verdict.PASSED: "✓", Verdict.FAILED: "✗", Verdict.UNDECIDED: "?"}


def show_trial(trial: Trial, console: Console, everything: bool = False) -> None:
    r"""One issue: its checks, each with what decided it and where that stands."""
    console.print(f"#{trial.number}  {trial.title}")
    for outcome, minutes in zip(trial.outcomes, trial.minutes, strict=True):
        facts = outcome.evidence if everything else outcome.evidence[-1:]
        for fact in facts:
            last = fact is outcome.evidence[-1]
            sign = _SIGNS[outcome.verdict] if last else "·"
            spent = f"{minutes:.1f} min" if last else ""
            console.print(f"  {sign} {outcome.check:<13}{spent:>8}  {fact.rule}  [{fact.where}]")
    left = CHECKS[len(trial.outcomes) :]
    if left:
        console.print(f"    not looked at: {', '.join(left)}")
    console.print()


def show_verdict(trials: list[Trial], console: Console) -> None:
    r"""Who survives, cheapest first, with what each will cost and what is still open."""
    survivors = ranked(trials)
    if not survivors:
        console.print("None survives. Look for three others; these cost you little.")
    for place, trial in enumerate(survivors, start=1):
        console.print(f"{place}. #{trial.number} survives, cost {trial.cost}")
        for outcome in trial.outcomes:
            for points, reason in outcome.cost:
                console.print(f"     {points:>3}  {reason}")
        for question in trial.open_questions:
            console.print(f"       still to do: {question}")
    mean = rejected_minutes(trials)
    if mean is not None:
        count = sum(not trial.survives for trial in trials)
        console.print(f"{count} rejected, at {mean:.1f} minutes each on average.")


def show_agreement(tuned: list[Result], held: list[Result], console: Console) -> None:
    r"""Agreement on both halves of the cases, with every miss."""
    for name, results in (("tuned on", tuned), ("held out", held)):
        agreed = sum(result.agrees for result in results)
        share = 100 * agreed / len(results)
        console.print(f"{name}: {agreed} of {len(results)} agree ({share:.0f}%)")
        for result in results:
            if not result.agrees:
                fact = result.trial.decided_by
                console.print(
                    f"  #{result.case.number}: a person said {result.case.label}, because "
                    f"{result.case.why}; the checks said {result.trial.verdict}: {fact.rule}"
                )
    both = tuned + held
    mean = rejected_minutes(result.trial for result in both)
    if mean is not None:
        console.print(f"a rejected candidate took {mean * 60:.2f} s of the program's time")
