r"""How far is a learner in the two labs of the last phase?

Neither lab has tests. What grades the first is the review queue, what grades the second is three
layers and the learner's own honesty. But both leave traces in `.labs/capstone/`, and a trace can be
read: these two modules are the graders that `lab.toml` names (see {py:mod}`labkit.process`). They
believe what the tools have recorded, they run the checks of `capstone plan` again rather than trust
that somebody ran them, and what only a person can know they take from a file that says so.
"""
