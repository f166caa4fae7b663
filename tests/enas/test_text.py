"""Vocabulary, streams and the slices of them that steps read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from enas import text

WORDS = ["the", "cat", "saw", "the", "dog", "<eos>", "the", "dog", "saw", "a", "bird", "<eos>"]


def test_the_most_frequent_words_come_first_and_rare_ones_are_unknown():
    assert text.vocabulary(WORDS) == (
        "the", "<eos>", "dog", "saw", "a", "bird", "cat", "<unk>",
    )  # fmt: skip
    # a, bird and cat are left out: three words.
    assert text.vocabulary(WORDS, 5) == ("<unk>", "the", "<eos>", "dog", "saw")
    assert set(text.vocabulary(WORDS, 2)) == {"<unk>", "<eos>"}


def test_words_that_are_unknown_in_the_text_count_as_such():
    assert text.vocabulary(["<unk>", "<unk>", "a"], 3) == ("<unk>", "a", "<eos>")


def test_a_vocabulary_needs_room():
    with pytest.raises(ValueError, match=r"size: expected at least 2 \(<unk> and <eos>\), got 1"):
        text.vocabulary(WORDS, 1)


def test_words_become_their_places():
    vocabulary = text.vocabulary(WORDS, 5)
    tokens = text.encoded(["the", "bird", "saw", "<eos>"], vocabulary)
    assert tokens.dtype == np.int32
    assert tokens.tolist() == [1, 0, 4, 2]
    with pytest.raises(ValueError, match="vocabulary: expected <unk> in it, got 1 words without"):
        text.encoded(["the"], ["the"])


def test_streams_are_contiguous_parts():
    found = text.streams(np.arange(23), 3)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, np.arange(21).reshape(3, 7))
    with pytest.raises(ValueError, match="tokens: expected at least 2 for each of 3 streams, 5"):
        text.streams(np.arange(5), 3)


def test_a_pass_over_the_penn_treebank_is_about_400_steps():
    assert text.num_steps(text.streams(np.zeros(929_589, np.int32), 64).shape[1], 35) == 414


def test_steps_read_the_streams_in_order_and_begin_again():
    streams = text.streams(np.arange(24), 2)  # two streams of 12 words
    assert text.num_steps(12, 4) == 2  # 4 + 4 + the target of the last, and 3 left out
    assert text.num_steps(13, 4) == 3
    assert text.num_steps(5, 4) == 1
    read = jax.jit(text.batch_at, static_argnums=2)
    for step in range(5):
        tokens, targets, starts = read(streams, step, 4)
        first = step % 2 * 4
        expected = np.array([np.arange(first, first + 4), np.arange(first, first + 4) + 12])
        np.testing.assert_array_equal(tokens, expected)
        np.testing.assert_array_equal(targets, expected + 1)
        assert bool(starts) == (step % 2 == 0)
    assert tokens.dtype == targets.dtype == np.int32
    with pytest.raises(ValueError, match="bptt: expected 1 to 11 words of streams of 12, 12"):
        text.batch_at(jnp.asarray(streams), 0, 12)


def test_random_segments_lie_in_one_stream_and_anywhere_in_it():
    streams = jnp.arange(24, dtype=jnp.int32).reshape(2, 12)
    draw = jax.jit(text.random_segments, static_argnums=(2, 3))
    tokens, targets = draw(streams, jax.random.key(0), 400, 4)
    assert tokens.shape == targets.shape == (400, 4)
    np.testing.assert_array_equal(targets, tokens + 1)
    np.testing.assert_array_equal(np.diff(tokens, axis=1), 1)
    assert (tokens[:, 0] // 12 == targets[:, -1] // 12).all()
    starts, counts = np.unique(tokens[:, 0], return_counts=True)
    # The last target is the last word of a stream: 8 places in each, 25 pieces at each place.
    assert starts.tolist() == [*range(8), *range(12, 20)]
    assert counts.max() <= 45
    with pytest.raises(ValueError, match="bptt: expected 1 to 11"):
        text.random_segments(streams, jax.random.key(0), 2, 12)
