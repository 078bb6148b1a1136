"""Each rule of the scheduler, alone, in numbers to check by hand (blocks of 4 tokens)."""

from __future__ import annotations

import pytest

from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.errors import InvariantError, RequestError
from mini_vllm.sampling_params import SamplingParams


def test_decodes_and_a_prompt_share_one_budget(make_scheduler) -> None:
    scheduler = make_scheduler(max_num_batched_tokens=16, max_num_seqs=4)
    scheduler.add("a", 3)
    scheduler.step()
    scheduler.add("b", 40)
    assert scheduler.step().num_scheduled_tokens == {"a": 1, "b": 15}
    assert scheduler.step().num_scheduled_tokens == {"a": 1, "b": 15}
    assert scheduler.step().num_scheduled_tokens == {"a": 1, "b": 10}
    assert scheduler.step().num_scheduled_tokens == {"a": 1, "b": 1}


def test_a_prompt_that_fits_is_one_step(make_scheduler) -> None:
    scheduler = make_scheduler(max_num_batched_tokens=16, max_num_seqs=4)
    request = scheduler.add("a", 16)
    scheduler.step()
    assert request.num_output_tokens == 1
    longer = scheduler.add("b", 16)
    # One token of the budget went to "a": the first token of "b" is one step later.
    scheduler.step()
    assert longer.num_output_tokens == 0
    scheduler.step()
    assert longer.num_output_tokens == 1


def test_the_threshold_caps_every_chunk(make_scheduler) -> None:
    scheduler = make_scheduler(
        max_num_batched_tokens=32, max_num_seqs=4, long_prefill_token_threshold=5
    )
    scheduler.add("a", 12)
    scheduler.add("b", 4)
    assert scheduler.step().num_scheduled_tokens == {"a": 5, "b": 4}
    assert scheduler.step().num_scheduled_tokens == {"a": 5, "b": 1}
    assert scheduler.step().num_scheduled_tokens == {"a": 2, "b": 1}


def test_without_chunking_a_prompt_waits_for_a_whole_budget(make_scheduler) -> None:
    scheduler = make_scheduler(
        max_num_batched_tokens=16,
        max_num_seqs=4,
        max_model_len=16,
        enable_chunked_prefill=False,
    )
    scheduler.add("a", 8, max_tokens=2)
    scheduler.add("b", 12, max_tokens=2)
    scheduler.add("c", 2, max_tokens=2)
    # "c" would fit beside "a", and does not overtake "b".
    assert scheduler.step().num_scheduled_tokens == {"a": 8}
    assert scheduler.step().num_scheduled_tokens == {"a": 1, "b": 12, "c": 2}


def test_seats_are_limited(make_scheduler) -> None:
    scheduler = make_scheduler(max_num_batched_tokens=64, max_num_seqs=2)
    for name in "abc":
        scheduler.add(name, 4, max_tokens=2)
    assert list(scheduler.step().num_scheduled_tokens) == ["a", "b"]
    assert scheduler.get_request_counts() == (2, 1)
    scheduler.step()
    assert list(scheduler.step().num_scheduled_tokens) == ["c"]


def test_admission_stops_at_the_first_that_does_not_fit(make_scheduler) -> None:
    scheduler = make_scheduler(num_gpu_blocks=6)
    scheduler.add("a", 12, max_tokens=1)
    scheduler.add("big", 12, max_tokens=1)
    scheduler.add("small", 4, max_tokens=1)
    assert list(scheduler.step().num_scheduled_tokens) == ["a"]
    assert list(scheduler.step().num_scheduled_tokens) == ["big", "small"]


@pytest.mark.parametrize(("reserve", "admitted"), [(True, ["a"]), (False, ["a", "b"])])
def test_a_chunk_is_admitted_only_if_the_whole_prompt_would_fit(
    make_scheduler, reserve: bool, admitted: list[str]
) -> None:
    scheduler = make_scheduler(
        num_gpu_blocks=8,
        max_num_batched_tokens=12,
        max_num_seqs=4,
        scheduler_reserve_full_isl=reserve,
    )
    scheduler.add("a", 8, max_tokens=4)
    scheduler.add("b", 24, max_tokens=4)
    assert list(scheduler.step().num_scheduled_tokens) == admitted


def test_fcfs_takes_the_blocks_of_the_last_admitted(make_scheduler) -> None:
    scheduler = make_scheduler(num_gpu_blocks=5)
    first = scheduler.add("a", 7, max_tokens=9)
    second = scheduler.add("b", 7, max_tokens=9)
    scheduler.step()
    scheduler.step()
    # Both have 8 computed tokens and two full blocks; the pool of four is used up.
    output = scheduler.plan()
    assert output.preempted_req_ids == {"b"}
    assert output.num_scheduled_tokens == {"a": 1}
    assert (second.status, second.num_computed_tokens) == (RequestStatus.PREEMPTED, 0)
    assert (second.num_tokens, second.num_preemptions) == (9, 1)
    assert first.status == RequestStatus.RUNNING
    assert scheduler.waiting.peek_request() is second


def test_a_step_that_preempts_admits_nobody(make_scheduler) -> None:
    scheduler = make_scheduler(num_gpu_blocks=5)
    scheduler.add("a", 7, max_tokens=9)
    scheduler.add("b", 7, max_tokens=9)
    scheduler.step()
    scheduler.step()
    scheduler.add("c", 1, max_tokens=1)
    # "c" needs one block, and one is free once "b" has given back two and "a" has taken one.
    assert list(scheduler.step().num_scheduled_tokens) == ["a"]
    assert scheduler.kv_cache_manager.block_pool.get_num_free_blocks() == 1


def test_a_resumed_request_comes_back_with_all_its_tokens(make_scheduler) -> None:
    scheduler = make_scheduler(num_gpu_blocks=5)
    scheduler.add("a", 7, max_tokens=3)
    scheduler.add("b", 7, max_tokens=4)
    for _ in range(3):
        scheduler.step()
    output = scheduler.plan()
    cached = output.scheduled_cached_reqs
    assert output.finished_req_ids == {"a"}
    assert cached.resumed_req_ids == {"b"}
    # Seven of the prompt and two drawn; its first block survived, its second was overwritten.
    assert len(cached.all_token_ids["b"]) == 9
    assert cached.num_output_tokens == [2]
    assert cached.num_computed_tokens == [4]
    assert cached.new_token_ids == [cached.all_token_ids["b"][4:]]
    assert cached.new_block_ids == [scheduler.kv_cache_manager.get_block_ids("b")]
    assert output.num_scheduled_tokens == {"b": 5}


def test_a_request_may_be_its_own_victim(make_scheduler) -> None:
    """The last in line needs a block, nobody stands behind it: it steps back itself."""
    scheduler = make_scheduler(num_gpu_blocks=4)
    scheduler.add("a", 6, max_tokens=4)
    last = scheduler.add("b", 4, max_tokens=4)
    scheduler.step()
    output = scheduler.plan()
    assert output.num_scheduled_tokens == {"a": 1}
    assert output.preempted_req_ids == {"b"}
    assert last.status == RequestStatus.PREEMPTED


class TestPriority:
    def test_the_most_urgent_is_admitted_first(self, make_scheduler) -> None:
        scheduler = make_scheduler(policy="priority")
        scheduler.add("late", 4, priority=1, arrival_time=2)
        scheduler.add("early", 4, priority=1, arrival_time=1)
        scheduler.add("urgent", 4, priority=0, arrival_time=3)
        assert list(scheduler.step().num_scheduled_tokens) == ["urgent", "early", "late"]

    def test_a_victim_that_was_already_scheduled_leaves_the_step(self, make_scheduler) -> None:
        """The worst of three is first in line and has its token when "b" finds no free block."""
        scheduler = make_scheduler(num_gpu_blocks=5, policy="priority")
        worst = scheduler.add("worst", 5, max_tokens=9, priority=9)
        scheduler.step()
        scheduler.add("b", 3, max_tokens=9, priority=1)
        scheduler.add("c", 3, max_tokens=9, priority=1)
        scheduler.step()
        assert list(scheduler.step().num_scheduled_tokens) == ["worst", "b", "c"]
        output = scheduler.plan()
        assert output.preempted_req_ids == {"worst"}
        assert output.num_scheduled_tokens == {"b": 1, "c": 1}
        assert output.total_num_scheduled_tokens == 2
        assert output.scheduled_cached_reqs.req_ids == ["b", "c"]
        assert worst.num_computed_tokens == 0

    def test_its_tokens_go_back_to_the_budget(self, make_scheduler) -> None:
        scheduler = make_scheduler(
            num_gpu_blocks=6,
            policy="priority",
            max_num_batched_tokens=6,
            max_num_seqs=3,
            scheduler_reserve_full_isl=False,
        )
        scheduler.add("worst", 5, max_tokens=9, priority=9)
        scheduler.step()
        scheduler.add("b", 3, max_tokens=9, priority=1)
        scheduler.add("c", 12, max_tokens=2, priority=1, arrival_time=1)
        scheduler.step()
        assert scheduler.step().num_scheduled_tokens == {"worst": 1, "b": 1, "c": 4}
        output = scheduler.plan()
        assert output.preempted_req_ids == {"worst"}
        # Five for "c", not four: the token that "worst" had been given is spent on it.
        assert output.num_scheduled_tokens == {"b": 1, "c": 5}

    def test_ties_fall_on_the_later_arrival(self, make_scheduler) -> None:
        scheduler = make_scheduler(num_gpu_blocks=5, policy="priority")
        scheduler.add("early", 7, max_tokens=9, priority=1, arrival_time=1)
        scheduler.add("late", 7, max_tokens=9, priority=1, arrival_time=2)
        scheduler.step()
        scheduler.step()
        assert scheduler.plan().preempted_req_ids == {"late"}

    def test_the_urgent_preempt_themselves_last(self, make_scheduler) -> None:
        scheduler = make_scheduler(num_gpu_blocks=5, policy="priority")
        scheduler.add("urgent", 7, max_tokens=9, priority=0, arrival_time=2)
        scheduler.add("calm", 7, max_tokens=9, priority=5, arrival_time=1)
        scheduler.step()
        scheduler.step()
        assert scheduler.plan().preempted_req_ids == {"calm"}


class TestPrefixCache:
    def test_a_hit_moves_the_counter_before_the_first_step(self, make_scheduler) -> None:
        scheduler = make_scheduler()
        scheduler.add("a", range(10), max_tokens=1)
        scheduler.step()
        request = scheduler.add("b", range(10), max_tokens=1)
        output = scheduler.plan()
        assert output.num_scheduled_tokens == {"b": 2}
        assert output.scheduled_new_reqs[0].num_computed_tokens == 8
        assert request.num_cached_tokens == 8
        assert request.num_computed_tokens == 10

    def test_a_request_can_share_what_this_very_step_computes(self, make_scheduler) -> None:
        scheduler = make_scheduler()
        scheduler.add("a", range(10))
        scheduler.add("b", range(10))
        output = scheduler.plan()
        assert output.num_scheduled_tokens == {"a": 10, "b": 2}
        tables = [new.block_ids for new in output.scheduled_new_reqs]
        assert tables[0][:2] == tables[1][:2]
        assert tables[0][2] != tables[1][2]

    def test_but_not_what_a_later_chunk_will(self, make_scheduler) -> None:
        scheduler = make_scheduler(max_num_batched_tokens=12, max_num_seqs=3)
        scheduler.add("a", range(20))
        scheduler.step()
        scheduler.add("b", range(20))
        # Now "a" computes 8 more and "b" hits all four full blocks before its last token.
        output = scheduler.plan()
        assert output.num_scheduled_tokens == {"a": 8, "b": 4}
        assert output.scheduled_new_reqs[0].num_computed_tokens == 16

    def test_twins_that_fill_the_same_block_keep_their_own(self, make_scheduler) -> None:
        scheduler = make_scheduler(enable_prefix_caching=True)
        scheduler.add("a", range(3), max_tokens=8)
        scheduler.add("b", range(3), max_tokens=8)
        for _ in range(6):
            scheduler.step()
        tables = [scheduler.kv_cache_manager.get_block_ids(name) for name in "ab"]
        assert not set(tables[0]) & set(tables[1])
        assert scheduler.requests["a"].block_hashes == scheduler.requests["b"].block_hashes

    def test_switched_off_nothing_is_hashed(self, make_scheduler) -> None:
        scheduler = make_scheduler(enable_prefix_caching=False)
        scheduler.add("a", range(10), max_tokens=1)
        scheduler.step()
        request = scheduler.add("b", range(10), max_tokens=1)
        assert scheduler.step().num_scheduled_tokens == {"b": 10}
        assert request.block_hashes == []

    def test_reset_forgets_once_nobody_runs(self, make_scheduler) -> None:
        scheduler = make_scheduler()
        scheduler.add("a", range(10), max_tokens=2)
        scheduler.step()
        assert not scheduler.reset_prefix_cache()
        scheduler.step()
        assert scheduler.reset_prefix_cache()
        scheduler.add("b", range(10), max_tokens=1)
        assert scheduler.step().num_scheduled_tokens == {"b": 10}


class TestEnds:
    def test_the_runner_hears_of_an_end_in_the_next_step(self, make_scheduler) -> None:
        scheduler = make_scheduler()
        scheduler.add("a", 4, max_tokens=1)
        scheduler.step()
        assert not scheduler.has_unfinished_requests()
        assert scheduler.has_requests()
        output = scheduler.step()
        assert output.finished_req_ids == {"a"}
        assert output.total_num_scheduled_tokens == 0
        assert not scheduler.has_requests()

    def test_an_abort_while_the_model_runs_is_passed_over(self, make_scheduler) -> None:
        scheduler = make_scheduler()
        aborted = scheduler.add("a", 4)
        scheduler.add("b", 4)
        output = scheduler.plan()
        assert scheduler.finish_requests("a", RequestStatus.FINISHED_ABORTED) == ["a"]
        scheduler.update(output)
        assert aborted.num_output_tokens == 0
        assert scheduler.requests["b"].num_output_tokens == 1

    def test_waiting_and_preempted_requests_can_be_aborted(self, make_scheduler) -> None:
        scheduler = make_scheduler(num_gpu_blocks=5, max_num_seqs=2)
        for name in "abc":
            scheduler.add(name, 7, max_tokens=9)
        for _ in range(3):
            scheduler.step()
        assert scheduler.requests["b"].status == RequestStatus.PREEMPTED
        ended = scheduler.finish_requests(["b", "c", "b", "x"], RequestStatus.FINISHED_ABORTED)
        assert ended == ["b", "c"]
        scheduler.check()
        assert scheduler.step().finished_req_ids == {"b", "c"}

    def test_none_means_all(self, make_scheduler) -> None:
        scheduler = make_scheduler(max_num_seqs=1)
        for name in "abc":
            scheduler.add(name, 4)
        scheduler.step()
        assert scheduler.finish_requests(None, RequestStatus.FINISHED_ABORTED) == ["a", "b", "c"]
        assert not scheduler.has_unfinished_requests()
        assert scheduler.kv_cache_manager.usage == 0

    def test_a_status_that_is_no_end_is_refused(self, make_scheduler) -> None:
        with pytest.raises(ValueError, match="WAITING does not end a request"):
            make_scheduler().finish_requests([], RequestStatus.WAITING)

    def test_an_id_may_be_used_again_at_once(self, make_scheduler) -> None:
        scheduler = make_scheduler()
        scheduler.add("a", [1, 2, 3], max_tokens=1)
        scheduler.step()
        scheduler.add("a", [4, 5, 6, 7, 8], max_tokens=1)
        output = scheduler.step()
        assert output.finished_req_ids == {"a"}
        assert output.num_scheduled_tokens == {"a": 5}


class TestRefusals:
    def test_an_id_in_use(self, make_scheduler) -> None:
        scheduler = make_scheduler()
        scheduler.add("a", 4)
        with pytest.raises(RequestError, match="request id 'a' is in use"):
            scheduler.add("a", 4)
        assert len(scheduler.waiting) == 1

    def test_a_prompt_that_leaves_no_room_for_an_answer(self, make_scheduler) -> None:
        scheduler = make_scheduler(max_model_len=16)
        scheduler.add("fits", 15)
        with pytest.raises(RequestError, match=r"16 tokens; with max_model_len=16 .* at most 15"):
            scheduler.add("does not", 16)

    def test_an_empty_prompt(self, make_scheduler) -> None:
        with pytest.raises(RequestError, match="no tokens"):
            make_scheduler().add("a", [])

    @pytest.mark.parametrize(("max_tokens", "fits"), [(5, True), (6, False)])
    def test_prompt_and_answer_beyond_the_pool(
        self, make_scheduler, max_tokens: int, fits: bool
    ) -> None:
        """Three blocks are 12 slots: 8 of the prompt and 4 of the answer, whose last needs none."""
        scheduler = make_scheduler(num_gpu_blocks=4)
        if fits:
            request = scheduler.add("a", 8, max_tokens=max_tokens)
            while scheduler.has_unfinished_requests():
                scheduler.step()
            assert request.num_output_tokens == max_tokens
        else:
            with pytest.raises(RequestError, match="need 4 blocks of 4 tokens; the KV cache has 3"):
                scheduler.add("a", 8, max_tokens=max_tokens)
            assert not scheduler.requests

    def test_an_answer_without_a_limit_beyond_the_pool(self, make_scheduler) -> None:
        scheduler = make_scheduler(num_gpu_blocks=4)
        request = Request("a", [1, 2], SamplingParams(max_tokens=None))
        with pytest.raises(RequestError, match="the KV cache has 3"):
            scheduler.add_request(request)


@pytest.mark.parametrize(
    ("corrupt", "named"),
    [
        (lambda s: s.waiting.add_request(s.running[0]), "one-home"),
        (lambda s: s.running.append(s.running[0]), "one-home"),
        (lambda s: s.requests.pop("a"), "one-home"),
        (lambda s: setattr(s.running[0], "status", RequestStatus.WAITING), "one-home"),
        (lambda s: setattr(s.running[0], "num_computed_tokens", 99), "computed-never-exceeds"),
        (lambda s: setattr(next(iter(s.waiting)), "num_computed_tokens", 1), "waits"),
        (lambda s: setattr(s, "max_num_running_reqs", 0), "seats-kept"),
        (lambda s: s.kv_cache_manager.req_to_blocks.update(b=[]), "blocks-cover-tokens"),
        (lambda s: setattr(s.running[0], "num_computed_tokens", 1), "blocks-cover-tokens"),
        (lambda s: s.running[0].block_hashes.reverse(), "hash-chain"),
    ],
)
def test_each_corruption_is_named(make_scheduler, corrupt, named: str) -> None:
    scheduler = make_scheduler(max_num_seqs=1)
    scheduler.add("a", 9)
    scheduler.add("b", 5)
    scheduler.step()
    corrupt(scheduler)
    with pytest.raises(InvariantError, match=named):
        scheduler.check()
