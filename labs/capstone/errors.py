r"""What can go wrong before a tool has anything to say."""

from __future__ import annotations


class CapstoneError(ValueError):
    r"""Input that cannot be used: the message names the file, the place and what was expected.

    A plan with defects is no error. It is what the tools are for, and their answer to it.
    """
