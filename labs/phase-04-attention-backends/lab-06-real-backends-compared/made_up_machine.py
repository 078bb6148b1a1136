r"""A machine whose time the tests make up."""

from __future__ import annotations

import itertools


class Machine:
    r"""A clock, and a device that goes on working after a call has returned."""

    def __init__(self, slower=1.0):
        self.now, self.queue, self.turns, self.slower = 0.0, 0.0, [], slower

    def clock(self):
        return self.now

    def wait(self):
        self.now, self.queue = self.now + self.queue, 0.0

    def work(self, name, *seconds, asking=0.001):
        r"""Work that takes so long in its first turn, its second, and so on, again and again."""
        takes = itertools.cycle(seconds)

        def run():
            self.now += asking
            self.queue += next(takes) * self.slower ** len(self.turns)
            self.turns.append(name)

        return run
