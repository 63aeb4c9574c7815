"""BERT's WordPiece, read from its `vocab.txt` alone: what it does to a caption hangs on no library's defaults."""

from collections.abc import Callable
from pathlib import Path

from mmkd.errors import ModelError
from mmkd.teachers.encoders.tokens import CaptionTokenizer, transformers_tokenizer
from mmkd.teachers.zoo.entry import ZooEntry

VOCABULARY = "vocab.txt"


def wordpiece_tokenizer(
    entry: ZooEntry, folder: Path | None, cls_id: int | None, clean: Callable[[str], str] | None = None
) -> CaptionTokenizer:
    """Lower case without accents, cut to the context length so that [SEP] stays.

    cls_id: of [CLS] in the vocabulary that the weights were trained with, its mark. clean: prepares each caption first.
    Raises ModelError when the folder's vocabulary is not a readable one, has another mark, or is larger than the text
    tower's.
    """
    from transformers import BertConfig, BertTokenizer

    if folder is None:
        raise ModelError(f"the zoo's entry {entry.name!r} does not say where its tokenizer is from; add [text]")
    path = folder / VOCABULARY
    ids = _read(path)
    room = int(BertConfig(**entry.bert).vocab_size)
    if ids.get("[CLS]") != cls_id or len(ids) > room:
        raise ModelError(
            f"{path}: {len(ids)} words, [CLS] is number {ids.get('[CLS]')}; {entry.name!r} was trained with "
            f"at most {room}, [CLS] being {cls_id}: this is another model's vocabulary, fetch the right one"
        )
    tokenizer = BertTokenizer(vocab=ids, do_lower_case=True)
    return transformers_tokenizer(tokenizer, entry.context_length or 77, entry.padding, clean)


def _read(path: Path) -> dict[str, int]:
    try:
        with path.open(encoding="utf-8") as lines:
            return {line.rstrip("\n"): number for number, line in enumerate(lines)}
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not a readable vocabulary ({error}); fetch it again") from error
