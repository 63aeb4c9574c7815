"""A small WordPiece tokenizer of the captions' own words, saved as transformers and open_clip read it."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_tokenizer(folder: Path, captions: Iterable[str], vocab_size: int, lowercase: bool) -> None:
    """Make a vocabulary of the captions' letters and commonest words, and save the tokenizer to `folder`.

    `AutoTokenizer.from_pretrained` reads it without a network. A text becomes [CLS] words [SEP], padded with [PAD] = 0:
    open_clip's `pool_type = "first"` reads [CLS], and `pool_type = "eos"` with `eos_id = 3` reads [SEP]. Rare words
    fall apart into letters. At most `vocab_size` entries, fewer where the words run out; equal captions give equal
    bytes, which the trainers of `tokenizers` do not. Raises ValueError when not even the letters fit.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    splitter = pre_tokenizers.BertPreTokenizer()
    words = Counter(
        word
        for caption, times in Counter(captions).items()
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(caption))
        for _ in range(times)
    )
    tokenizer = Tokenizer(models.WordPiece(_vocabulary(words, vocab_size), unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.WordPiece()
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    folder.mkdir(parents=True, exist_ok=True)
    fast.save_pretrained(folder)


def _vocabulary(words: Counter[str], vocab_size: int) -> dict[str, int]:
    letters = sorted({letter for word in words for letter in word})
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    if len(pieces) > vocab_size:
        raise ValueError(f"vocab_size {vocab_size} is too small: marks and letters alone are {len(pieces)}")
    by_frequency = sorted(words, key=lambda word: (-words[word], word))
    pieces += [word for word in by_frequency if word not in set(pieces)][: vocab_size - len(pieces)]
    return {piece: number for number, piece in enumerate(pieces)}
