"""Watching must not change what is watched, and must see all of it."""

from __future__ import annotations

import json

import pytest

from mini_vllm.errors import InvariantError
from mini_vllm.invariants import REGISTRY, check, invariant, owner_of
from mini_vllm.observe.audit import INVARIANT_MODULES, Audit, all_invariants
from mini_vllm.observe.probe import Probe
from mini_vllm.observe.trace import Trace
from mini_vllm.sampling_params import SamplingParams


@pytest.fixture
def busy(make_engine):
    """Two requests under a scarce budget, and memory for one and a half."""

    def build():
        engine = make_engine(
            default=lambda place: 100 + place,
            block_size=2,
            num_gpu_blocks=9,
            max_num_batched_tokens=4,
            max_num_seqs=3,
        )
        for name, count in (("a", 3), ("b", 6)):
            prompt = {"prompt_token_ids": [ord(name) * 10 + i for i in range(count)]}
            engine.add_request(name, prompt, SamplingParams(max_tokens=8))
        return engine

    return build


def drain(engine) -> list[tuple[str, list[int]]]:
    seen = []
    while engine.has_unfinished_requests():
        seen += [(o.request_id, list(o.outputs[0].token_ids)) for o in engine.step()]
    return seen


def test_a_watched_engine_does_what_an_unwatched_one_does(busy) -> None:
    watched, unwatched = busy(), busy()
    with Probe(watched):
        assert drain(watched) == drain(unwatched)


def test_when_it_closes_nothing_of_it_remains(busy) -> None:
    engine = busy()
    objects = (engine.engine_core.scheduler, engine.engine_core.executor)
    before = [dict(vars(obj)).keys() for obj in objects]
    with Probe(engine), Probe(engine.engine_core):
        engine.step()
    assert [dict(vars(obj)).keys() for obj in objects] == before
    assert objects[0].schedule.__func__ is type(objects[0]).schedule


def test_it_closes_after_an_error_too(busy) -> None:
    engine = busy()
    with pytest.raises(ZeroDivisionError), Probe(engine):
        raise ZeroDivisionError
    assert "schedule" not in vars(engine.engine_core.scheduler)


def test_two_probes_see_the_same(busy) -> None:
    engine = busy()
    with Probe(engine) as outer, Probe(engine) as inner:
        drain(engine)
    assert outer.trace.to_json() == inner.trace.to_json()


def test_the_first_steps_in_numbers(busy) -> None:
    engine = busy()
    with Probe(engine) as probe:
        drain(engine)
    trace = probe.trace
    assert trace.req_ids == ["a", "b"]
    assert trace.batches()[:3] == [[3, 1], [1, 3], [1, 2]]
    assert trace.counters("a")[:3] == [(0, 3, 4), (1, 4, 5), (2, 5, 6)]
    assert trace.counters("b")[:3] == [(0, 1, 6), (1, 4, 6), (2, 6, 7)]
    first = probe.records[0].requests
    assert (first["a"].status_before, first["a"].status) == ("WAITING", "RUNNING")
    assert (first["a"].admitted, first["a"].is_decode) == (True, False)
    assert probe.records[1].requests["a"].is_decode
    assert not probe.records[2].requests["b"].is_decode
    assert (first["a"].sampled_token_ids, first["b"].sampled_token_ids) == ([100], [])
    assert any(step.preempted_req_ids for step in probe.records)
    last = trace.of_request("a")[-1][1]
    assert (last.finished, last.finish_reason, last.status) == (
        True,
        "length",
        "FINISHED_LENGTH_CAPPED",
    )
    assert set(probe.records[0].seconds) == {"schedule", "execute", "sample", "update"}


def test_a_hit_is_seen(make_engine) -> None:
    engine = make_engine(default=[5], block_size=2)
    prompt = {"prompt_token_ids": [1, 2, 3, 4, 5]}
    with Probe(engine) as probe:
        for name in "ab":
            engine.add_request(name, prompt, SamplingParams(max_tokens=1))
            drain(engine)
    row = probe.trace.of_request("b")[0][1]
    assert (row.num_cached_tokens, row.num_scheduled_tokens) == (4, 1)
    assert "4 from the cache" in probe.trace.table()


def test_the_table_is_aligned(busy) -> None:
    engine = busy()
    with Probe(engine) as probe:
        engine.step()
    assert probe.trace.table().splitlines() == [
        "step  request  status   scheduled  computed  tokens  blocks  sampled  note",
        "----  -------  -------  ---------  --------  ------  ------  -------  -----",
        "   0  a        RUNNING          3         3       4       2  100",
        "   0  b        RUNNING          1         1       6       1           chunk",
    ]
    assert probe.trace.table(["request", "tokens"]).splitlines()[2] == "a             4"
    assert Trace([]).table(["step"]) == "step\n----"


def test_json_has_everything_and_times_only_if_asked(busy) -> None:
    engine = busy()
    with Probe(engine) as probe:
        engine.step()
    (step,) = json.loads(probe.trace.to_json())
    assert step["requests"]["b"]["num_scheduled_tokens"] == 1
    assert "seconds" not in step
    assert "seconds" in json.loads(probe.trace.to_json(times=True))[0]


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (lambda row, step: setattr(row, "num_scheduled_tokens", 9), "budget-kept"),
        (lambda row, step: setattr(step, "token_budget", 2), "budget-kept"),
        (lambda row, step: setattr(step, "max_num_seqs", 1), "budget-kept"),
        (lambda row, step: setattr(row, "num_computed_tokens", 2), "token-conservation"),
        (lambda row, step: setattr(row, "num_cached_tokens", 1), "token-conservation"),
        (lambda row, step: setattr(row, "num_tokens", 9), "token-conservation"),
        (lambda row, step: setattr(row, "sampled_token_ids", []), "needs-sample"),
        (
            lambda row, step: setattr(step.requests["b"], "sampled_token_ids", [3]),
            "needs-sample",
        ),
        (
            lambda row, step: (
                setattr(row, "status_before", "RUNNING") or setattr(row, "block_ids_before", [9])
            ),
            "block-tables-append-only",
        ),
        (
            lambda row, step: step.preempted_req_ids.append("b"),
            "no-admission-after-preemption",
        ),
    ],
)
def test_each_violation_of_a_step_is_named(busy, tamper, named: str) -> None:
    engine = busy()
    with Probe(engine) as probe:
        engine.step()
    step = probe.records[0]
    check(step)
    tamper(step.requests["a"], step)
    with pytest.raises(InvariantError, match=named):
        check(step)


def test_an_audit_stops_the_step_in_which_it_happened(busy) -> None:
    engine = busy()
    with Audit(engine) as audit:
        engine.step()
        block = audit.scheduler.kv_cache_manager.req_to_blocks["a"][0]
        block.ref_cnt += 1
        with pytest.raises(InvariantError, match="refcounts-add-up: block 1 has ref_cnt 2"):
            engine.step()


class TestRegistry:
    def test_every_invariant_is_complete(self) -> None:
        for inv in all_invariants():
            assert inv.statement.endswith(".")
            assert inv.anchors
            assert inv.phase in range(20)
        assert {inv.owner for inv in all_invariants()} == {
            "attention_plan",
            "attention_step",
            "block_pool",
            "capture_sizes",
            "cudagraph_dispatcher",
            "dispatch",
            "kv_cache_manager",
            "scheduler",
            "step",
        }

    def test_the_named_ones_are_there(self) -> None:
        assert {inv.id for inv in all_invariants()} >= {
            "free-iff-unreferenced",
            "refcounts-add-up",
            "block-tables-append-only",
            "budget-kept",
            "token-conservation",
            "computed-never-exceeds-tokens",
            "needs-sample",
            "one-home",
            "blocks-cover-tokens",
            "hash-chain",
        }

    def test_by_phase(self) -> None:
        assert {inv.phase for inv in all_invariants(2)} == {2}
        assert all_invariants(19) == []

    def test_an_id_is_used_once(self) -> None:
        with pytest.raises(InvariantError, match="'one-home' is registered twice"):

            @invariant("one-home", "Another.", phase=1, owner="scheduler")
            def another(state):
                yield ""

        assert "another" not in REGISTRY

    def test_an_object_without_invariants(self) -> None:
        with pytest.raises(InvariantError, match="int owns no invariants"):
            owner_of(3)

    def test_a_check_of_nothing_is_an_error(self) -> None:
        class Nobody:
            invariant_owner = "nobody"

        with pytest.raises(InvariantError, match="no invariant is registered for 'nobody'"):
            check(Nobody())

    def test_the_modules_are_those_that_register(self) -> None:
        modules = {inv.predicate.__module__ for inv in all_invariants()}
        assert modules == set(INVARIANT_MODULES)
