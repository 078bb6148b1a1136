"""Who is chosen, who is passed over, and is every reason given?"""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mini_vllm.attention import selector
from mini_vllm.attention.backend import AttentionBackend, AttentionSelectorConfig
from mini_vllm.attention.kv_cache_layout import HND, NHD, KVCacheLayout
from mini_vllm.attention.selector import (
    BACKENDS,
    backend_class,
    obstacles_to,
    priorities,
    select_attention_backend,
)
from mini_vllm.errors import ConfigError

FLASH_ATTENTION_4_ALONE = (
    "the module flash_attn is there, and the package flash-attn (version 2) is not"
)
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def ask(device=CPU, dtype=torch.float32, head_size=64, **more):
    return AttentionSelectorConfig(device=device, dtype=dtype, head_size=head_size, **more)


def test_the_cpu_gets_the_compiled_backend():
    choice = select_attention_backend(ask())
    assert choice.backend.name == "cpu_numba"
    assert not choice.passed_over
    assert str(choice) == (
        "Using cpu_numba attention backend: the first of cpu_numba, torch_reference that fits"
    )


def test_float16_falls_through_and_the_choice_says_why():
    choice = select_attention_backend(ask(dtype=torch.float16))
    assert choice.backend.name == "torch_reference"
    assert choice.passed_over == {"cpu_numba": ["it knows float32, bfloat16, not float16"]}
    assert choice.lines() == [
        "Not cpu_numba: it knows float32, bfloat16, not float16",
        "Using torch_reference attention backend: "
        "the first of cpu_numba, torch_reference that fits",
    ]


def test_a_soft_cap_falls_through():
    choice = select_attention_backend(ask(logits_soft_caps=(None, 30.0)))
    assert choice.backend.name == "torch_reference"
    assert choice.passed_over["cpu_numba"] == ["it knows no soft cap"]


def test_a_named_backend_must_fit_and_all_reasons_are_given():
    config = ask(CUDA, torch.float16, logits_soft_caps=(30.0,))
    with pytest.raises(ConfigError, match="cpu_numba") as error:
        select_attention_backend(config, "cpu_numba")
    for reason in ("it runs on cpu, not on cuda", "not float16", "it knows no soft cap"):
        assert reason in str(error.value)


def test_a_named_backend_that_fits():
    choice = select_attention_backend(ask(), "torch_reference")
    assert str(choice) == "Using torch_reference attention backend: asked for by name"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"'flash'.*cpu_numba.*torch_static, triton"):
        select_attention_backend(ask(), "flash")


@pytest.mark.parametrize("name", BACKENDS)
def test_every_name_resolves(name):
    assert backend_class(name).name == name


def test_every_order_ends_with_the_oracle_and_names_only_backends():
    for device, capability in (("cpu", None), ("cuda", None), ("cuda", (9, 0)), ("cuda", (10, 3))):
        order = priorities(device, capability)
        assert order[-1] == "torch_reference"
        assert set(order) <= set(BACKENDS)


def test_flashinfer_comes_first_on_blackwell_only():
    assert priorities("cuda", (10, 0))[:3] == ("flashinfer", "flash_attention", "triton")
    for capability in ((8, 0), (9, 0), (12, 0), None):
        assert priorities("cuda", capability)[:3] == ("flash_attention", "flashinfer", "triton")


def test_the_order_is_the_pinned_one():
    """The names in upstream's own function, read out of its source."""
    import ast
    from pathlib import Path

    path = Path(__file__).parents[2] / "upstream" / "vllm" / "platforms" / "cuda.py"
    if not path.exists():
        pytest.skip("upstream/ was not fetched: nox -s anchors")
    tree = ast.parse(path.read_text())
    function = next(
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == "_get_backend_priorities"
    )
    without_mla = function.body[-1].orelse[0]
    assert ast.unparse(without_mla.test) == "device_capability.major == 10"
    ours = {"FLASHINFER": "flashinfer", "FLASH_ATTN": "flash_attention", "TRITON_ATTN": "triton"}
    for branch, capability in ((without_mla.body, (10, 0)), (without_mla.orelse, (9, 0))):
        names = [element.attr for element in branch[0].value.elts]
        followed = [ours[name] for name in names if name in ours]
        assert followed == list(priorities("cuda", capability))[:-1]


@pytest.mark.parametrize(
    ("version", "cap", "expected"),
    [
        (None, None, [FLASH_ATTENTION_4_ALONE]),
        ("2.5.6", None, ["flash-attn 2.5.6 takes no pages in flash_attn_varlen_func, 2.5.7 does"]),
        ("2.5.9.post1", None, []),
        ("2.5.9.post1", 30.0, ["flash-attn 2.5.9 knows no soft cap, 2.6.0 does"]),
        ("2.8.3", 30.0, []),
    ],
)
def test_flash_attention_asks_for_the_release(version, cap, expected, monkeypatch):
    """Which release knew what was read off its tags: see the module's text."""
    from mini_vllm.attention import backend, flash_attention

    def installed(name):
        assert name == "flash-attn"
        if version is None:
            raise flash_attention.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(backend, "find_spec", lambda name: object())
    monkeypatch.setattr(flash_attention, "find_spec", lambda name: object())
    monkeypatch.setattr(flash_attention.metadata, "version", installed)
    big = ask(CUDA, torch.float16, block_size=256, logits_soft_caps=(cap,))
    assert obstacles_to("flash_attention", big) == expected
    small = dataclasses.replace(big, block_size=16)
    assert obstacles_to("flash_attention", small) == [
        "block_size 16 is not a multiple of 256",
        *expected,
    ]


def test_when_nothing_fits_everything_is_said(monkeypatch):
    monkeypatch.setattr(selector, "priorities", lambda *_: ("cpu_numba", "flashinfer"))
    with pytest.raises(ConfigError, match=r"cpu_numba: .*; flashinfer: .*"):
        select_attention_backend(ask(dtype=torch.float16))


def test_a_missing_package_is_a_reason(monkeypatch):
    def gone(name):
        raise ModuleNotFoundError("No module named 'numba'", name="numba")

    monkeypatch.setattr(selector.importlib, "import_module", gone)
    assert obstacles_to("cpu_numba", ask()) == ["numba is not installed"]


def test_a_broken_module_of_our_own_is_no_reason(monkeypatch):
    def broken(name):
        raise ModuleNotFoundError("no such", name="mini_vllm.attention.nothing")

    monkeypatch.setattr(selector.importlib, "import_module", broken)
    with pytest.raises(ModuleNotFoundError):
        obstacles_to("cpu_numba", ask())


class Picky(AttentionBackend):
    """A backend that wants everything just so."""

    name = "picky"
    supported_devices = ("cuda",)
    minimum_capability = (8, 0)
    required_packages = ("no_such_package",)
    supported_dtypes = (torch.bfloat16,)
    head_size_multiple = 8
    largest_head_size = 128
    block_size_multiple = 16
    supports_sliding_window = False
    supports_soft_cap = False

    @classmethod
    def other_obstacles(cls, config):
        return ["it is Monday"]

    def forward(self, *arguments):
        raise NotImplementedError


class TestReasons:
    good = ask(CUDA, torch.bfloat16, compute_capability=(9, 0))

    def test_each_wish_has_a_reason_of_its_own(self):
        always = ["no_such_package is not installed", "it is Monday"]
        assert Picky.validate_configuration(self.good) == always
        for change, reason in (
            ({"device": CPU}, "it runs on cuda, not on cpu"),
            ({"compute_capability": (7, 5)}, "it needs compute capability 8.0, not 7.5"),
            ({"dtype": torch.float32}, "it knows bfloat16, not float32"),
            ({"head_size": 100}, "head_size 100 is not a multiple of 8"),
            ({"head_size": 256}, "head_size 256 is larger than 128"),
            ({"block_size": 8}, "block_size 8 is not a multiple of 16"),
            ({"sliding_windows": (None, 4096)}, "it knows no sliding window"),
            ({"logits_soft_caps": (50.0,)}, "it knows no soft cap"),
        ):
            reasons = Picky.validate_configuration(dataclasses.replace(self.good, **change))
            assert sorted(reasons) == sorted([*always, reason])

    def test_all_at_once(self):
        bad = ask(CPU, torch.float32, 260, block_size=4, sliding_windows=(8,))
        assert len(Picky.validate_configuration(bad)) == 8


class TestLayout:
    def test_shape_and_strides_are_those_of_a_tensor(self):
        for layout in (HND, NHD):
            shape = layout.shape(5, 16, 2, 64)
            strides = layout.strides(5, 16, 2, 64)
            assert torch.empty(shape).stride() == tuple(strides[n] for n in layout.dimensions)

    def test_the_house_reads_a_head_in_one_run(self):
        assert AttentionBackend.kv_cache_layout is HND
        assert AttentionBackend.kv_cache_shape(5, 16, 2, 64) == (2, 5, 2, 16, 64)

    def test_nhd_is_a_view_of_hnd(self):
        """Transposed, an HND page has the shape of an NHD page, and no number moves."""
        sizes = (5, 16, 2, 64)
        pages = torch.empty(HND.shape(*sizes))
        assert tuple(pages.transpose(2, 3).shape) == NHD.shape(*sizes)

    def test_an_order_that_forgets_a_dimension(self):
        with pytest.raises(ValueError, match="orders kv, block, head, place and number"):
            KVCacheLayout("odd", ("kv", "block", "head", "number"))
