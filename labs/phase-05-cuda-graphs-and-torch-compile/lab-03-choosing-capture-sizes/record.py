r"""How `trace.txt` was made: the tokens of every step of an engine under an uneven load.

The scheduler is the engine's own, the model a script. Requests come in two waves, with a lull
between them. From this folder, with `labs/` and the repository on Python's path:

    python record.py > trace.txt
"""

from __future__ import annotations

import math
import random

from labkit.engines import request, scripted_engine

STEPS, SEATS, BUDGET, LONGEST = 2400, 64, 512, 512


def arrivals(random: random.Random) -> list[tuple[int, int, int]]:
    r"""Requests as (step, tokens of the prompt, tokens of the answer)."""
    made = []
    for step in range(STEPS):
        # Two waves, and the second one higher.
        often = 0.34 * math.sin(2 * math.pi * step / STEPS) ** 2 * (0.6 + step / STEPS)
        while random.random() < often:
            prompt = int(min(LONGEST // 2, random.lognormvariate(4.0, 0.8))) + 1
            made.append((step, prompt, random.randint(20, LONGEST // 2)))
    return made


def main() -> None:
    r"""Run the load, and print how many tokens each step had, in lines of twenty."""
    engine = scripted_engine(
        budget=BUDGET, seats=SEATS, blocks=4096, block_size=16, max_model_len=LONGEST
    )
    tokens: list[int] = []
    schedule = engine.scheduler.schedule

    def watched() -> object:
        planned = schedule()
        tokens.append(planned.total_num_scheduled_tokens)
        return planned

    engine.scheduler.schedule = watched
    waiting = arrivals(random.Random(5))
    for step in range(STEPS):
        while waiting and waiting[0][0] <= step:
            _, prompt, answer = waiting.pop(0)
            ids = [len(waiting), *range(1, prompt)]
            engine.add_request(request(f"r{len(waiting)}", ids, max_tokens=answer))
        engine.step()
    busy = [count for count in tokens if count]
    for start in range(0, len(busy), 20):
        print(*busy[start : start + 20])


if __name__ == "__main__":
    main()
