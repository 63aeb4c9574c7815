"""A teacher gives unit vectors in the order it was asked, whatever batches its text tower sees."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from mmkd.errors import ModelError
from mmkd.images.transform import from_preprocess
from mmkd.teachers.encoders.teacher import TEXT_BATCH, Teacher, Towers
from mmkd.teachers.encoders.tokens import CaptionTokenizer, Padding, Tokens

CPU = torch.device("cpu")
CONTEXT = 6


def tokenise(captions: Sequence[str]) -> Tokens:
    """A letter is a token, a space is none."""
    ids_NL = torch.zeros(len(captions), CONTEXT, dtype=torch.int32)
    for row, caption in enumerate(captions):
        codes = [ord(letter) for letter in caption][:CONTEXT] or [1]
        ids_NL[row, : len(codes)] = torch.tensor(codes)
    return Tokens(ids_NL, (ids_NL != 0).sum(dim=1))


class Widths(nn.Module):
    """Sums of embeddings; remembers the widths of the batches it has seen."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embedding = nn.Embedding(128, dim)
        self.pixels = nn.Linear(3, dim)
        self.dropout = nn.Dropout(0.5)
        self.seen: list[tuple[int, int]] = []

    def text(self, ids_BL: Tensor, length_B: Tensor) -> Tensor:
        self.seen.append((ids_BL.shape[0], ids_BL.shape[1]))
        kept_BL = torch.arange(ids_BL.shape[1]) < length_B[:, None]
        return self.dropout((self.embedding(ids_BL) * kept_BL[..., None]).sum(dim=1))

    def image(self, image_BCHW: Tensor) -> Tensor:
        return self.dropout(self.pixels(image_BCHW.mean(dim=(2, 3))))


def made(network: Widths, padding: Padding = "longest", image: object = None, text: object = None) -> Teacher:
    towers = Towers(
        network=network,
        encode_image=image or network.image,  # type: ignore[arg-type]
        encode_text=text or network.text,  # type: ignore[arg-type]
        transform=from_preprocess({"size": 8}),
        tokenizer=CaptionTokenizer(tokenise, "letters", padding),
    )
    return Teacher("t", "MIT", towers, CPU)


CAPTIONS = ["skin", "", "eye", "a", "retina", "eye", "ct", "lung", "bb", "z"]


def by_hand(network: Widths, captions: Sequence[str]) -> Tensor:
    rows = [network.embedding.weight[torch.tensor([ord(c) for c in text][:CONTEXT] or [1])].sum(0) for text in captions]
    return F.normalize(torch.stack(rows), dim=1).detach()


@pytest.mark.parametrize("batch_size", [1, 2, 64])
@pytest.mark.parametrize("padding", ["longest", "full", "none"])
def test_captions_come_back_in_their_order(padding: Padding, batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TEXT_BATCH, "cpu", batch_size)
    network = Widths(5)
    teacher = made(network, padding)
    network.seen.clear()
    vector_ND = teacher.encode_tokens(tokenise(CAPTIONS))
    torch.testing.assert_close(vector_ND, by_hand(network, CAPTIONS))
    assert sum(count for count, _ in network.seen) == len(CAPTIONS)
    widths = {width for _, width in network.seen}
    assert widths == {CONTEXT} if padding == "full" else max(widths) == CONTEXT
    if padding == "none":
        assert widths == {1, 2, 3, 4, 6}


def test_vectors_are_of_norm_one_float32_and_without_dropout() -> None:
    network = Widths(5)
    teacher = made(network)
    assert teacher.dim == 5
    images = [Image.fromarray(np.full((9, 12, 3), value, dtype=np.uint8)) for value in (10, 200)]
    image_BCHW = torch.stack([teacher.transform.pixels(image) for image in images])
    found = teacher.encode_images(image_BCHW)
    wanted = network.pixels(teacher.transform.normalise(image_BCHW).mean(dim=(2, 3))).detach()
    torch.testing.assert_close(found, F.normalize(wanted, dim=1))
    torch.testing.assert_close(teacher.encode_texts(CAPTIONS).norm(dim=1), torch.ones(len(CAPTIONS)))
    assert found.dtype == teacher.encode_texts(["a"]).dtype == torch.float32
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not found.requires_grad


def test_no_captions_give_no_vectors() -> None:
    assert made(Widths(5)).encode_texts([]).shape == (0, 5)


def test_weights_count_by_their_precision() -> None:
    assert made(Widths(5).half()).memory_bytes == 2 * (128 * 5 + 3 * 5 + 5)


def tokens_too(network: Widths, ids_BL: Tensor, length_B: Tensor) -> Tensor:
    return network.embedding(ids_BL)


def test_a_tower_that_returns_tokens_is_refused() -> None:
    network = Widths(5)
    with pytest.raises(ModelError, match=r"teacher 't': expected one vector an item, found shape \(1, 1, 5\)"):
        made(network, text=partial(tokens_too, network))
    teacher = made(network, image=lambda image_BCHW: image_BCHW)
    with pytest.raises(ModelError, match=r"found shape \(2, 3, 8, 8\)"):
        teacher.encode_images(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
