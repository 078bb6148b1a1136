"""Text as it grows: never half a character, never a piece of a stop string."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mini_vllm.engine.detokenizer import UNREAD_LIMIT, WINDOW_LIMIT, IncrementalDetokenizer
from mini_vllm.sampling_params import SamplingParams

REPLACEMENT = "\ufffd"


def feed(
    detokenizer: IncrementalDetokenizer, ids: list[int], sizes: list[int]
) -> tuple[list[str], str | None]:
    """Give tokens in portions; return the pieces of the stream, and the stop string if one hit."""
    pieces, stop = [], None
    while ids and stop is None:
        size = sizes[len(pieces) % len(sizes)]
        portion, ids = ids[:size], ids[size:]
        stop = detokenizer.update(portion)
        pieces.append(detokenizer.get_next_output_text(stop is not None or not ids, delta=True))
    return pieces, stop


sizes = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@given(prompt=st.text(max_size=6), answer=st.text(max_size=40), sizes=sizes)
def test_the_stream_is_the_text(byte_tokenizer, prompt: str, answer: str, sizes: list[int]) -> None:
    detokenizer = IncrementalDetokenizer(
        byte_tokenizer, SamplingParams(), byte_tokenizer.encode(prompt)
    )
    pieces, _ = feed(detokenizer, byte_tokenizer.encode(answer), sizes)
    assert "".join(pieces) == answer == detokenizer.output_text
    assert detokenizer.get_next_output_text(True, delta=False) == answer


@given(answer=st.text(alphabet="aé€😀", max_size=30))
def test_no_half_character_is_ever_shown(byte_tokenizer, answer: str) -> None:
    detokenizer = IncrementalDetokenizer(byte_tokenizer, SamplingParams())
    for token in byte_tokenizer.encode(answer):
        detokenizer.update([token])
        shown = detokenizer.get_next_output_text(False, delta=False)
        assert REPLACEMENT not in shown
        assert answer.startswith(shown)


def test_an_answer_that_ends_inside_a_character_ends_before_it(byte_tokenizer) -> None:
    detokenizer = IncrementalDetokenizer(byte_tokenizer, SamplingParams())
    detokenizer.update(byte_tokenizer.encode("ab😀")[:-1])
    assert detokenizer.get_next_output_text(True, delta=False) == "ab"


def test_bytes_that_are_no_character_do_not_block_what_follows(byte_tokenizer) -> None:
    detokenizer = IncrementalDetokenizer(byte_tokenizer, SamplingParams())
    detokenizer.update([0xFF, *byte_tokenizer.encode("ok")])
    assert detokenizer.output_text == f"{REPLACEMENT}ok"


@given(
    answer=st.text(alphabet="ab", max_size=30),
    stops=st.lists(st.text(alphabet="ab", min_size=1, max_size=4), min_size=1, max_size=3),
    include=st.booleans(),
    min_tokens=st.integers(0, 6),
    sizes=sizes,
)
def test_a_stream_stops_where_a_reader_of_the_whole_text_would(
    byte_tokenizer, answer: str, stops: list[str], include: bool, min_tokens: int, sizes: list[int]
) -> None:
    params = SamplingParams(
        stop=stops, include_stop_str_in_output=include, min_tokens=min_tokens, max_tokens=100
    )
    detokenizer = IncrementalDetokenizer(byte_tokenizer, params)
    # One token at a time, as an engine gives them, the oracle is simple: the first token after
    # which a stop string ends, wholly or partly, beyond the tokens that may not stop.
    expected, reason = answer, None
    for end in range(min_tokens + 1, len(answer) + 1):
        ending = [s for s in stops if answer[:end].endswith(s)]
        if ending:
            reason = max(ending, key=len)
            expected = answer[: end if include else end - len(reason)]
            break
    pieces, stop = feed(detokenizer, byte_tokenizer.encode(answer), [1])
    assert stop == reason
    assert "".join(pieces) == detokenizer.output_text == expected


@given(
    answer=st.text(alphabet="abc", max_size=30),
    stop=st.text(alphabet="abc", min_size=1, max_size=4),
    sizes=sizes,
)
def test_nothing_that_was_shown_is_taken_back(
    byte_tokenizer, answer: str, stop: str, sizes: list[int]
) -> None:
    detokenizer = IncrementalDetokenizer(byte_tokenizer, SamplingParams(stop=stop))
    pieces, reason = feed(detokenizer, byte_tokenizer.encode(answer), sizes)
    head, found, _ = answer.partition(stop)
    assert reason == (stop if found else None)
    assert "".join(pieces) == head


def test_of_several_stops_the_one_that_begins_first_wins(byte_tokenizer) -> None:
    detokenizer = IncrementalDetokenizer(byte_tokenizer, SamplingParams(stop=["world", "hello"]))
    assert detokenizer.update(byte_tokenizer.encode("oh hello world")) == "hello"
    assert detokenizer.output_text == "oh "


def test_a_stop_string_below_min_tokens_never_counts(byte_tokenizer) -> None:
    params = SamplingParams(stop="b", min_tokens=3, max_tokens=9)
    detokenizer = IncrementalDetokenizer(byte_tokenizer, params)
    assert feed(detokenizer, byte_tokenizer.encode("abcabc"), [1])[1] == "b"
    assert detokenizer.output_text == "abca"


@pytest.mark.parametrize(("include", "text"), [(False, "ab"), (True, "abc")])
def test_the_stop_token_itself_gives_no_text(byte_tokenizer, include: bool, text: str) -> None:
    params = SamplingParams(include_stop_str_in_output=include)
    detokenizer = IncrementalDetokenizer(byte_tokenizer, params)
    detokenizer.update(byte_tokenizer.encode("abc"), stop_terminated=True)
    assert detokenizer.output_text == text
    assert len(detokenizer.token_ids) == 3


@pytest.mark.parametrize(("skip", "text"), [(True, "a"), (False, "a<eos>")])
def test_special_tokens_are_shown_only_if_asked(byte_tokenizer, skip: bool, text: str) -> None:
    detokenizer = IncrementalDetokenizer(byte_tokenizer, SamplingParams(skip_special_tokens=skip))
    detokenizer.update([ord("a"), byte_tokenizer.eos_token_id])
    assert detokenizer.output_text == text


def test_without_a_tokenizer_there_are_tokens_and_no_text(byte_tokenizer) -> None:
    for tokenizer, params in (
        (None, SamplingParams()),
        (byte_tokenizer, SamplingParams(detokenize=False)),
    ):
        detokenizer = IncrementalDetokenizer(tokenizer, params)
        assert detokenizer.update([1, 2]) is None
        assert detokenizer.token_ids == [1, 2]
        assert detokenizer.get_next_output_text(True, delta=False) == ""


def test_a_tokenizer_of_the_tokenizers_library() -> None:
    """Byte-level BPE, trained here: four tokens may make one character."""
    tokenizers = pytest.importorskip("tokenizers", reason="the tokenizers library is not installed")
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<eos>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(["def schedule(self): return 0\n"] * 20, trainer)
    text = "def schedule(self):\n    return '€😀'  # é\n"
    ids = bpe.encode(text).ids
    detokenizer = IncrementalDetokenizer(bpe, SamplingParams(), ids[:3])
    prompt, shown = bpe.decode(ids[:3]), ""
    for token in ids[3:]:
        detokenizer.update([token])
        shown += detokenizer.get_next_output_text(False, delta=True)
        assert text.startswith(prompt + shown)
    assert prompt + shown == text


tokens = st.lists(
    st.one_of(st.integers(0, 255), st.sampled_from(list("aé€😀".encode()))), max_size=150
)
asked_at = st.sets(st.integers(0, 150), max_size=6)


@given(prompt=tokens, answer=tokens, portions=sizes, asked_at=asked_at)
def test_the_text_does_not_depend_on_when_somebody_asks(
    byte_tokenizer, prompt: list[int], answer: list[int], portions: list[int], asked_at: set[int]
) -> None:
    """Any bytes, characters or not: read at every token, now and then, or only at the end."""
    eager, lazy, late = (
        IncrementalDetokenizer(byte_tokenizer, SamplingParams(), prompt) for _ in range(3)
    )
    done, turn = 0, 0
    while done < len(answer):
        portion = answer[done : done + portions[turn % len(portions)]]
        for token in portion:
            eager.update([token])
            eager.get_next_output_text(False, delta=False)
        lazy.update(portion)
        late.update(portion)
        done, turn = done + len(portion), turn + 1
        if turn in asked_at:
            shown = lazy.get_next_output_text(False, delta=False)
            assert shown == eager.get_next_output_text(False, delta=False)
    ends = [one.get_next_output_text(True, delta=False) for one in (eager, lazy, late)]
    assert ends[0] == ends[1] == ends[2]


def counting(byte_tokenizer, params: SamplingParams) -> tuple[IncrementalDetokenizer, list[int]]:
    """A detokenizer, and the list of how many tokens each of its calls decodes."""
    sizes: list[int] = []

    class Counting:
        def decode(self, ids, skip_special_tokens=True):
            sizes.append(len(ids))
            return byte_tokenizer.decode(ids, skip_special_tokens)

    detokenizer = IncrementalDetokenizer(Counting(), params)
    sizes.clear()
    return detokenizer, sizes


def test_tokens_that_nobody_reads_are_decoded_a_portion_at_a_time(byte_tokenizer) -> None:
    detokenizer, sizes = counting(byte_tokenizer, SamplingParams())
    for token in b"x" * 640:
        detokenizer.update([token])
    assert detokenizer.get_next_output_text(True, delta=False) == "x" * 640
    # Per portion one call that reads and one that begins the next window, and none over all.
    assert len(sizes) <= 2 * 640 // UNREAD_LIMIT
    assert max(sizes) <= UNREAD_LIMIT + WINDOW_LIMIT


def test_a_stop_string_is_looked_for_at_every_token(byte_tokenizer) -> None:
    detokenizer, _ = counting(byte_tokenizer, SamplingParams(stop=["end"]))
    hits = [detokenizer.update([token]) for token in b"the end."]
    assert hits == [None] * 6 + ["end"] + [None]
