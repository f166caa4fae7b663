"""Text for language models, as lists of tokens; vocabularies are the rooms' own business.

Every sentence or line ends in the token `<eos>`, as in the Penn Treebank setting.
"""

import re
from collections.abc import Container, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

EOS = "<eos>"
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[0-9]+|[^\sa-z0-9]")


def load_pydoc() -> dict[str, Any]:
    """The language reference that Python itself ships: some 100,000 words of real English.

    The text differs a little between Python versions, so compare runs on one version only.

    Returns:
      train, valid, test: lists of lower-case words, numbers and punctuation marks, by blocks of 20
      paragraphs: of every ten blocks, in the alphabetical order of the topics, eight, one and one.
    """
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[name] for name in sorted(topics)).lower()
    paragraphs = [_WORD.findall(paragraph) for paragraph in re.split(r"\n\s*\n", text)]
    written = [words for words in paragraphs if words]
    blocks = [_ended(written[start : start + 20]) for start in range(0, len(written), 20)]
    return _split_documents(blocks)


def load_brown(folder: Path) -> dict[str, Any]:
    """The Brown corpus: 500 samples of American English printed in 1961, 1.16 million tokens.

    Args:
      folder: holds the corpus's own files `ca01` to `cr09`, tagged as `word/tag`.

    Returns:
      train, valid, test: lists of words as printed (case kept, tags dropped), by whole samples: of
      every ten in the order of their names, eight, one and one.
    """
    paths = sorted(folder.glob("c[a-r][0-9][0-9]"))
    samples = []
    for path in paths:
        lines = path.read_text(encoding="latin-1").splitlines()
        words = [[token.rpartition("/")[0] for token in line.split()] for line in lines]
        samples.append(_ended(line for line in words if line))
    return _split_documents(samples)


def _split_documents(documents: list[list[str]]) -> dict[str, Any]:
    def join(places: Container[int]) -> list[str]:
        chosen = [document for index, document in enumerate(documents) if index % 10 in places]
        return list(chain(*chosen))

    return {"train": join(range(8)), "valid": join([8]), "test": join([9])}


def load_penn_treebank(folder: Path) -> dict[str, Any]:
    """The Penn Treebank as language models are compared on it (10,000 words, `<unk>`, `N`).

    Args:
      folder: holds the official `ptb.train.txt`, `ptb.valid.txt`, `ptb.test.txt`.

    Returns:
      train, valid, test: lists of words (929,589, 73,760 and 82,430 of them in the official files).
    """
    result = {}
    for split in ("train", "valid", "test"):
        lines = (folder / f"ptb.{split}.txt").read_text(encoding="utf-8").splitlines()
        result[split] = _ended(line.split() for line in lines)
    return result


def _ended(lines: Iterable[list[str]]) -> list[str]:
    return [word for words in lines for word in (*words, EOS)]
