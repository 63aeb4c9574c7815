"""What an adapter gives for the teachers of the zoo, and BERT's WordPiece, which several of them use."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from mmkd.errors import ModelError
from mmkd.images.transform import ImageTransform, from_preprocess
from mmkd.teachers.encoders.patches import PatchForward, no_patches
from mmkd.teachers.encoders.tokens import CaptionTokenizer, transformers_tokenizer
from mmkd.teachers.files.checkpoint import StateDict, read_state_dict
from mmkd.teachers.zoo.entry import ZooEntry

VOCABULARY = "vocab.txt"


def read_one(entry: ZooEntry, paths: Sequence[Path]) -> StateDict:
    return read_state_dict(paths[0])


def preprocessing(entry: ZooEntry) -> ImageTransform:
    """The entry's `preprocess`, as open_clip does it."""
    return from_preprocess(entry.preprocess)


def encode_image(network: Any, image_BCHW: Tensor) -> Tensor:
    """(B, D), by the network's own method."""
    return cast(Tensor, network.encode_image(image_BCHW))


def encode_text(network: Any, ids_BL: Tensor, length_B: Tensor) -> Tensor:
    """(B, D), by the network's own method."""
    return cast(Tensor, network.encode_text(ids_BL))


@dataclass(frozen=True)
class ZooAdapter:
    """A library's way with an entry of the zoo.

    build: the network, with random weights. read: the state dict in the published files, before its layout is
    converted. image, text: (B, C, H, W), or token ids (B, L) and lengths (B,), to vectors (B, D), not normalised.
    patches: how the network gives patches on a grid; raises ModelError where it gives none.
    tokenizer: from the folder of its files (None for CLIP's own). check: raises ModelError when a config that lies
    beside the weights contradicts the entry.
    """

    build: Callable[[ZooEntry], nn.Module]
    tokenizer: Callable[[ZooEntry, Path | None], CaptionTokenizer]
    image: Callable[[nn.Module, Tensor], Tensor] = encode_image
    text: Callable[[nn.Module, Tensor, Tensor], Tensor] = encode_text
    patches: Callable[[nn.Module, int], PatchForward] = no_patches
    read: Callable[[ZooEntry, Sequence[Path]], StateDict] = read_one
    transform: Callable[[ZooEntry], ImageTransform] = preprocessing
    check: Callable[[ZooEntry, Path], None] = lambda entry, folder: None


def wordpiece_tokenizer(
    entry: ZooEntry, folder: Path | None, cls_id: int | None, clean: Callable[[str], str] | None = None
) -> CaptionTokenizer:
    """WordPiece from `vocab.txt` alone: lower case without accents, cut to the context length so that [SEP] stays.

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
