r"""Would a lab's tests notice if the solution were wrong?

A passing test says nothing until one has seen it fail. So the solution is broken on purpose, again
and again, and every broken version, a *mutant*, must fail at least one test. There are two kinds:

- *generic* ones, made mechanically inside the marked regions: a `<` becomes a `<=`, a 1 becomes a
  2, a statement goes missing. They are many and cheap, and ask whether each line is tested at all.
  At least 95% must die. A mutant that behaves exactly as the solution does is *equivalent*; it may
  be set aside, with the proof, and at most 5% may.
- *plausible* ones, written by hand: the mistakes that a reader would really make. They are few, and
  ask whether the tests teach. All must die.

The outcome is committed beside the lab with the hashes of what it was computed from, so that a
change of the solution or of a test shows as a stale record.
"""
