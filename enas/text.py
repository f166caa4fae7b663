"""Text for recurrent networks: a vocabulary, a corpus as parallel streams, and pieces of it.

A corpus of T words becomes B streams of T // B words, each a contiguous part (the last words, fewer
than B, are left out). Step t of back-propagation through time reads the next `bptt` words of every
stream, so that a hidden state can be carried from one step to the next (Pham 2021, section 4.2.2:
64 streams, 35 words a step, "about 400 steps" a pass; there are 414 in the 929,589 words of Penn
Treebank). The words behind the last whole step of a pass, fewer than `bptt` a stream, are left out:
every step has one shape, and is one compiled program.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

UNK, EOS = "<unk>", "<eos>"


def vocabulary(words: Sequence[str], size: int | None = None) -> tuple[str, ...]:
    """The words of a training text, most frequent first, equally frequent ones by alphabet.

    `<unk>` stands for all words that are left out, and is as frequent as they are together. It and
    `<eos>` are always in, as other texts may need them.

    Args:
        words: the text.
        size: the most words, `<unk>` and `<eos>` counted; `None` for all there are.

    Raises:
        ValueError: `size` is below 2.

    >>> vocabulary("a b a c a b d <eos>".split(), size=4)
    ('a', '<unk>', 'b', '<eos>')
    """
    if size is not None and size < 2:
        raise ValueError(f"size: expected at least 2 ({UNK} and {EOS}), got {size}")
    counts = Counter(words)

    def rank(word: str) -> tuple[int, str]:
        return -counts[word], word

    others = sorted(set(counts) - {UNK, EOS}, key=rank)
    kept = others if size is None else others[: size - 2]
    counts[UNK] += sum(counts[word] for word in others[len(kept) :])
    return tuple(sorted((*kept, UNK, EOS), key=rank))


def encoded(words: Sequence[str], vocabulary: Sequence[str]) -> Int[np.ndarray, " words"]:
    """The place of each word in the vocabulary, int32; that of `<unk>` for words it does not hold.

    Raises:
        ValueError: the vocabulary has no `<unk>`.
    """
    places = {word: place for place, word in enumerate(vocabulary)}
    if UNK not in places:
        raise ValueError(f"vocabulary: expected {UNK} in it, got {len(places)} words without")
    unknown = places[UNK]
    return np.array([places.get(word, unknown) for word in words], np.int32)


def streams(tokens: Int[np.ndarray, " words"], batch: int) -> Int[np.ndarray, "batch length"]:
    """A corpus as `batch` contiguous parts of equal length, int32.

    Raises:
        ValueError: there are fewer than 2 words a stream.
    """
    length = len(tokens) // batch
    if length < 2:
        raise ValueError(f"tokens: expected at least 2 for each of {batch} streams, {len(tokens)}")
    return tokens[: batch * length].reshape(batch, length).astype(np.int32)


def num_steps(length: int, bptt: int) -> int:
    """How many whole steps of `bptt` words a pass over streams of `length` words has.

    Raises:
        ValueError: not one; the words of a step and the target of its last do not fit.

    >>> num_steps(929_589 // 64, 35)
    414
    """
    if length <= bptt or bptt < 1:
        raise ValueError(f"bptt: expected 1 to {length - 1} words of streams of {length}, {bptt}")
    return (length - 1) // bptt


def batch_at(
    streams: Int[Array, "batch length"], step: Int[Array, ""] | int, bptt: int
) -> tuple[Int[Array, "batch bptt"], Int[Array, "batch bptt"], Bool[Array, ""]]:
    """What a step reads: steps of a pass follow each other in the text, then it begins again.

    Args:
        streams: resident, from `streams`.
        step: from 0, of any number of passes; may be traced.
        bptt: words of a step.

    Returns:
        tokens, the words that follow each of them, and whether a pass begins here, so that a hidden
        state of the step before must be set to zero.
    """
    length = streams.shape[1]
    place = jnp.asarray(step) % num_steps(length, bptt)
    read = jax.lax.dynamic_slice_in_dim(streams, place * bptt, bptt + 1, axis=1)
    return read[:, :-1], read[:, 1:], place == 0


def random_segments(
    streams: Int[Array, "rows length"], key: Array, batch: int, length: int
) -> tuple[Int[Array, "batch words"], Int[Array, "batch words"]]:
    """Pieces of a text, each at a uniformly drawn place, as rewards are computed on.

    A piece does not run from one stream into the next; hidden states begin with zero.

    Args:
        streams: of the validation text, from `streams`.
        key: PRNG key; consumed.
        batch: how many pieces.
        length: their words.

    Returns:
        tokens, and the words that follow each of them.

    Raises:
        ValueError: the streams are too short.
    """
    rows, words = streams.shape
    num_steps(words, length)
    k_row, k_start = jax.random.split(key)
    row = jax.random.randint(k_row, (batch,), 0, rows)
    start = jax.random.randint(k_start, (batch,), 0, words - length)
    read = streams[row[:, None], start[:, None] + jnp.arange(length + 1)[None]]
    return read[:, :-1], read[:, 1:]
