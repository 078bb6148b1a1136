r"""How do you know that a lab teaches what it claims?

Not by reading it. A lab is three claims, and each of them can be false. *The starter can be
solved*: so this package generates it from the solution, and fills it in again one task at a time,
to see each task's tests turn green alone. *The tests judge the idea, not the wording*: so they are
handed an implementation by a fixture and never import one. *A wrong solution does not pass*: so
the package breaks the solution in a hundred small ways, and in every way that its author could
imagine a reader getting it wrong, and counts how many of these the tests catch.

| Module | What it knows |
|---|---|
| `catalogue` | which labs there are, and what each says about itself in `lab.toml` |
| `regions` | the marked regions of a solution, and the starter that they leave behind |
| `implementation` | which of the two files a test run grades, and how it is loaded |
| `guard` | how long a test may take, so that an endless loop is a failure and not a hang |
| `plugin` | all of this as pytest sees it: fixtures, marks, the lines of the summary |
| `grading` | one lab graded in a process of its own: the verdict of every task |
| `failure` | what a learner has to read of a failure |
| `bench` | one lab's tests run many times in one process, each time on other code |
| `verify` | the proof that starter, hints, tests and solution fit together |
| `triton_simulator` | enough of Triton, in NumPy, to run a kernel and to count what it reads |
| `mutation` | broken solutions: how they are made, run, counted and committed |
| `cli` | the learner's command, `labs` |
| `maintain` | the maintainer's command, `python -m labkit` |

Nothing here imports torch, or the engine: the machinery runs on the base install.
"""
