r"""Lab 04: cards, needs and choices, whoever chooses. `test_plan.py` has task 6."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.properties import examples

ALL = ["FLASH_ATTN", "FLASHINFER", "TRITON_ATTN", "FLEX_ATTENTION", "TURBOQUANT"]
T4, A100, H100, B200, DESKTOP = (7, 5), (8, 0), (9, 0), (10, 0), (12, 0)


def fields(reasons):
    return [reason.field for reason in reasons]


# ---------------------------------------------------------------- task 1: block sizes


@pytest.mark.task(1)
@pytest.mark.parametrize(
    ("sizes", "default", "found"),
    [
        ((16,), 16, 16),
        ((16,), 48, 48),
        ((16,), 8, 16),
        ((16,), 24, 16),
        ((64, 32), 16, 32),
        ((16, 32, 64), 128, 128),
        ((32, 48), 96, 96),
        ((32, 48), 144, 144),
        ((32, 48), 80, 32),
    ],
)
def test_a_default_stays_if_the_kernel_can_cut_it(impl, sizes, default, found):
    assert impl.block_size_for(impl.Card(block_sizes=sizes), default) == found


# ---------------------------------------------------------------- task 2: reasons


#: What the card of the next tests can do, and a need that asks for one thing too many.
def a_card(impl):
    return impl.Card(
        dtypes=("float16", "bfloat16"),
        kv_cache_dtypes={"auto": ((0, 0), (99, 9)), "fp8": ((9, 0), (9, 9))},
        head_sizes=(64, 80, 96, 128),
        head_multiple=16,
        head_min=80,
        head_max=96,
        block_sizes=(16, 64),
        capabilities=((8, 0), (12, 1)),
        sinks=((9, 0), (10, 9)),
        attn_types=("decoder", "encoder_only"),
    )


FITTING = [
    {},
    {"head_size": 96},
    {"dtype": "float16"},
    {"kv_cache_dtype": "fp8"},
    {"kv_cache_dtype": "fp8", "capability": (9, 9)},
    {"block_size": 16},
    {"block_size": 48},
    {"has_sinks": True},
    {"has_sinks": True, "capability": (10, 9)},
    {"capability": (8, 0)},
    {"capability": (12, 1)},
    {"attn_type": "encoder_only"},
]
LACKING = [
    ("head_size", {"head_size": 64}),
    ("head_size", {"head_size": 128}),
    ("head_size", {"head_size": 88}),
    ("head_size", {"head_size": 112}),
    ("dtype", {"dtype": "float32"}),
    ("kv_cache_dtype", {"kv_cache_dtype": "fp8_e5m2"}),
    ("kv_cache_dtype", {"kv_cache_dtype": "fp8", "capability": (8, 9)}),
    ("kv_cache_dtype", {"kv_cache_dtype": "fp8", "capability": (10, 0)}),
    ("block_size", {"block_size": 8}),
    ("block_size", {"block_size": 24}),
    ("has_sinks", {"has_sinks": True, "capability": (8, 9)}),
    ("has_sinks", {"has_sinks": True, "capability": (12, 0)}),
    ("capability", {"capability": (7, 5)}),
    ("capability", {"capability": (12, 2)}),
    ("attn_type", {"attn_type": "encoder"}),
]


def need(impl, **wants):
    return impl.Need(**{"head_size": 80, **wants})


@pytest.mark.task(2)
@pytest.mark.parametrize("wants", FITTING, ids=str)
def test_nothing_stands_against_what_fits(impl, wants):
    assert impl.reasons(a_card(impl), need(impl, **wants)) == []


@pytest.mark.task(2)
@pytest.mark.parametrize(("field", "wants"), LACKING, ids=str)
def test_one_thing_that_lacks_is_named_with_its_value(impl, field, wants):
    assert impl.reasons(a_card(impl), need(impl, **wants)) == [impl.Reason(field, wants[field])]


@pytest.mark.task(2)
def test_each_rule_of_a_head_size_is_enough_alone(impl):
    for card, sizes in [
        (impl.Card(head_sizes=(64, 128)), {64: True, 96: False, 128: True}),
        (impl.Card(head_multiple=8), {8: True, 12: False, 264: True}),
        (impl.Card(head_min=32), {31: False, 32: True}),
        (impl.Card(head_max=256), {256: True, 257: False}),
    ]:
        for size, fits in sizes.items():
            assert (impl.reasons(card, impl.Need(head_size=size)) == []) == fits, (card, size)


@pytest.mark.task(2)
def test_a_card_without_sinks_lacks_them_everywhere(impl):
    for capability in (A100, H100, B200):
        want = impl.Need(capability, has_sinks=True)
        assert fields(impl.reasons(impl.Card(), want)) == ["has_sinks"]


@pytest.mark.task(2)
def test_everything_is_said_and_not_only_the_first(impl):
    asks = impl.Need((7, 0), 40, "float32", "nvfp4", 24, True, "encoder")
    found = impl.reasons(a_card(impl), asks)
    assert fields(found) == [
        *("head_size", "dtype", "kv_cache_dtype", "block_size"),
        *("has_sinks", "capability", "attn_type"),
    ]
    assert [reason.value for reason in found] == [
        *(40, "float32", "nvfp4", 24, True, (7, 0), "encoder")
    ]


@pytest.mark.task(2)
def test_how_many_fit_a_block_of_24(impl, truth):
    want = impl.Need(H100, block_size=24)
    fit = [name for name, card in impl.CARDS.items() if not impl.reasons(card, want)]
    truth("blocks-of-24", len(fit))
    assert fit == []


# ---------------------------------------------------------------- task 3: order


@pytest.mark.task(3)
@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (8, 9), (9, 0), (11, 0), (12, 0), (12, 1)])
def test_most_devices_try_flash_attention_first(impl, capability):
    assert impl.priorities(capability) == ALL


@pytest.mark.task(3)
@pytest.mark.parametrize("capability", [(10, 0), (10, 3)])
def test_one_generation_tries_flashinfer_first(impl, capability):
    assert impl.priorities(capability) == ["FLASHINFER", "FLASH_ATTN", *ALL[2:]]


# ---------------------------------------------------------------- task 4: the choice


def given_parts(impl):
    r"""What `choose` may call, without yours: reasons by dtype alone, and the devices' orders."""

    def by_dtype(card, want):
        return [] if want.dtype in card.dtypes else [impl.Reason("dtype", want.dtype)]

    impl.reasons = by_dtype
    impl.priorities = lambda c: [ALL[1], ALL[0], *ALL[2:]] if c[0] == 10 else list(ALL)


def some_cards(impl, **dtypes):
    r"""Cards by name: each with the dtypes that it can do, or `None`."""
    return {
        name: None if can is None else impl.Card(dtypes=can.split()) for name, can in dtypes.items()
    }


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("dtype", "capability", "valid", "against"),
    [
        ("bfloat16", H100, ["FLASH_ATTN", "FLASHINFER", "FLEX_ATTENTION"], ["TRITON_ATTN"]),
        ("bfloat16", B200, ["FLASHINFER", "FLASH_ATTN", "FLEX_ATTENTION"], ["TRITON_ATTN"]),
        ("float32", H100, ["TRITON_ATTN", "FLEX_ATTENTION"], ["FLASH_ATTN", "FLASHINFER"]),
        ("float32", B200, ["TRITON_ATTN", "FLEX_ATTENTION"], ["FLASHINFER", "FLASH_ATTN"]),
    ],
)
def test_the_first_that_fits_is_taken_and_nobody_is_forgotten(
    impl, dtype, capability, valid, against
):
    given_parts(impl)
    cards = some_cards(
        impl,
        # Not in the order of any device.
        TRITON_ATTN="float32",
        FLEX_ATTENTION="float32 bfloat16",
        FLASHINFER="bfloat16",
        FLASH_ATTN="bfloat16",
    )
    found = impl.choose(cards, impl.Need(capability, dtype=dtype))
    assert found.name == valid[0]
    assert list(found.valid) == valid
    assert list(found.passed_over) == against
    assert all(fields(why) == ["dtype"] for why in found.passed_over.values())


@pytest.mark.task(4)
def test_what_is_not_installed_is_passed_over_in_one_word(impl):
    given_parts(impl)
    cards = some_cards(impl, FLASH_ATTN=None, FLASHINFER="bfloat16")
    found = impl.choose(cards, impl.Need())
    assert found == ("FLASHINFER", ["FLASHINFER"], {"FLASH_ATTN": [impl.NOT_INSTALLED]})


@pytest.mark.task(4)
def test_a_name_is_an_order_and_nobody_else_is_asked(impl):
    given_parts(impl)
    cards = some_cards(impl, FLASH_ATTN="bfloat16", TRITON_ATTN="bfloat16", FLASHINFER=None)
    found = impl.choose(cards, impl.Need(), "TRITON_ATTN")
    assert found == ("TRITON_ATTN", ["TRITON_ATTN"], {})


@pytest.mark.task(4)
def test_a_backend_of_the_house_may_be_asked_for_that_no_device_lists(impl):
    given_parts(impl)
    cards = some_cards(impl, FLASH_ATTN="bfloat16", MINE="bfloat16")
    assert impl.choose(cards, impl.Need(), "MINE").name == "MINE"
    assert impl.choose(cards, impl.Need()).valid == ["FLASH_ATTN"]


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("requested", "against"),
    [
        ("auto", {"FLASH_ATTN": "installed", "TRITON_ATTN": "dtype"}),
        ("TRITON_ATTN", {"TRITON_ATTN": "dtype"}),
        ("FLASH_ATTN", {"FLASH_ATTN": "installed"}),
    ],
)
def test_nobody_takes_the_place_of_who_does_not_fit(impl, requested, against):
    given_parts(impl)
    cards = some_cards(impl, FLASH_ATTN=None, TRITON_ATTN="bfloat16")
    with pytest.raises(impl.NoBackend) as refused:
        impl.choose(cards, impl.Need(dtype="float32"), requested)
    assert {name: fields(why)[0] for name, why in refused.value.against.items()} == against


@pytest.mark.task(4)
def test_a_name_that_nobody_has_is_refused(impl):
    given_parts(impl)
    with pytest.raises(impl.NoBackend) as refused:
        impl.choose(some_cards(impl, FLASH_ATTN="bfloat16"), impl.Need(), "FLASH_ATTENTION")
    assert refused.value.against == {}
    assert "FLASH_ATTENTION" in str(refused.value)


@pytest.mark.task(2, 3, 4)
@pytest.mark.parametrize(
    ("wants", "name"),
    [
        ({"capability": T4, "dtype": "float16"}, "FLASHINFER"),
        ({"capability": H100, "dtype": "float32"}, "TRITON_ATTN"),
        ({"capability": B200}, "FLASHINFER"),
        ({"capability": DESKTOP}, "FLASH_ATTN"),
        ({"capability": A100, "kv_cache_dtype": "fp8"}, "FLASHINFER"),
        ({"capability": H100, "kv_cache_dtype": "fp8"}, "FLASH_ATTN"),
        ({"capability": A100, "has_sinks": True}, "TRITON_ATTN"),
        ({"capability": DESKTOP, "has_sinks": True}, "TRITON_ATTN"),
        ({"capability": B200, "head_size": 80}, "FLASH_ATTN"),
        ({"capability": H100, "head_size": 24, "dtype": "float32"}, "FLEX_ATTENTION"),
        ({"capability": H100, "kv_cache_dtype": "turboquant_4bit_nc"}, "TURBOQUANT"),
    ],
    ids=str,
)
def test_the_cards_of_the_pin(impl, truth, wants, name):
    found = impl.choose(impl.CARDS, impl.Need(**wants))
    predicted = {(T4, "float16"): "turing", (H100, "float32"): "float32"}
    if "head_size" not in wants and (wants["capability"], wants.get("dtype")) in predicted:
        truth(predicted[wants["capability"], wants["dtype"]], found.name)
        if wants.get("dtype") == "float32":
            truth("against", len(found.passed_over["TURBOQUANT"]))
    if wants == {"capability": DESKTOP}:
        truth("desktop", found.name)
    assert found.name == name


# ---------------------------------------------------------------- task 5: what a flag has cost


def choice(impl, name, **against):
    passed_over = {
        backend: [impl.Reason(field, 24) for field in why.split()]
        for backend, why in against.items()
    }
    return impl.Choice(name, [name], passed_over)


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("name", "against", "lost"),
    [
        ("TRITON_ATTN", {"FLASH_ATTN": "block_size", "FLASHINFER": "block_size"}, ALL[:2]),
        ("TRITON_ATTN", {"FLASHINFER": "block_size", "FLASH_ATTN": "block_size"}, ALL[:2]),
        ("TRITON_ATTN", {"FLASH_ATTN": "dtype block_size", "FLASHINFER": "block_size"}, ALL[1:2]),
        ("TRITON_ATTN", {"FLASH_ATTN": "block_size dtype", "FLASHINFER": "dtype"}, []),
        ("FLASH_ATTN", {"TRITON_ATTN": "block_size", "TURBOQUANT": "block_size"}, []),
        ("FLASHINFER", {"FLASH_ATTN": "block_size", "TRITON_ATTN": "block_size"}, ALL[:1]),
        ("TRITON_ATTN", {}, []),
    ],
    ids=str,
)
def test_only_who_would_have_been_better_and_lacked_nothing_else(impl, name, against, lost):
    impl.priorities = lambda capability: list(ALL)
    assert list(impl.lost_to_the_block_size(choice(impl, name, **against), H100)) == lost


@pytest.mark.task(5)
def test_better_means_better_on_this_device(impl):
    impl.priorities = lambda capability: [ALL[1], ALL[0], *ALL[2:]]
    found = choice(impl, "FLASH_ATTN", FLASHINFER="block_size")
    assert list(impl.lost_to_the_block_size(found, B200)) == ["FLASHINFER"]


# ---------------------------------------------------------------- all together


@pytest.mark.task(2, 3, 4)
@examples(60)
@given(data=st.data())
def test_the_account_holds_everybody_in_the_order_of_the_device(impl, data):
    asks = impl.Need(
        data.draw(st.sampled_from([T4, A100, H100, B200, DESKTOP]), "capability"),
        data.draw(st.sampled_from([16, 64, 80, 128, 256, 300]), "head_size"),
        data.draw(st.sampled_from(["float16", "bfloat16", "float32"]), "dtype"),
        data.draw(st.sampled_from(["auto", "fp8", "nvfp4", "turboquant_k8v4"]), "kv_cache_dtype"),
        data.draw(st.sampled_from([None, 16, 24, 128]), "block_size"),
        data.draw(st.booleans(), "has_sinks"),
    )
    missing = data.draw(st.sets(st.sampled_from(ALL)), "missing")
    cards = {name: None if name in missing else impl.CARDS[name] for name in ALL}
    order = impl.priorities(asks.capability)
    try:
        found = impl.choose(cards, asks)
        valid, passed_over = list(found.valid), found.passed_over
        assert found.name == valid[0]
    except impl.NoBackend as refused:
        valid, passed_over = [], refused.against
    assert valid == [n for n in order if cards[n] and not impl.reasons(cards[n], asks)]
    assert list(passed_over) == [name for name in order if name not in valid]
