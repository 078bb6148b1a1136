r"""Every decision that the engine takes, and not one tensor.

Which requests run in the next step, how many tokens each may move, which blocks hold them, who
must step back when the blocks run out, when an answer is finished. All of that is arithmetic on
counters and lists, so all of it can be tested to the bottom in milliseconds.
"""
