r"""The mock staff loop: four timed sessions, graded, and an honest matrix at the end.

An interview for a staff position asks for three things in every answer: how it works, what must
hold or what it costs, and what one would do about it on Monday. This loop asks for the same three,
takes the answers down as they are typed, and grades them by rules that are stated in advance
({py:mod}`capstone.loop.grading`).

| session | asks | from |
|---|---|---|
| rapid-fire fundamentals | eight questions | the interviews of phases 0 to 3 |
| systems deep dive | six questions | `bank/phase-04.md` to `bank/phase-08.md` |
| design | one scenario, chosen out of three | `bank/scenarios.toml` |
| debugging | two trees, walked check by check | `bank/symptoms.toml` |

The same seed asks the same questions in the same order, so two people, or one person two months
apart, can be compared.
"""
