"""Captions as ids and batches: every caption once, cut where nothing is lost, and keys that say which ids are alike."""

import json
from pathlib import Path
from typing import Any, get_args

import open_clip
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import HFTokenizer
from torch import Tensor
from transformers import AutoTokenizer, CLIPTokenizer

from mmkd.errors import ModelError
from mmkd.phantom.write import write_tokenizer
from mmkd.teachers.encoders.tokens import (
    CaptionTokenizer,
    Padding,
    Tokens,
    clip_tokenizer,
    distinct,
    mask,
    open_clip_tokenizer,
    text_batches,
    transformers_tokenizer,
)

CAPTIONS = [
    "",
    "a chest radiograph",
    "Drusen!! on optical coherence tomography ?",
    "drusen " + "nodule " * 40 + "chest",
    "a  chest\n radiograph",
]
LENGTH = 16


def some_tokens(lengths: list[int], context: int) -> Tokens:
    """Ids that tell their caption and place, zeros after them."""
    ids_NL = torch.zeros(len(lengths), context, dtype=torch.int32)
    for row, length in enumerate(lengths):
        ids_NL[row, :length] = torch.arange(1, length + 1) + 1000 * row
    return Tokens(ids_NL, torch.tensor(lengths))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    write_tokenizer(folder, CAPTIONS * 3, vocab_size=200, lowercase=True)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP's vocabulary in the files of transformers, as its repositories have them; padding is the end of text."""
    folder = tmp_path_factory.mktemp("clip")
    own = open_clip.SimpleTokenizer()
    renamed = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    (folder / "vocab.json").write_text(json.dumps({renamed.get(k, k): v for k, v in own.encoder.items()}))
    merges = sorted(own.bpe_ranks, key=own.bpe_ranks.__getitem__)
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    CLIPTokenizer.from_pretrained(folder).save_pretrained(folder)
    return folder


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=60),
    padding=st.sampled_from(get_args(Padding)),
    size=st.integers(1, 9),
)
def test_batches_hold_every_caption_once_with_all_its_tokens(lengths: list[int], padding: Padding, size: int) -> None:
    tokens = some_tokens(lengths, context=12)
    seen: list[int] = []
    for index_B, ids_BL, length_B in text_batches(tokens, padding, size):
        width = ids_BL.shape[1]
        assert ids_BL.dtype == torch.int64
        assert len(index_B) <= 4 * size
        assert torch.equal(length_B, tokens.length_N[index_B])
        assert torch.equal(ids_BL, tokens.ids_NL[index_B, :width].long())
        assert {"full": 12, "longest": int(length_B.max()), "none": int(length_B.min())}[padding] == width
        assert width >= int(length_B.max())  # nothing of a caption is cut off
        seen += index_B.tolist()
    assert sorted(seen) == list(range(len(lengths)))


@given(lengths=st.lists(st.integers(1, 77), min_size=1, max_size=300), size=st.integers(1, 32))
@settings(deadline=None, max_examples=40)
def test_cutting_padding_never_makes_batches_larger_than_they_were(lengths: list[int], size: int) -> None:
    """A batch of short captions is longer, but never of more than the memory of `size` full ones and a long tail."""
    for _, ids_BL, length_B in text_batches(some_tokens(lengths, context=77), "longest", size):
        assert len(ids_BL) * int(length_B[0]) <= size * 77


def test_full_padding_leaves_the_order_of_equal_lengths_alone() -> None:
    (only,) = text_batches(some_tokens([3, 3, 3], context=5), "full", 8)
    assert only[0].tolist() == [0, 1, 2]
    assert only[1].shape == (3, 5)


def test_no_captions_make_no_batches() -> None:
    empty = Tokens(torch.zeros(0, 5, dtype=torch.int32), torch.zeros(0, dtype=torch.int64))
    assert list(text_batches(empty, "longest", 4)) == []


@pytest.fixture(scope="module")
def tokenizers(bert: Path, clip: Path) -> dict[str, tuple[CaptionTokenizer, Any]]:
    """Ours, and the library's that gives an attention mask."""
    hf_bert, hf_clip = (AutoTokenizer.from_pretrained(folder) for folder in (bert, clip))
    return {
        "CLIP's own": (open_clip_tokenizer(open_clip.SimpleTokenizer(context_length=LENGTH), "longest"), None),
        "BERT behind open_clip": (open_clip_tokenizer(HFTokenizer(str(bert), LENGTH), "longest"), hf_bert),
        "CLIP behind open_clip": (open_clip_tokenizer(HFTokenizer(str(clip), LENGTH), "longest"), hf_clip),
        "BERT": (transformers_tokenizer(hf_bert, LENGTH, "longest"), hf_bert),
        "CLIP": (transformers_tokenizer(hf_clip, LENGTH, "longest"), hf_clip),
    }


def expected_length(caption: str) -> int:
    """CLIP's BPE with its two ends, cut to the context."""
    return min(LENGTH, len(open_clip.SimpleTokenizer().encode(caption)) + 2)


@pytest.mark.parametrize("name", ["BERT", "BERT behind open_clip"])
def test_lengths_of_bert_are_those_of_its_attention_mask(
    name: str, tokenizers: dict[str, tuple[CaptionTokenizer, Any]]
) -> None:
    ours, library = tokenizers[name]
    theirs = library(CAPTIONS, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")
    found = ours(CAPTIONS)
    assert torch.equal(found.ids_NL.long(), theirs["input_ids"])
    assert torch.equal(mask(found.length_N, LENGTH), theirs["attention_mask"])


@pytest.mark.parametrize("name", ["CLIP's own", "CLIP behind open_clip", "CLIP"])
def test_lengths_of_clip_reach_to_the_end_of_text_and_no_further(
    name: str, tokenizers: dict[str, tuple[CaptionTokenizer, Any]]
) -> None:
    found = tokenizers[name][0](CAPTIONS)
    assert found.length_N.tolist() == [expected_length(caption) for caption in CAPTIONS]
    assert found.length_N.tolist()[:2] == [2, 6]
    assert found.length_N.tolist()[3] == LENGTH  # cut, and the end kept
    last_N = found.ids_NL[torch.arange(len(CAPTIONS)), found.length_N - 1]
    assert set(last_N.tolist()) == {49407}
    before_N = found.ids_NL[torch.arange(len(CAPTIONS)), found.length_N - 2]
    assert 49407 not in before_N.tolist()
    assert found.ids_NL.dtype == torch.int32


def test_the_id_zero_within_a_caption_is_no_padding() -> None:
    """CLIP's BPE writes "!" as 0 where more of its word follows."""
    found = clip_tokenizer(LENGTH)(["!~ drusen"])
    assert 0 in found.ids_NL[0, : int(found.length_N[0])].tolist()
    assert found.ids_NL[0, int(found.length_N[0]) - 1] == 49407


def test_a_clip_tower_gives_the_same_for_cut_captions_whose_padding_is_the_end_of_text(clip: Path) -> None:
    from mmkd.teachers.adapters.open_clip import encode_text
    from tiny import tiny_config

    torch.manual_seed(0)
    parts = tiny_config()
    network = open_clip.CLIP(parts["embed_dim"], parts["vision_cfg"], parts["text_cfg"]).eval()
    tokenizer = open_clip_tokenizer(HFTokenizer(str(clip), LENGTH), "longest")
    tokens = tokenizer(CAPTIONS)
    with torch.inference_mode():
        whole = F.normalize(network.encode_text(tokens.ids_NL.long()), dim=1)
        for index_B, ids_BL, length_B in text_batches(tokens, "longest", 1):
            found = encode_text(network, ids_BL, length_B)
            torch.testing.assert_close(F.normalize(found, dim=1), whole[index_B])


def same_ids(first: CaptionTokenizer, second: CaptionTokenizer) -> bool:
    a, b = (each([*CAPTIONS, "Fluorescence microscopy"]).ids_NL for each in (first, second))
    return a.shape == b.shape and torch.equal(a, b)


def test_keys_are_equal_exactly_where_ids_are(bert: Path, tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "copy", CAPTIONS * 3, vocab_size=200, lowercase=True)
    write_tokenizer(tmp_path / "cased", CAPTIONS * 3, vocab_size=200, lowercase=False)
    write_tokenizer(tmp_path / "other", [*CAPTIONS * 3, "microscopy"], vocab_size=200, lowercase=True)
    left = AutoTokenizer.from_pretrained(bert)
    left.truncation_side = "left"

    def hf(folder: Path, length: int = LENGTH, **kwargs: Any) -> CaptionTokenizer:
        return open_clip_tokenizer(HFTokenizer(str(folder), length, **kwargs), "longest")

    made = [
        *(clip_tokenizer(length) for length in (LENGTH, LENGTH, 77)),
        open_clip_tokenizer(open_clip.SimpleTokenizer(context_length=LENGTH, clean="canonicalize"), "longest"),
        *(hf(folder) for folder in (bert, tmp_path / "copy", tmp_path / "cased", tmp_path / "other")),
        hf(bert, LENGTH - 4),
        hf(bert, clean="lower"),
        hf(bert, strip_sep_token=True),
        transformers_tokenizer(left, LENGTH, "longest"),
        hf(tmp_path / "cased", clean="lower"),
    ]
    # a tokenizer that says the same in other words may have another key; then ids are only not shared
    reworded = {frozenset((4, 9)), frozenset((5, 9)), frozenset((6, 9))}
    for i, first in enumerate(made):
        for j, second in enumerate(made):
            if frozenset((i, j)) not in reworded:
                assert (first.key == second.key) is same_ids(first, second), (i, j)


def test_the_side_from_which_captions_are_cut_is_part_of_the_key(bert: Path) -> None:
    left, right = (AutoTokenizer.from_pretrained(bert, truncation_side=side) for side in ("left", "right"))
    first, second = (transformers_tokenizer(one, LENGTH, "longest") for one in (left, right))
    assert not same_ids(first, second)
    assert first.key != second.key


def test_a_tokenizer_keeps_its_key_after_use(bert: Path) -> None:
    """Used tokenizers remember how they were last asked to pad and to cut."""
    library = AutoTokenizer.from_pretrained(bert)
    before = transformers_tokenizer(library, LENGTH, "longest").key
    transformers_tokenizer(library, 9, "full")(CAPTIONS)
    assert transformers_tokenizer(library, LENGTH, "longest").key == before


def test_captions_are_prepared_by_clean(bert: Path) -> None:
    library = AutoTokenizer.from_pretrained(bert)
    cleaned = transformers_tokenizer(library, LENGTH, "longest", clean=str.upper)
    plain = transformers_tokenizer(library, LENGTH, "longest")
    assert torch.equal(cleaned(["drusen"]).ids_NL, plain(["DRUSEN"]).ids_NL)
    assert cleaned.key != plain.key


def test_padding_on_the_left_is_refused_where_it_would_be_cut(bert: Path) -> None:
    library = AutoTokenizer.from_pretrained(bert, padding_side="left")
    with pytest.raises(ModelError, match="pads on the left"):
        transformers_tokenizer(library, LENGTH, "longest")
    assert transformers_tokenizer(library, LENGTH, "full")(["drusen"]).ids_NL[0, 0] == library.pad_token_id


@given(
    rows=st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=3), min_size=1, max_size=12), cut=st.integers(0, 12)
)
@settings(deadline=None, max_examples=50)
def test_distinct_captions_give_all_back(rows: list[list[int]], cut: int) -> None:
    """Captions that differ only in a zero that is a token of one and padding of the other are different."""
    ids_NL = torch.tensor([row + [0] * (3 - len(row)) for row in rows], dtype=torch.int32)
    length_N = torch.tensor([len(row) for row in rows])
    parts = [Tokens(ids_NL[part], length_N[part]) for part in (slice(cut), slice(cut, None))]
    different, index_N = distinct(parts)
    assert torch.equal(different.ids_NL[index_N], ids_NL)
    assert torch.equal(different.length_N[index_N], length_N)
    assert len(different) == len({tuple(row) for row in rows})


def test_the_mask_covers_the_tokens() -> None:
    expected: Tensor = torch.tensor([[1, 0, 0], [1, 1, 1]])
    assert torch.equal(mask(torch.tensor([1, 3]), 3), expected)
