"""The blast radius: on a small tree where every answer is known, and at the pin."""

from __future__ import annotations

from pathlib import Path

import pytest
from capstone.errors import CapstoneError
from capstone.plan.blast import Radius, radius_of, suggestion
from capstone.plan.upstream import Upstream

from upstream_anchors.codebase_map import CodeGraph
from upstream_anchors.pin import the_pin
from upstream_anchors.tree import Tree

FILES = {
    "vllm/__init__.py": "",
    "vllm/pool.py": """\
from vllm.lora.adapters import slot_of
from vllm.base import Base


class Pool(Base):
    def take(self, count: int) -> int:
        # a comment about draft_tokens, and a string, count for nothing
        "num_spec_tokens"
        return count

    def near(self, request):
        return request.spec_token_ids + self.lookahead(
            request.num_draft_tokens,
        )

    def lookahead(self, count):
        return slot_of(count)


def fill(pool: Pool) -> int:
    return pool.take(1)
""",
    "vllm/base.py": "class Base:\n    def take(self, count: int) -> int:\n        return count\n",
    "vllm/lora/__init__.py": "",
    "vllm/lora/adapters.py": "def slot_of(count):\n    return count\n",
    "vllm/v1/__init__.py": "",
    "vllm/v1/spec_decode/__init__.py": "",
    "vllm/v1/spec_decode/draft.py": """\
from vllm.base import Base
from vllm.pool import Pool, fill


def propose(pool: Pool) -> int:
    return fill(pool)


def through_the_base(base: Base) -> int:
    return base.take(2)
""",
    "vllm/somewhere.py": "def use(anything):\n    return anything.take(3)\n",
    "csrc/kernel.cu": "void take() {}\n",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Upstream:
    """The small tree with its graph."""
    root: Path = tmp_path_factory.mktemp("tree")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    tree = Tree(root)
    upstream = Upstream(tree, the_pin())
    upstream.__dict__["graph"] = CodeGraph.build(tree, "vllm")
    return upstream


def kinds(radius: Radius) -> dict[str, list[tuple[str, str]]]:
    """Evidence by feature, as kind and anchor; features without any are left out."""
    found = {n: [(e.kind, e.anchor) for e in evidence] for n, evidence in radius.evidence.items()}
    return {name: evidence for name, evidence in found.items() if evidence}


def test_callers_come_from_the_base_class_too(small) -> None:
    radius = radius_of("vllm/pool.py#Pool.take", small)
    assert radius.aliases == [("vllm/base.py", "Base.take")]
    assert sorted(radius.callers) == [
        (("vllm/pool.py", "fill"), 21),
        (("vllm/v1/spec_decode/draft.py", "through_the_base"), 10),
    ]


def test_a_feature_that_reaches_the_place_is_found_with_its_chain(small) -> None:
    evidence = radius_of("vllm/pool.py#Pool.take", small).evidence["Speculative decoding"]
    assert [(e.kind, e.anchor) for e in evidence] == [
        ("reaches", "vllm/v1/spec_decode/draft.py#through_the_base")
    ]
    assert "through_the_base → Base.take" in evidence[0].text
    longer = radius_of("vllm/pool.py#fill", small).evidence["Speculative decoding"]
    assert "propose → fill" in longer[0].text


def test_names_count_and_comments_do_not(small) -> None:
    assert kinds(radius_of("vllm/pool.py#Pool.near", small)) == {
        "LoRA": [("reaches", "vllm/lora/adapters.py#slot_of")],
        "Speculative decoding": [("names", "vllm/pool.py#Pool.near")],
    }
    text = radius_of("vllm/pool.py#Pool.near", small).evidence["Speculative decoding"][0].text
    for name, line in (("spec_token_ids", 12), ("num_draft_tokens", 13), ("lookahead", 12)):
        assert f"{name} (line {line})" in text


def test_what_the_place_calls_is_found(small) -> None:
    evidence = radius_of("vllm/pool.py#Pool.lookahead", small).evidence["LoRA"]
    assert evidence[0].text == "is reached from here along Pool.lookahead → slot_of"


def test_no_evidence_is_said_to_be_none_and_what_is_unseen_is_named(small) -> None:
    radius = radius_of("vllm/pool.py#Pool.take", small)
    assert radius.evidence["TP"] == radius.evidence["Quantization"] == []
    assert "1 further files have a call `.take(` of something: vllm/somewhere.py" in radius.unseen
    assert "every rank" in radius.unseen[-1]
    assert suggestion("TP", [radius]) == ""


def test_a_line_stands_for_the_definition_around_it(small) -> None:
    radius = radius_of('vllm/pool.py#Pool@"return slot_of(count)"', small)
    assert radius.node == ("vllm/pool.py", "Pool.lookahead")


def test_what_the_graph_does_not_have_is_refused(small) -> None:
    with pytest.raises(CapstoneError, match="is none of them"):
        radius_of("csrc/kernel.cu", small)
    with pytest.raises(CapstoneError, match=r"defines no Pool\.tak"):
        radius_of("vllm/pool.py#Pool.tak", small)


@pytest.mark.parametrize(
    ("target", "feature", "says"),
    [
        (
            "vllm/v1/core/sched/scheduler.py#Scheduler.schedule",
            "Speculative decoding",
            "spec_token_ids",
        ),
        ("vllm/v1/core/sched/scheduler.py#Scheduler.schedule", "LoRA", "lora_request"),
        (
            "vllm/v1/core/kv_cache_manager.py#KVCacheManager.allocate_slots",
            "Speculative decoding",
            "num_lookahead_tokens",
        ),
        ("vllm/v1/spec_decode/ngram_proposer.py#NgramProposer.__init__", "TP", "tp_size"),
        ("vllm/model_executor/layers/linear.py#QKVParallelLinear", "Quantization", "quant"),
        ("vllm/model_executor/layers/linear.py#RowParallelLinear.forward", "TP", "tp_"),
        ("vllm/lora/peft_helper.py#PEFTHelper.from_dict", "LoRA", "reaches this along"),
    ],
)
def test_what_every_reviewer_knows_is_found_at_the_pin(upstream, target, feature, says) -> None:
    evidence = radius_of(target, upstream).evidence[feature]
    assert any(says in one.text for one in evidence), evidence


def test_the_engines_step_is_found_through_the_schedulers_interface(upstream) -> None:
    radius = radius_of("vllm/v1/core/sched/scheduler.py#Scheduler.schedule", upstream)
    assert ("vllm/v1/engine/core.py", "EngineCore.step") in [caller for caller, _ in radius.callers]


def test_every_anchor_that_is_suggested_resolves(upstream) -> None:
    for target in (
        "vllm/lora/peft_helper.py#PEFTHelper",
        "vllm/v1/sample/sampler.py#Sampler.forward",
    ):
        for evidence in radius_of(target, upstream).evidence.values():
            for one in evidence:
                assert upstream.find(one.anchor)
