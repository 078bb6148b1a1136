"""What a step costs, in operations instead of time: linear in requests, constant in context."""

from __future__ import annotations

import tracemalloc

import pytest

from mini_vllm.bench.scheduler_step import (
    MiniVllmDriver,
    Shape,
    count_operations,
    main,
    measure_shape,
    one_step,
)
from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.core.scheduler import Scheduler

DRIVER = MiniVllmDriver()


def decoding(shape: Shape) -> Scheduler:
    """A scheduler whose requests have all drawn their first token."""
    scheduler = DRIVER.build(shape, num_steps=40)
    one_step(scheduler, DRIVER)
    return scheduler


def operations(shape: Shape) -> list[int]:
    """Of three blocks' worth of steps: most need no new block, some do."""
    scheduler = decoding(shape)
    return [count_operations(scheduler, DRIVER) for _ in range(20)]


def test_a_step_is_linear_in_the_number_of_running_requests() -> None:
    few, some, many = (sum(operations(Shape(number, 32))) for number in (16, 64, 256))
    # Twenty steps of a straight line: what 48 more cost, 192 more cost four times.
    assert many - some == pytest.approx(4 * (some - few), rel=0.001)
    assert some > few > 0


def test_a_step_does_not_look_at_the_context() -> None:
    assert operations(Shape(8, 1024)) == operations(Shape(8, 8192))


def allocated(shape: Shape) -> int:
    """Bytes that a step needs; the least of several, since now and then a list is given room."""
    scheduler = decoding(shape)
    peaks = []
    for _ in range(6):
        tracemalloc.start()
        try:
            one_step(scheduler, DRIVER)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return min(peaks)


def test_nor_does_it_copy_the_context() -> None:
    """What C does inside one call is no operation above, but a copy must be put somewhere."""
    assert allocated(Shape(8, 8192)) < 2 * allocated(Shape(8, 1024))


def test_both_would_notice(monkeypatch) -> None:
    allocate_slots = KVCacheManager.allocate_slots

    def walks_the_table(manager, request, *args, **settings):
        for _ in manager.req_to_blocks.get(request.request_id, ()):
            manager.get_block_ids("nobody")
        return allocate_slots(manager, request, *args, **settings)

    def copies_the_tokens(manager, request, *args, **settings):
        request.block_hashes = list(request.block_hashes) * 1
        kept.append(list(request.all_token_ids))
        return allocate_slots(manager, request, *args, **settings)

    kept: list[list[int]] = []
    monkeypatch.setattr(KVCacheManager, "allocate_slots", walks_the_table)
    assert sum(operations(Shape(8, 4096))) > 1.5 * sum(operations(Shape(8, 1024)))
    monkeypatch.setattr(KVCacheManager, "allocate_slots", copies_the_tokens)
    assert allocated(Shape(8, 8192)) > 2 * allocated(Shape(8, 1024))


def test_the_command_measures_and_writes_a_record(tmp_path, capsys) -> None:
    file = tmp_path / "record.json"
    arguments = ["--running", "2", "4", "--contexts", "32", "--steps", "5", "--json", str(file)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("us a step") == 3
    assert '"mini_vllm"' in file.read_text()


def test_drivers_take_turns() -> None:
    class Other(MiniVllmDriver):
        name = "other"

        def result(self, req_ids):
            order.append(self.name)
            return super().result(req_ids)

    class Mine(MiniVllmDriver):
        def result(self, req_ids):
            order.append(self.name)
            return super().result(req_ids)

    order: list[str] = []
    timings = measure_shape(Shape(2, 32), [Mine(), Other()], num_steps=6, num_warmup=1)
    assert order == ["mini_vllm", "other"] * 8
    assert all(timing.num_steps == 6 and timing.step_us > 0 for timing in timings.values())
