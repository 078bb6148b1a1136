r"""The tools of the last phase: from knowing the engine to a record of having changed one.

Each command reads real input, a file that `gh` printed, a plan that you wrote, the pinned tree, and
says what is wrong with it. What no program can know it asks, and keeps the answer with the date.
None of them needs the network.
"""
