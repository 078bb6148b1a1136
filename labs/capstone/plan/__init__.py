r"""What will be changed, what must not be, and how will anybody know?

A change is reviewed three times: as a plan of one page, as a comment of a few hundred words in the
issue, as the description of a pull request. Each is cheaper to mend than the next. The commands
here draft all three from one another and complain of what a reviewer would ask for:

| call | what it does |
|---|---|
| `plan new PLAN.md --from TARGET` | a frame, filled in with what the pinned tree knows |
| `plan check PLAN.md` | every rule of the one-pager, one line a complaint |
| `plan blast TARGET` | who reaches this place: TP, quantization, LoRA, speculative decoding |
| `plan comment COMMENT.md --plan PLAN.md` | drafts the design comment, or checks the one there is |
| `plan pr PR.md --plan PLAN.md` | drafts the description, or checks it; `--branch` checks commits |

Reading is all that the checks do: no file that somebody wrote is changed, and git is only asked.
From the bottom up: `markdown` takes a document apart, `rules` says what is demanded and by which
line of the pinned tree, `upstream` answers questions about that tree, `ci_areas` reads which CI
step runs which test, `places` says where a test would stand; then one module for each document,
and one each for the branch and the radius.
"""
