r"""What would the anchor be called in the new release?

A proposal is made only if it resolves there: a target that looks right and does not resolve would
send a person to look for a typing error. Nothing is proposed for what is gone.
"""

from __future__ import annotations

from upstream_anchors.drift.fate import Fate
from upstream_anchors.errors import AnchorError
from upstream_anchors.resolver import Resolver
from upstream_anchors.target import Target


def suggested_target(fate: Fate, resolver: Resolver) -> str | None:
    r"""The old target with its new path and symbol, if that resolves; else `None`."""
    if fate.outcome == "gone":
        return None
    target = Target.parse(fate.target)
    name = f"{fate.path}#{fate.symbol}" if fate.symbol else fate.path
    if target.kind == "default":
        # With its new value the claim would be another claim; that is a person's to make.
        text = f"default:{name}={target.value}"
    elif target.kind == "path":
        text = f'{name}@"{target.fragment}"' if target.fragment is not None else name
    else:
        return None
    if text == fate.target:
        return None
    try:
        resolver.resolve(text)
    except AnchorError:
        return None
    return text
