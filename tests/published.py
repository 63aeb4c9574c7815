"""What the tests of teachers in published layouts share: a random BERT, random pictures, a loaded teacher."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmkd.teachers.encoders.teacher import Teacher
from mmkd.teachers.load import load_entry
from mmkd.teachers.zoo.entry import ZooEntry


def random_bert(sizes: Mapping[str, int]) -> Any:
    """transformers' own BERT with a pooler, its weights far enough apart that no mistake goes unseen."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(3)
    model = BertModel(BertConfig(**sizes)).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def pictures(side: int) -> Tensor:
    """uint8 (3, 3, side, side)."""
    return torch.randint(0, 256, (3, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


def loaded_teacher(entry: ZooEntry, folder: Path) -> Teacher:
    return Teacher(entry.name, entry.licence, load_entry(entry, folder), torch.device("cpu"))


def ids_by_hand(caption: str, words: list[str]) -> list[int]:
    """[CLS], at most 75 pieces, [SEP]. `lungs` falls into two pieces."""
    pieces = [piece for word in caption.lower().split() for piece in (["lung", "##s"] if word == "lungs" else [word])]
    return [words.index("[CLS]"), *(words.index(piece) for piece in pieces[:75]), words.index("[SEP]")]
