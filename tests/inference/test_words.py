"""Token ids without PyTorch are those of the student's own tokenizer."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import HFTokenizer, get_clean_fn

from mmkd.export.tokenizer import Tokenizer, save_tokenizer, tokenizer_of
from mmkd.inference.words import CLEAN, Words
from mmkd.phantom.write import write_tokenizer
from mmkd.teachers.files.open_clip_folder import OpenClipModel

CAPTIONS = [
    *("", "A chest X-ray.", "naïve &amp; CT", "it's 12mm", "<|endoftext|> [SEP] <start", "x " * 99),
    "İ\u0130 e\u0301 ﬁ\x00",
]
# tokenizers knows letters of a newer Unicode than Python does, and two old ones otherwise
LETTERS = st.characters(exclude_categories=["Cs", "Cn", "Co"], exclude_characters="\u0345\u017f")
texts = st.lists(st.text(LETTERS, max_size=60) | st.sampled_from(CAPTIONS), max_size=4)


def words(tokenizer: Tokenizer, context: int, folder: Path) -> Words:
    save_tokenizer(tokenizer, folder)
    return Words(folder / "tokenizer.json", context, tokenizer.clean, tokenizer.padding, tokenizer.literal)


def model_with(tokenizer: object, **text: object) -> OpenClipModel:
    return OpenClipModel(None, tokenizer, {"embed_dim": 1, "text_cfg": text}, {})


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Words, open_clip.SimpleTokenizer]:
    own = open_clip.SimpleTokenizer(context_length=16)
    return words(tokenizer_of(model_with(own)), 16, tmp_path_factory.mktemp("clip")), own


@pytest.fixture(scope="module")
def wordpiece(tmp_path_factory: pytest.TempPathFactory) -> tuple[Words, HFTokenizer]:
    folder = tmp_path_factory.mktemp("wordpiece")
    write_tokenizer(folder / "own", CAPTIONS * 3, vocab_size=90, lowercase=False)
    own = HFTokenizer(str(folder / "own"), context_length=12)
    return words(tokenizer_of(model_with(own, hf_tokenizer_name="own")), 12, folder / "ours"), own


@pytest.mark.parametrize("kind", ["clip", "wordpiece"])
@given(captions=texts)
@settings(max_examples=80, deadline=None)
def test_ids_are_those_of_the_student(kind: str, captions: list[str], request: pytest.FixtureRequest) -> None:
    ours, own = request.getfixturevalue(kind)
    captions = [*captions, *CAPTIONS]
    ids_TL, length_T = ours(captions)
    expected = own(captions).numpy()
    np.testing.assert_array_equal(ids_TL, expected)
    padding = 0 if kind == "clip" else own.tokenizer.pad_token_id
    assert [int(np.flatnonzero(row != padding).max()) + 1 for row in expected] == length_T.tolist()


@given(st.text(max_size=80))
@settings(max_examples=40, deadline=None)
def test_texts_are_cleaned_as_open_clip_does(text: str) -> None:
    for name, clean in CLEAN.items():
        assert clean(text) == get_clean_fn(name)(text)


@pytest.mark.parametrize("settings", [{"tokenizer_mode": "clips"}, {"tokenizer_kwargs": {"strip_sep_token": True}}])
def test_a_tokenizer_that_no_file_describes_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="changes the ids afterwards"):
        tokenizer_of(model_with(open_clip.SimpleTokenizer(context_length=16), **settings))
