"""The resolver on the tree itself: places that were read by eye, and every entry of the lock."""

from __future__ import annotations

import pytest

from upstream_anchors.errors import AnchorError
from upstream_anchors.lock import Lock
from upstream_anchors.pin import PROJECT_ROOT, the_pin
from upstream_anchors.resolver import Resolver


@pytest.mark.parametrize(
    ("target", "path", "lines"),
    [
        ("vllm/v1/engine/core.py#EngineCore.step", "vllm/v1/engine/core.py", (428, 457)),
        (
            'vllm/v1/engine/core.py#EngineCore.step@"self.scheduler.schedule()"',
            "vllm/v1/engine/core.py",
            (439, 439),
        ),
        ("vllm/v1/request.py#Request.num_computed_tokens", "vllm/v1/request.py", (145, 145)),
        ("env:VLLM_LOGGING_LEVEL", "vllm/envs.py", (794, 794)),
        ("flag:--max-num-seqs", "vllm/engine/arg_utils.py", (1366, 1372)),
        ("flag:--port", "vllm/entrypoints/openai/cli_args.py", (230, 230)),
        ('log:"GPU KV cache size"', "vllm/v1/core/kv_cache_utils.py", (1733, 1733)),
        (
            "default:vllm/config/cache.py#CacheConfig.gpu_memory_utilization=0.92",
            "vllm/config/cache.py",
            (66, 66),
        ),
        (
            "default:vllm/entrypoints/llm.py#LLM.__init__.gpu_memory_utilization=0.92",
            "vllm/entrypoints/llm.py",
            (195, 195),
        ),
        # The default is a class constant of another name.
        (
            "default:vllm/config/scheduler.py#SchedulerConfig.max_num_seqs=128",
            "vllm/config/scheduler.py",
            (63, 63),
        ),
        ("csrc/cache_kernels.cu#reshape_and_cache_flash", "csrc/cache_kernels.cu", (735, 800)),
        (
            "csrc/attention/attention_kernels.cuh#paged_attention_kernel",
            "csrc/attention/attention_kernels.cuh",
            (81, 491),
        ),
        (
            "docs/design/arch_overview.md#V1 Process Architecture",
            "docs/design/arch_overview.md",
            (81, 147),
        ),
        # Three re-exports away from where it is asked for.
        ("py:vllm.LLM", "vllm/entrypoints/llm.py", (66, 921)),
    ],
)
def test_a_place_that_was_read_by_eye(
    real: Resolver, target: str, path: str, lines: tuple[int, int]
) -> None:
    place = real.resolve(target)
    assert (place.path, (place.start, place.end)) == (path, lines)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("default:vllm/config/cache.py#CacheConfig.gpu_memory_utilization=0.9", "0.92, not 0.9"),
        ("vllm/worker/worker.py", "has no vllm/worker/worker.py"),
        ("env:VLLM_USE_V1", "has no entry"),
        ("flag:--swap-space", "no command"),
        ('log:"# GPU blocks"', "no logger call"),
        ("csrc/quantization/marlin/marlin.cu#marlin_gemm", "2 times, at lines 49, 531"),
    ],
)
def test_what_the_pin_no_longer_has_is_refused(real: Resolver, target: str, reason: str) -> None:
    with pytest.raises(AnchorError) as caught:
        real.resolve(target)
    assert reason in caught.value.reason


def test_every_locked_anchor_is_where_the_lock_says(real: Resolver) -> None:
    lock = Lock.load(the_pin())
    assert len(lock.entries) > 100
    for target in lock:
        locked = lock.entries[target]
        if target.startswith("log:"):
            continue  # a search through every file each; `check` makes it
        place = real.resolve(target)
        assert (place, place.digest(real.tree)) == (locked.place, locked.sha256)


def test_the_sdist_is_the_pinned_commit(real: Resolver) -> None:
    pin = the_pin()
    assert (pin.tag, pin.commit) == (f"v{pin.version}", "0decac0d9")
    assert {"AGENTS.md", ".buildkite/ci_config.yaml", "tests/v1/core/test_scheduler.py"} <= (
        real.tree.files
    )


def test_the_page_about_the_pin_says_what_the_pin_says() -> None:
    page, pin = (PROJECT_ROOT / "UPSTREAM_PIN.md").read_text(encoding="utf-8"), the_pin()
    for fact in (f"release | {pin.version}, tag `{pin.tag}`", f"`{pin.commit}`", pin.sdist_sha256):
        assert fact in page
