"""The pairs as training sees them: decoded images, token ids, equal captions, teacher features."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmkd.corpus.schema import Corpus
from mmkd.errors import DataError
from mmkd.image_transform import from_compose
from mmkd.open_clip_folder import OpenClipModel
from mmkd.progress import say
from mmkd.settings import Machine
from mmkd.stage import atomic_file
from mmkd.training.order import batch_at
from mmkd.training.teacher_targets import TeacherTargets
from mmkd.training.view import TeacherBatch

TOKENS = "tokens.npz"
TOKENISE_AT_ONCE = 4096


@dataclass(frozen=True)
class PairBatch:
    """One step's pairs. row_B: corpus rows. image_BCHW: uint8. caption_B: equal numbers mean equal captions."""

    row_B: np.ndarray
    image_BCHW: Tensor
    token_BL: Tensor
    caption_B: Tensor
    teachers: TeacherBatch | None


class PairImages:
    """uint8 images (C, H, W) as the student's own transform crops them; kept decoded where they all fit."""

    def __init__(self, corpus: Corpus, rows: np.ndarray, model: OpenClipModel, cache_mb: int) -> None:
        self.corpus, self.rows = corpus, rows
        self._pixels = from_compose(model.transform).pixels
        first = self._decode(rows[:1])
        self._cache: Tensor | None = None
        if first.numel() * len(rows) <= cache_mb * 2**20:
            self._cache = torch.empty((len(rows), *first.shape[1:]), dtype=torch.uint8)
            for start in range(0, len(rows), 256):
                self._cache[start : start + 256] = self._decode(rows[start : start + 256])

    @property
    def cached(self) -> bool:
        return self._cache is not None

    def at(self, position_B: np.ndarray) -> Tensor:
        """Images at positions of the training split (B, C, H, W)."""
        if self._cache is not None:
            return self._cache[torch.from_numpy(position_B)]
        return self._decode(self.rows[position_B])

    def _decode(self, rows: np.ndarray) -> Tensor:
        images = []
        for row, data in zip(rows, self.corpus.images(rows), strict=True):
            try:
                with Image.open(io.BytesIO(data)) as opened:
                    images.append(self._pixels(opened.convert("RGB")))
            except OSError as error:
                raise DataError(f"{self.corpus.folder}: image of row {row} is not readable ({error})") from error
        return torch.stack(images)


@dataclass(frozen=True)
class Captions:
    """Every distinct caption tokenised once: token_UL int32, and which of them each pair has (N,)."""

    token_UL: np.ndarray
    of_pair_N: np.ndarray


def tokenise(corpus: Corpus, rows: np.ndarray, tokenizer: Callable[[list[str]], Tensor], folder: Path) -> Captions:
    """Token ids of the rows' captions; kept in `folder` for a run that is resumed."""
    path = folder / TOKENS
    if not path.is_file():
        codes = corpus.table.data.column("caption").combine_chunks().dictionary_encode()
        code_N = codes.indices.to_numpy()[rows]
        used_U, of_pair_N = np.unique(code_N, return_inverse=True)
        captions = codes.dictionary.take(used_U).to_pylist()
        parts = [
            tokenizer(captions[start : start + TOKENISE_AT_ONCE]).numpy().astype(np.int32)
            for start in range(0, len(captions), TOKENISE_AT_ONCE)
        ]
        with atomic_file(path) as stream:
            np.savez(stream, token_UL=np.concatenate(parts), of_pair_N=of_pair_N)
    with np.load(path) as saved:
        return Captions(saved["token_UL"], saved["of_pair_N"])


class StepBatches(Dataset[PairBatch]):
    """Item `step` is the batch of that global step, so a loader may start anywhere."""

    def __init__(
        self,
        rows: np.ndarray,
        images: PairImages,
        captions: Captions,
        teachers: TeacherTargets | None,
        batch_size: int,
        seed: int,
    ) -> None:
        self.rows, self.images, self.captions, self.teachers = rows, images, captions, teachers
        self.batch_size, self.seed = batch_size, seed

    def __getitem__(self, step: int) -> PairBatch:
        position_B = batch_at(step, len(self.rows), self.batch_size, self.seed)
        row_B, caption_B = self.rows[position_B], self.captions.of_pair_N[position_B]
        return PairBatch(
            row_B,
            self.images.at(position_B),
            torch.from_numpy(self.captions.token_UL[caption_B]).long(),
            torch.from_numpy(caption_B),
            self.teachers.at(position_B, row_B) if self.teachers else None,
        )


def loader(batches: StepBatches, first: int, last: int, machine: Machine) -> DataLoader[PairBatch]:
    """Batches of the steps first..last-1, in order; worker processes only where images are decoded on the way."""
    workers = 0 if batches.images.cached else machine.workers
    if not batches.images.cached:
        say(f"  the decoded images exceed decoded_cache_mb, so {workers} processes decode them at each step")
    return DataLoader(batches, batch_size=None, sampler=range(first, last), num_workers=workers)
