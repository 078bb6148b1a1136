r"""Lab 04: a backend for every layer of a model. `test_lab.py` has tasks 1 to 5."""

from __future__ import annotations

from itertools import product

import pytest

# ---------------------------------------------------------------- task 6: a whole model


def by_head(impl, asked, names):
    r"""A `choose` that is told whom to take for which head size, and notes what it was asked."""

    def choose(cards, want, requested="auto"):
        asked.append((want, requested))
        return impl.Choice(names[want.head_size], [names[want.head_size]], {})

    impl.choose = choose


@pytest.mark.task(6)
def test_equal_layers_are_decided_once(impl):
    asked = []
    by_head(impl, asked, {64: "A", 256: "B"})
    local, wide = impl.Need(head_size=64), impl.Need(head_size=256)
    layers = {f"layer {i}": wide if i % 6 == 5 else local._replace() for i in range(12)}
    plan = impl.plan_layers({"A": impl.Card(), "B": impl.Card()}, layers, "A")
    assert plan.backends == {f"layer {i}": "B" if i % 6 == 5 else "A" for i in range(12)}
    assert plan.layout == "NHD"
    assert sorted(asked) == [(local, "A"), (wide, "A")]


@pytest.mark.task(6)
@pytest.mark.parametrize("heads", list(product([64, 128, 256], repeat=2)), ids=str)
def test_one_cache_has_one_layout(impl, heads):
    by_head(impl, [], {64: "ANY", 128: "HND", 256: "NHD"})
    cards = {
        "ANY": impl.Card(),
        "HND": impl.Card(layout="HND"),
        "NHD": impl.Card(layout="NHD"),
    }
    layers = {f"layer {i}": impl.Need(head_size=head) for i, head in enumerate(heads)}
    if set(heads) == {128, 256}:
        with pytest.raises(impl.NoBackend) as refused:
            impl.plan_layers(cards, layers)
        assert "layer 0" in str(refused.value)
        assert "layer 1" in str(refused.value)
    else:
        assert impl.plan_layers(cards, layers).layout == ("HND" if 128 in heads else "NHD")


@pytest.mark.task(6)
def test_a_model_without_layers_needs_nobody(impl):
    by_head(impl, [], {})
    assert impl.plan_layers({}, {}) == ({}, "NHD")
