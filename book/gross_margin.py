r"""What a faster engine does to a gross margin, and when it does nothing.

A service sells tokens. Of each unit of revenue, `1 - margin` goes into serving it: a share of that
is device-hours, which get fewer per token as the engine gets faster, and the rest (support,
network, card fees) is paid per token whatever the engine does. The saying that doubled throughput
doubles the margin is this function with most of its arguments left out.
"""

from __future__ import annotations


def margin_after(
    margin: float,
    *,
    speedup: float = 1.0,
    device_share: float = 1.0,
    busy: float = 1.0,
    price: float = 1.0,
) -> float:
    r"""The gross margin after a change.

    `speedup` is tokens a device-hour, after over before, while the device works. `busy` is the
    share of its hours in which it does, after over before: a fleet that nobody shrinks, with no
    more to sell, has `busy = 1 / speedup`. `device_share` is how much of the cost of serving is
    device-hours. `price` is the price of a token, after over before.

    Raises `ValueError` for a margin of 1 or more, a share outside 0 to 1, and a factor
    of 0 or less.
    """
    if not margin < 1:
        raise ValueError(f"margin {margin}: below 1, since serving costs something")
    if not 0 <= device_share <= 1:
        raise ValueError(f"device_share {device_share}: from 0 to 1")
    for name, factor in (("speedup", speedup), ("busy", busy), ("price", price)):
        if not factor > 0:
            raise ValueError(f"{name} {factor}: more than 0")
    cost = (1 - margin) * (device_share / (speedup * busy) + 1 - device_share)
    return 1 - cost / price


def doubling_margin(*, speedup: float = 2.0, device_share: float = 1.0) -> float:
    r"""The one margin that a speedup doubles, price and use of the devices unchanged.

    With $f$ the factor by which the cost of a token falls, $1 - (1 - m) f = 2m$ has the solution
    $(1 - f) / (2 - f)$.
    """
    factor = device_share / speedup + 1 - device_share
    return (1 - factor) / (2 - factor)


def passed_on(margin: float, share: float, *, speedup: float, device_share: float = 1.0) -> float:
    r"""The price, after over before, when this share of what a token costs less goes to buyers."""
    if not 0 <= share <= 1:
        raise ValueError(f"share {share}: from 0 to 1")
    cost = 1 - margin_after(margin, speedup=speedup, device_share=device_share)
    return 1 - share * ((1 - margin) - cost)
