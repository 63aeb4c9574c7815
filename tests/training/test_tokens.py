"""Captions are tokenised once, and what is on disk counts only if it is of the same captions and tokenizer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from mmkd.corpus.schema import Corpus
from mmkd.distributed import World
from mmkd.folders.atomic import atomic_file
from mmkd.training.data import tokens as tokens_module
from mmkd.training.data.tokens import TOKENS, captions_done, coded, tokenise

CONTEXT = 77


class Counted:
    """CLIP's tokenizer, counting the captions it sees; made of its settings, so that its key is the same each time."""

    def __new__(cls, context: int = CONTEXT) -> Any:
        tokenizer: Any = open_clip.SimpleTokenizer(context_length=context)
        tokenizer.seen = []
        inner = tokenizer.encode
        tokenizer.encode = lambda text: (tokenizer.seen.append(text), inner(text))[1]
        return tokenizer


@pytest.fixture
def corpus(tiny_corpus: Path) -> Corpus:
    return Corpus(tiny_corpus)


def captions_of(corpus: Corpus, rows: np.ndarray) -> list[str]:
    found: list[str] = corpus.take(rows).column("caption").to_pylist()
    return found


def test_every_pair_has_the_ids_that_the_tokenizer_gives(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens_module, "AT_ONCE", 7)  # several parts, the last one not full
    rows, tokenizer = corpus.rows("train"), open_clip.SimpleTokenizer(context_length=CONTEXT)
    captions = tokenise(corpus, rows, tokenizer, tmp_path)
    position = np.arange(len(rows))[::-1].copy()
    token_BC, length_B = captions.at(captions.code_N[position])
    expected = tokenizer(captions_of(corpus, rows[position]))
    assert torch.equal(token_BC, expected)
    assert length_B.tolist() == (expected != 0).sum(dim=1).tolist()
    assert len(captions.token_UL) == len(set(captions_of(corpus, rows)))
    assert captions.token_UL.shape[1] == length_B.max() < CONTEXT  # padded to the longest only
    assert isinstance(captions.token_UL, np.memmap)
    assert captions.token_UL.dtype == np.int32


def test_each_distinct_caption_is_tokenised_once_and_never_again(corpus: Corpus, tmp_path: Path) -> None:
    rows = corpus.rows("train")
    for expected in (1, 0):
        tokenizer = Counted()
        tokenise(corpus, rows, tokenizer, tmp_path)
        text = [caption for caption in tokenizer.seen if caption in set(captions_of(corpus, rows))]
        assert len(text) == expected * len(set(captions_of(corpus, rows)))


CHANGES: dict[str, Callable[[np.ndarray], tuple[np.ndarray, int]]] = {
    "other rows": lambda rows: (rows[:-1], CONTEXT),
    "the same rows in another order": lambda rows: (rows[::-1], CONTEXT),
    "a tokenizer with another context": lambda rows: (rows, 16),
}


@pytest.mark.parametrize("change", CHANGES)
def test_tokens_of_something_else_are_not_used(change: str, corpus: Corpus, tmp_path: Path) -> None:
    rows, context = CHANGES[change](corpus.rows("train"))
    tokenise(corpus, corpus.rows("train"), Counted(), tmp_path)
    captions = tokenise(corpus, rows, Counted(context), tmp_path)
    expected = open_clip.SimpleTokenizer(context_length=context)(captions_of(corpus, rows))
    assert torch.equal(captions.at(captions.code_N)[0], expected)


def test_a_kill_while_tokens_are_written_leaves_none_that_count(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def killed(path: Path) -> Any:
        written.append(path.name)
        if len(written) == 3:
            raise KeyboardInterrupt
        return atomic_file(path)

    rows = corpus.rows("train")
    with monkeypatch.context() as patched:
        patched.setattr(tokens_module, "atomic_file", killed)
        with pytest.raises(KeyboardInterrupt):
            tokenise(corpus, rows, Counted(), tmp_path)
    assert not (tmp_path / TOKENS / "facts.json").exists()
    captions = tokenise(corpus, rows, Counted(), tmp_path)
    assert torch.equal(captions.at(captions.code_N)[0], Counted()(captions_of(corpus, rows)))
    assert sorted(path.name for path in (tmp_path / TOKENS).iterdir()) == [
        "captions.npy",
        "facts.json",
        "ids.npy",
        "images.npy",
        "lengths.npy",
    ]


def test_the_other_processes_read_what_the_first_has_written(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, tokenizer = corpus.rows("train"), Counted()
    first = tokenise(corpus, rows, Counted(), tmp_path)
    waited: list[int] = []
    monkeypatch.setattr(World, "wait", lambda world: waited.append(world.rank))
    second = tokenise(corpus, rows, tokenizer, tmp_path, World(rank=1, size=2))
    assert waited == [1]
    assert np.array_equal(first.token_UL, second.token_UL)
    assert not set(tokenizer.seen) & set(captions_of(corpus, rows))


def test_done_captions_leave_nothing(corpus: Corpus, tmp_path: Path) -> None:
    tokenise(corpus, corpus.rows("train"), Counted(), tmp_path)
    captions_done(tmp_path)
    assert list(tmp_path.iterdir()) == []
    captions_done(tmp_path)


def test_equal_texts_have_equal_numbers(corpus: Corpus) -> None:
    rows = np.array([5, 0, 5, 9, 0])
    code_N, texts = coded(corpus, "id", rows)
    assert [texts[code].as_py() for code in code_N.tolist()] == [corpus.column("id")[row] for row in rows.tolist()]
    assert len(texts) == 3


def test_facts_name_what_they_are_of(corpus: Corpus, tmp_path: Path) -> None:
    tokenise(corpus, corpus.rows("train"), Counted(), tmp_path)
    facts = json.loads((tmp_path / TOKENS / "facts.json").read_text())
    assert facts["made_from"]["corpus"] == corpus.digest
    assert (facts["context"], facts["pad"]) == (CONTEXT, 0)
