r"""Lab 04: both decisions, by hand and beside the engine's own resolution and dispatcher.

`test_drafts.py` has task 4.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_vllm.compilation.capture_sizes import CaptureSizes
from mini_vllm.compilation.dispatcher import CudagraphDispatcher
from mini_vllm.config.compilation import CUDAGraphMode

from labkit.properties import examples

MODES = ("NONE", "PIECEWISE", "FULL", "FULL_DECODE_ONLY", "FULL_AND_PIECEWISE")
NEVER, SINGLE, BATCH, ALWAYS = "NEVER", "UNIFORM_SINGLE_TOKEN_DECODE", "UNIFORM_BATCH", "ALWAYS"
TWO = {
    "FULL_DECODE_ONLY": ("FULL", "NONE"),
    "FULL_AND_PIECEWISE": ("FULL", "PIECEWISE"),
} | {mode: (mode, mode) for mode in MODES[:3]}


def given_routines(impl):
    impl.routines = TWO.__getitem__


# ---------------------------------------------------------------- task 1: two modes


@pytest.mark.task(1)
@pytest.mark.parametrize("mode", MODES)
def test_a_mode_is_two_modes(impl, mode):
    assert tuple(impl.routines(mode)) == TWO[mode], "decodes alone, and the others"


# ---------------------------------------------------------------- task 2: the weakest


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("supports", "found"),
    [
        ([], (None, ALWAYS)),
        ([ALWAYS], (None, ALWAYS)),
        ([ALWAYS, ALWAYS], (None, ALWAYS)),
        ([BATCH], ("a", BATCH)),
        ([ALWAYS, SINGLE, BATCH], ("b", SINGLE)),
        ([BATCH, SINGLE, NEVER], ("c", NEVER)),
        ([ALWAYS, NEVER, NEVER], ("b", NEVER)),
        ([NEVER, BATCH], ("a", NEVER)),
    ],
    ids=str,
)
def test_one_backend_decides_for_all(impl, supports, found):
    assert tuple(impl.weakest(dict(zip("abc", supports)))) == found


# ---------------------------------------------------------------- task 3: what can be had

# What was asked for, by support and a decode's tokens: cut into pieces, and not cut.
OUTCOMES = {
    ("NONE", ALWAYS, 1): ("NONE", "NONE"),
    ("NONE", NEVER, 4): ("NONE", "NONE"),
    ("PIECEWISE", ALWAYS, 1): ("PIECEWISE", "NONE"),
    ("PIECEWISE", NEVER, 4): ("PIECEWISE", "NONE"),
    ("FULL", ALWAYS, 1): ("FULL", "FULL"),
    ("FULL", ALWAYS, 4): ("FULL", "FULL"),
    ("FULL", BATCH, 1): ("FULL_AND_PIECEWISE", "FULL_DECODE_ONLY"),
    ("FULL", BATCH, 4): ("FULL_AND_PIECEWISE", "FULL_DECODE_ONLY"),
    ("FULL", SINGLE, 1): ("FULL_AND_PIECEWISE", "FULL_DECODE_ONLY"),
    ("FULL", SINGLE, 4): ("PIECEWISE", "NONE"),
    ("FULL_DECODE_ONLY", ALWAYS, 4): ("FULL_DECODE_ONLY", "FULL_DECODE_ONLY"),
    ("FULL_DECODE_ONLY", BATCH, 4): ("FULL_DECODE_ONLY", "FULL_DECODE_ONLY"),
    ("FULL_DECODE_ONLY", SINGLE, 1): ("FULL_DECODE_ONLY", "FULL_DECODE_ONLY"),
    ("FULL_DECODE_ONLY", SINGLE, 2): ("PIECEWISE", "NONE"),
    ("FULL_DECODE_ONLY", NEVER, 1): ("PIECEWISE", "NONE"),
    ("FULL_AND_PIECEWISE", ALWAYS, 1): ("FULL_AND_PIECEWISE", "NONE"),
    ("FULL_AND_PIECEWISE", BATCH, 4): ("FULL_AND_PIECEWISE", "NONE"),
    ("FULL_AND_PIECEWISE", SINGLE, 1): ("FULL_AND_PIECEWISE", "NONE"),
    ("FULL_AND_PIECEWISE", SINGLE, 4): ("PIECEWISE", "NONE"),
    ("FULL_AND_PIECEWISE", NEVER, 1): ("PIECEWISE", "NONE"),
    ("FULL_AND_PIECEWISE", NEVER, 4): ("PIECEWISE", "NONE"),
}


@pytest.mark.task(3)
@pytest.mark.parametrize("asked", OUTCOMES, ids=str)
@pytest.mark.parametrize("pieces", [True, False], ids=["cut", "not cut"])
def test_asked_and_had(impl, asked, pieces):
    given_routines(impl)
    mode, support, query_len = asked
    found = impl.resolve(mode, "SOME_ATTN", support, pieces, query_len)
    assert found.mode == OUTCOMES[asked][not pieces]
    assert bool(found.reasons) == (found.mode != mode), "a reason where it is lowered, and nowhere"


@pytest.mark.task(3)
@pytest.mark.parametrize("pieces", [True, False], ids=["cut", "not cut"])
@pytest.mark.parametrize("query_len", [1, 4])
def test_full_of_a_backend_that_never_can_is_refused(impl, pieces, query_len):
    given_routines(impl)
    with pytest.raises(impl.Refused) as refusal:
        impl.resolve("FULL", "SOME_ATTN", NEVER, pieces, query_len)
    assert {"FULL", "SOME_ATTN", NEVER} <= words(str(refusal.value)), "who is to blame?"


def words(text):
    return set(text.replace(",", " ").replace(":", " ").replace(";", " ").replace(".", " ").split())


@pytest.mark.task(3)
@pytest.mark.parametrize(
    ("asked", "support", "pieces", "query_len", "path"),
    [
        ("FULL", BATCH, True, 1, ["FULL", "FULL_AND_PIECEWISE"]),
        ("FULL", SINGLE, True, 2, ["FULL", "FULL_AND_PIECEWISE", "PIECEWISE"]),
        ("FULL", SINGLE, False, 2, ["FULL", "FULL_DECODE_ONLY", "NONE"]),
        ("FULL_DECODE_ONLY", NEVER, True, 1, ["FULL_DECODE_ONLY", "PIECEWISE"]),
        ("FULL_DECODE_ONLY", NEVER, False, 1, ["FULL_DECODE_ONLY", "NONE"]),
        ("FULL_AND_PIECEWISE", NEVER, False, 1, ["FULL_AND_PIECEWISE", "NONE"]),
    ],
)
def test_a_reason_for_each_step_down(impl, asked, support, pieces, query_len, path):
    given_routines(impl)
    reasons = impl.resolve(asked, "SOME_ATTN", support, pieces, query_len).reasons
    assert len(reasons) == len(path) - 1
    for reason, left, became in zip(reasons, path, path[1:]):
        assert {left, became} <= words(reason), "from which mode to which?"
        if pieces or "PIECEWISE" not in left:
            assert {"SOME_ATTN", support} <= words(reason), "who is to blame?"


@pytest.mark.task(3)
def test_what_becomes_of_full(impl, truth):
    given_routines(impl)
    truth("asked-full", impl.resolve("FULL", "SOME_ATTN", BATCH, True).mode)
    with pytest.raises(impl.Refused):
        impl.resolve("FULL", "SOME_ATTN", NEVER, True)
    truth("asked-full-never", "an error")


# ---------------------------------------------------------------- task 5: captured


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("mode", "sizes", "seqs", "query_len", "graphs"),
    [
        ("NONE", (1, 2), 8, 1, []),
        ("PIECEWISE", (1, 2), 8, 1, ["P 2", "P 1"]),
        ("FULL", (1, 2, 4), 2, 1, ["F 4 2", "F 2 2", "F 1 1"]),
        ("FULL", (2, 4), 2, 2, ["F 4 2", "F 2 2"]),
        ("FULL_DECODE_ONLY", (1, 2, 4), 3, 1, ["F 2 2 u", "F 1 1 u"]),
        ("FULL_DECODE_ONLY", (2, 4, 8), 2, 4, ["F 8 2 u", "F 4 1 u"]),
        ("FULL_AND_PIECEWISE", (1, 2, 4), 2, 1, ["P 4", "P 2", "P 1", "F 2 2 u", "F 1 1 u"]),
    ],
    ids=str,
)
def test_the_largest_first_and_pieces_before_the_whole(impl, mode, sizes, seqs, query_len, graphs):
    given_routines(impl)
    found = impl.captured(impl.Setup(mode, sizes, seqs, query_len))
    short = [
        " ".join([kind[0], *map(str, (n for n in shape[:2] if n is not None)), *"u"[: shape[2]]])
        for kind, shape in found
    ]
    assert short == graphs, "pieces P, full F; tokens, requests, and u for uniform"


@pytest.mark.task(5)
def test_how_many_are_captured(impl, truth):
    given_routines(impl)
    found = impl.captured(impl.Setup("FULL_AND_PIECEWISE", (1, 2, 4, 8, 16), 8))
    truth("captures", len(found))
    assert len(found) == 9, "16 rows are no batch of decodes of 8 requests"


# ---------------------------------------------------------------- task 6: decodes alone


@pytest.mark.task(6)
@pytest.mark.parametrize(
    ("scheduled", "query_len", "uniform"),
    [
        ([1], 1, True),
        ([1, 1, 1], 1, True),
        ([1, 2, 1], 1, False),
        ([2, 2], 1, False),
        ([2, 2], 2, True),
        ([1, 1], 2, False),
        ([1, 3], 2, False),  # as many tokens as two decodes have
        ([2, 1, 2], 2, False),
    ],
    ids=str,
)
def test_each_request_has_exactly_a_decodes_tokens(impl, scheduled, query_len, uniform):
    assert impl.is_uniform(scheduled, query_len) is uniform


# ---------------------------------------------------------------- task 7: choose


def given_parts(impl):
    given_routines(impl)
    impl.is_uniform = lambda scheduled, query_len: set(scheduled) == {query_len}


def graphs_of(impl, setup):
    r"""What the engine's dispatcher would capture."""
    dispatcher = engine_of(setup)
    return [
        (mode.name, impl.Shape(d.num_tokens, d.num_reqs, d.uniform))
        for mode, shapes in dispatcher.get_capture_descs()
        for d in shapes
    ]


def engine_of(setup):
    sizes = CaptureSizes(tuple(setup.sizes))
    made = CudagraphDispatcher(sizes, setup.max_num_seqs, setup.query_len)
    made.initialize_cudagraph_keys(CUDAGraphMode[setup.mode])
    return made


@pytest.mark.task(7)
@pytest.mark.parametrize(
    ("mode", "scheduled", "chosen"),
    [
        ("FULL_AND_PIECEWISE", [1, 1, 1], ("FULL", 4, 4, True)),
        ("FULL_AND_PIECEWISE", [1, 2], ("PIECEWISE", 4, None, False)),
        ("FULL_AND_PIECEWISE", [1] * 7, ("PIECEWISE", 8, None, False)),  # 8 is above 6 requests
        ("FULL_AND_PIECEWISE", [9], ("NONE", 9, None, False)),
        ("FULL_AND_PIECEWISE", [8], ("PIECEWISE", 8, None, False)),
        ("FULL_DECODE_ONLY", [1, 1], ("FULL", 2, 2, True)),
        ("FULL_DECODE_ONLY", [1, 2], ("NONE", 3, None, False)),
        ("FULL_DECODE_ONLY", [1] * 5, ("NONE", 5, None, False)),
        ("FULL", [1, 2], ("FULL", 4, 4, False)),
        ("FULL", [1, 1], ("FULL", 2, 2, False)),  # the mode FULL has one kind of graph
        ("FULL", [3, 4], ("FULL", 8, 6, False)),
        ("PIECEWISE", [1, 1, 1], ("PIECEWISE", 4, None, False)),
        ("NONE", [1], ("NONE", 1, None, False)),
    ],
    ids=str,
)
def test_a_choice_by_hand(impl, mode, scheduled, chosen):
    given_parts(impl)
    setup = impl.Setup(mode, (1, 2, 4, 8), 6)
    found = impl.dispatch(scheduled, setup, graphs_of(impl, setup))
    assert (found.mode, *found.shape) == chosen


@pytest.mark.task(7)
def test_the_edge_and_the_drafts(impl, truth):
    given_parts(impl)
    setup = impl.Setup("FULL_AND_PIECEWISE", (1, 2, 4, *range(8, 121, 8)), 60)
    edge = impl.dispatch([1] * 58, setup, graphs_of(impl, setup))
    truth("edge", edge.mode)
    assert (edge.mode, edge.shape.num_tokens) == ("PIECEWISE", 64), "64 is above 60 requests"
    setup = setup._replace(sizes=(4, *range(8, 121, 8)), query_len=4)
    found = impl.dispatch([4] * 9, setup, graphs_of(impl, setup))
    truth("drafts", found.shape.num_tokens - 4 * 9)
    assert (found.mode, *found.shape) == ("FULL", 40, 10, True)
    found = impl.dispatch([3, 5], setup, graphs_of(impl, setup))
    assert (found.mode, *found.shape) == ("PIECEWISE", 8, None, False), "no two decodes of 4"


@pytest.mark.task(7)
def test_pieces_take_sizes_of_no_decode(impl):
    r"""Without full graphs for decodes nobody has rounded the sizes."""
    given_parts(impl)
    setup = impl.Setup("PIECEWISE", (1, 2, 4, 8), 6, query_len=3)
    graphs = [("PIECEWISE", impl.Shape(size)) for size in (8, 4, 2, 1)]
    found = [impl.dispatch(step, setup, graphs).shape.num_tokens for step in ([1], [3], [3, 3])]
    assert found == [1, 4, 8]


@pytest.mark.task(7)
@pytest.mark.parametrize(
    ("allowed", "modes"),
    [
        (("FULL", "PIECEWISE"), "FULL PIECEWISE"),
        (("PIECEWISE",), "PIECEWISE PIECEWISE"),
        (("FULL",), "FULL NONE"),
        ((), "NONE NONE"),
    ],
    ids=str,
)
def test_a_step_may_forbid_a_kind(impl, allowed, modes):
    given_parts(impl)
    setup = impl.Setup("FULL_AND_PIECEWISE", (1, 2, 4), 4)
    graphs = graphs_of(impl, setup)
    found = [impl.dispatch(step, setup, graphs, allowed).mode for step in ([1, 1], [1, 3])]
    assert " ".join(found) == modes


@pytest.mark.task(7)
def test_only_what_was_captured_is_chosen(impl):
    given_parts(impl)
    setup = impl.Setup("FULL_AND_PIECEWISE", (1, 2, 4), 4)
    graphs = graphs_of(impl, setup)
    lacking = [(mode, shape) for mode, shape in graphs if shape.num_tokens != 2]
    found = impl.dispatch([1, 1], setup, lacking)
    assert (found.mode, found.shape) == ("NONE", impl.Shape(2)), (
        "the next larger would fit, unasked"
    )


@pytest.mark.task(7)
@pytest.mark.parametrize(
    ("mode", "scheduled", "said"),
    [
        ("FULL_AND_PIECEWISE", [1] * 13, {"13", "16"}),
        ("FULL_AND_PIECEWISE", [6, 7], {"13", "16"}),
        ("FULL_DECODE_ONLY", [6, 7], {"13", "FULL_DECODE_ONLY"}),
        ("FULL", [6, 17], {"23", "16"}),
        ("NONE", [13], {"13", "NONE"}),
    ],
    ids=str,
)
def test_the_reason_has_what_one_would_ask_for(impl, mode, scheduled, said):
    given_parts(impl)
    setup = impl.Setup(mode, (4, 16), 32)
    reason = impl.dispatch(scheduled, setup, graphs_of(impl, setup)).reason
    assert said <= words(reason), f"{said - words(reason)} is not in the reason: {reason}"


SETUPS = st.tuples(
    st.sampled_from(MODES),
    st.sets(st.integers(1, 10), min_size=1, max_size=5),
    st.integers(1, 12),
    st.sampled_from((1, 1, 2, 3)),
)


def drawn(impl, setup):
    mode, sizes, seqs, query_len = setup
    return impl.Setup(mode, tuple(sorted(size * query_len for size in sizes)), seqs, query_len)


@pytest.mark.task(5)
@examples(60)
@given(SETUPS)
def test_the_engine_captures_the_same(impl, setup):
    given_routines(impl)
    setup = drawn(impl, setup)
    assert list(impl.captured(setup)) == graphs_of(impl, setup)


@pytest.mark.task(7)
@examples(120)
@given(
    SETUPS,
    st.lists(st.integers(1, 5), min_size=1, max_size=8) | st.integers(1, 12),
    st.sets(st.sampled_from(("FULL", "PIECEWISE"))),
)
def test_the_engine_chooses_the_same(impl, setup, step, allowed):
    given_parts(impl)
    setup = drawn(impl, setup)
    scheduled = step if isinstance(step, list) else [setup.query_len] * step
    found = impl.dispatch(scheduled, setup, graphs_of(impl, setup), allowed)
    uniform = set(scheduled) == {setup.query_len}
    modes = [CUDAGraphMode[mode] for mode in ("NONE", *allowed)]
    other = engine_of(setup).dispatch(sum(scheduled), uniform, modes)
    shape = other.descriptor
    wanted = (other.mode.name, shape.num_tokens, shape.num_reqs, shape.uniform)
    assert (found.mode, *found.shape) == wanted, f"the engine says: {other.reason}"
