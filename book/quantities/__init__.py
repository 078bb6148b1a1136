r"""Every number with a unit that the text states, computed.

A number typed into prose is right on the day it is typed. Here each one is a function with a unit
and a source; pages, docstrings and cheat sheets print it with {qty}, and
`python -m book.quantities.lint` finds those that were typed after all.
"""

from book.quantities.registry import (
    Quantity,
    QuantityError,
    all_quantities,
    get,
    printed,
    quantity,
)

__all__ = ["Quantity", "QuantityError", "all_quantities", "get", "printed", "quantity"]
