"""The metrics are vLLM's where their name is, and count what a step says, once."""

from __future__ import annotations

import ast
import contextlib
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mini_vllm.core.request import FinishReason
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.observe.metrics import FAMILIES, PrometheusStatLogger, build_1_2_5_buckets
from mini_vllm.observe.probe import Probe
from mini_vllm.sampling_params import SamplingParams
from upstream_anchors.pin import PROJECT_ROOT

LOGGERS = PROJECT_ROOT / "upstream" / "vllm" / "v1" / "metrics" / "loggers.py"


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def logger(registry):
    return PrometheusStatLogger("m", registry, max_model_len=100)


def scheduler_stats(**changes):
    base = {
        "num_running_reqs": 3,
        "num_waiting_reqs": 2,
        "kv_cache_usage": 0.25,
        "prefix_cache_queries": 10,
        "prefix_cache_hits": 4,
        "num_preempted_reqs": 1,
    }
    return SimpleNamespace(**(base | changes))


def finished(reason=FinishReason.STOP, **changes):
    base = {
        "finish_reason": reason,
        "e2e_latency": 9.0,
        "queued_time": 1.0,
        "prefill_time": 2.0,
        "decode_time": 3.0,
        "inference_time": 5.0,
        "num_prompt_tokens": 20,
        "num_generation_tokens": 7,
        "num_cached_tokens": 16,
        "max_tokens_param": 8,
        "mean_time_per_output_token": 0.5,
    }
    return SimpleNamespace(**(base | changes))


def iteration_stats(**changes):
    base = {
        "num_prompt_tokens": 20,
        "num_cached_tokens": 16,
        "num_generation_tokens": 5,
        "time_to_first_tokens_iter": [0.003],
        "inter_token_latencies_iter": [0.02, 0.03, 99.0],
        "num_preempted_reqs": 1,
        "finished_requests": [],
    }
    return SimpleNamespace(**(base | changes))


def value(registry, name, **labels):
    return registry.get_sample_value(name, {"model_name": "m", "engine": "0", **labels})


def test_gauges_are_set_and_counters_add_up(registry, logger) -> None:
    logger.record(scheduler_stats(), iteration_stats())
    logger.record(scheduler_stats(num_running_reqs=7, kv_cache_usage=0.5), iteration_stats())
    assert value(registry, "vllm:num_requests_running") == 7
    assert value(registry, "vllm:num_requests_waiting") == 2
    assert value(registry, "vllm:kv_cache_usage_perc") == 0.5
    assert value(registry, "vllm:prefix_cache_queries_total") == 20
    assert value(registry, "vllm:prefix_cache_hits_total") == 8
    assert value(registry, "vllm:num_preemptions_total") == 2
    assert value(registry, "vllm:prompt_tokens_total") == 40
    assert value(registry, "vllm:prompt_tokens_cached_total") == 32
    assert value(registry, "vllm:generation_tokens_total") == 10
    assert value(registry, "vllm:iteration_tokens_total_sum") == 50


def test_each_time_is_one_observation_in_the_right_bucket(registry, logger) -> None:
    logger.record(None, iteration_stats())
    first, between = "vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds"
    assert value(registry, f"{first}_bucket", le="0.001") == 0
    assert value(registry, f"{first}_bucket", le="0.005") == 1
    assert value(registry, f"{between}_count") == 3
    assert value(registry, f"{between}_bucket", le="0.025") == 1
    assert value(registry, f"{between}_bucket", le="80.0") == 2
    assert value(registry, f"{between}_bucket", le="+Inf") == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("e2e_request_latency_seconds", 9.0),
        ("request_queue_time_seconds", 1.0),
        ("request_prefill_time_seconds", 2.0),
        ("request_decode_time_seconds", 3.0),
        ("request_inference_time_seconds", 5.0),
        ("request_time_per_output_token_seconds", 0.5),
        ("request_prompt_tokens", 20),
        ("request_generation_tokens", 7),
        ("request_prefill_kv_computed_tokens", 4),
        ("request_params_max_tokens", 8),
    ],
)
def test_a_finished_request_is_observed_once(registry, logger, name, expected) -> None:
    logger.record(None, iteration_stats(finished_requests=[finished()]))
    assert value(registry, f"vllm:{name}_sum") == expected
    assert value(registry, f"vllm:{name}_count") == 1


def test_ends_are_counted_by_reason_and_all_reasons_begin_at_zero(registry, logger) -> None:
    success = "vllm:request_success_total"
    assert [value(registry, success, finished_reason=str(r)) for r in FinishReason] == [0] * 5
    ended = [finished(FinishReason.ABORT), finished(FinishReason.ABORT), finished()]
    logger.record(None, iteration_stats(finished_requests=ended))
    assert value(registry, success, finished_reason="abort") == 2
    assert value(registry, success, finished_reason="stop") == 1
    assert value(registry, success, finished_reason="length") == 0


def test_a_request_without_max_tokens_and_before_any_hit(registry, logger) -> None:
    odd = finished(max_tokens_param=None, num_cached_tokens=-1)
    logger.record(None, iteration_stats(finished_requests=[odd]))
    assert value(registry, "vllm:request_params_max_tokens_count") == 0
    assert value(registry, "vllm:request_prefill_kv_computed_tokens_sum") == 20


def test_nothing_recorded_changes_nothing(registry, logger) -> None:
    before = generate_latest(registry)
    logger.record(None, None)
    strip = [line for line in before.splitlines() if b"_created" not in line]
    after = generate_latest(registry).splitlines()
    assert [line for line in after if b"_created" not in line] == strip


def test_two_servers_in_one_process_do_not_meet() -> None:
    one, two = CollectorRegistry(), CollectorRegistry()
    PrometheusStatLogger("a", one).record(scheduler_stats(), None)
    PrometheusStatLogger("b", two)
    assert one.get_sample_value("vllm:num_requests_running", {"model_name": "a", "engine": "0"})
    labels = {"model_name": "b", "engine": "0"}
    assert two.get_sample_value("vllm:num_requests_running", labels) == 0


def test_what_is_printed_can_be_parsed(registry, logger) -> None:
    logger.record(scheduler_stats(), iteration_stats(finished_requests=[finished()]))
    parsed = {f.name for f in text_string_to_metric_families(generate_latest(registry).decode())}
    assert {family.name for family in FAMILIES} <= parsed


def test_buckets_stop_at_the_limit() -> None:
    assert build_1_2_5_buckets(100) == (1, 2, 5, 10, 20, 50, 100)
    assert build_1_2_5_buckets(99) == (1, 2, 5, 10, 20, 50)
    assert build_1_2_5_buckets(1) == (1,)
    with pytest.raises(ValueError, match="up to 0"):
        build_1_2_5_buckets(0)


def test_a_real_engine_tells_all_of_it(registry, logger) -> None:
    """Every figure that can be counted by hand, over a run with preemptions and a hit."""
    engine = LLMEngine.from_scripted(
        default=lambda place: 100 + place,
        block_size=2,
        num_gpu_blocks=14,
        max_num_batched_tokens=8,
        max_num_seqs=3,
        scheduler_reserve_full_isl=False,
    )
    engine.stat_loggers.append(logger)
    prompts = {"a": 3, "b": 6, "c": 5, "d": 2}
    with Probe(engine) as probe:
        for name, count in prompts.items():
            prompt = {"prompt_token_ids": [ord(name) * 10 + i for i in range(count)]}
            engine.add_request(name, prompt, SamplingParams(max_tokens=8))
        while engine.has_unfinished_requests():
            engine.step()
    preempted = sum(len(record.preempted_req_ids) for record in probe.records)
    assert preempted > 0
    assert value(registry, "vllm:num_preemptions_total") == preempted
    assert value(registry, "vllm:prompt_tokens_total") == sum(prompts.values())
    assert value(registry, "vllm:generation_tokens_total") == 4 * 8
    assert value(registry, "vllm:time_to_first_token_seconds_count") == 4
    assert value(registry, "vllm:inter_token_latency_seconds_count") == 4 * 7
    assert value(registry, "vllm:request_success_total", finished_reason="length") == 4
    assert value(registry, "vllm:num_requests_running") == 0
    assert value(registry, "vllm:kv_cache_usage_perc") == 0
    parts = ("queue", "prefill", "decode")
    inside = sum(value(registry, f"vllm:request_{part}_time_seconds_sum") for part in parts)
    queued = value(registry, "vllm:request_queue_time_seconds_sum")
    running = value(registry, "vllm:request_inference_time_seconds_sum")
    assert inside == pytest.approx(queued + running)


class Pinned(ast.NodeVisitor):
    """Reads kind, buckets and labels of each family out of the pinned constructor."""

    def __init__(self) -> None:
        self.families: dict[str, tuple[str, object, tuple[str, ...]]] = {}
        self.lists: dict[str, object] = {}

    def literal(self, node: ast.expr | None) -> object:
        if node is None:
            return None
        if isinstance(node, ast.Call):
            return "1-2-5" if ast.unparse(node.func) == "build_1_2_5_buckets" else "?"
        if isinstance(node, ast.Name):
            return self.lists[node.id]
        if isinstance(node, ast.BinOp):
            return tuple(self.literal(node.left)) + tuple(self.literal(node.right))
        return tuple(ast.literal_eval(node))

    def visit_Assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if isinstance(target, ast.Name) and isinstance(node.value, ast.List):
            # A list of names is no list of bounds.
            with contextlib.suppress(ValueError):
                self.lists[target.id] = tuple(ast.literal_eval(node.value))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func)
        kinds = {"self._gauge_cls": "Gauge", "self._counter_cls": "Counter"}
        kinds["self._histogram_cls"] = "Histogram"
        given = {k.arg: k.value for k in node.keywords}
        name = given.get("name")
        if called in kinds and isinstance(name, ast.Constant):
            labels = given["labelnames"]
            self.families[name.value] = (
                kinds[called],
                self.literal(given.get("buckets")),
                () if name.value == "vllm:lora_requests_info" else self.literal(labels),
            )
        self.generic_visit(node)


@pytest.fixture(scope="module")
def pinned():
    if not LOGGERS.is_file():
        pytest.skip("the pinned tree is not here; `python -m upstream_anchors fetch` gets it")
    for node in ast.parse(LOGGERS.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == "PrometheusStatLogger":
            visitor = Pinned()
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                    visitor.visit(part)
                    return visitor.families
    raise AssertionError("PrometheusStatLogger.__init__ is not where it was")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_a_family_is_the_pinned_one(pinned, family) -> None:
    kind, buckets, labels = pinned[family.name]
    assert family.kind.__name__ == kind
    assert family.buckets == buckets
    assert ("model_name", "engine", *family.labels) == labels


def test_what_is_left_out_is_known(pinned) -> None:
    """What upstream has and we have not: each for a feature that this engine lacks, or that
    another family already tells.
    """
    assert set(pinned) - {family.name for family in FAMILIES} == {
        "vllm:num_requests_waiting_by_reason",
        "vllm:engine_sleep_state",
        "vllm:corrupted_requests",
        "vllm:external_prefix_cache_queries",
        "vllm:external_prefix_cache_hits",
        "vllm:mm_cache_queries",
        "vllm:mm_cache_hits",
        "vllm:prompt_tokens_by_source",
        "vllm:request_max_num_generation_tokens",
        "vllm:request_params_n",
        "vllm:kv_block_lifetime_seconds",
        "vllm:kv_block_idle_before_evict_seconds",
        "vllm:kv_block_reuse_gap_seconds",
        "vllm:lora_requests_info",
    }
