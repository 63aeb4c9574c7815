"""The validation task: how high does the student rank a pair's own caption among captions of the same group?

The same rank test that measures the teachers, on the split `val`, which is never a test set. The mean over
many pairs does not mind that some captions are wrong. Letters: N validation pairs, D student dimension.
"""

from dataclasses import dataclass

import numpy as np
import torch

from mmkd.randomness import Purpose, generator
from mmkd.reliability.rank_test import rank_test
from mmkd.teachers.files.open_clip_folder import OpenClipModel
from mmkd.training.batches import PairImages
from mmkd.training.data.augment import normalise
from mmkd.training.data.tokens import Captions
from mmkd.training.engine import Engine

METRIC = "val_percentile"
RIVALS = 128


@dataclass(frozen=True)
class Validation:
    """The pairs of the split `val`. group_N: their modality or cluster."""

    images: PairImages
    captions: Captions
    group_N: np.ndarray
    batch_size: int
    seed: int

    def score(self, model: OpenClipModel, engine: Engine) -> float:
        """Mean percentile of the own partner over the groups of two pairs or more, .5 = chance, 1 = always first."""
        image_ND, text_ND = self._embedded(model, engine)
        tests = [
            rank_test(image_ND[rows], text_ND[rows], RIVALS, generator(self.seed, Purpose.VALIDATION))
            for rows in (np.flatnonzero(self.group_N == group) for group in np.unique(self.group_N))
        ]
        return float(np.mean([test.percentile for test in tests if test.n > 1] or [0.5]))

    def _embedded(self, model: OpenClipModel, engine: Engine) -> tuple[np.ndarray, np.ndarray]:
        """Each process embeds every W-th batch, all of them equally many (FSDP gathers weights together)."""
        starts, world = list(range(0, len(self.group_N), self.batch_size)), engine.world
        rounds = starts + starts[-1:] * (-len(starts) % world.size)
        mine = {start: self._embed(model, engine, start) for start in world.share(rounds)}
        engine.reshard()
        found = {start: pair for part in world.collect(mine) for start, pair in part.items()}
        image, text = zip(*(found[start] for start in starts), strict=True)
        return np.concatenate(image), np.concatenate(text)

    @torch.no_grad()
    def _embed(self, model: OpenClipModel, engine: Engine, start: int) -> tuple[np.ndarray, np.ndarray]:
        position = np.arange(start, min(start + self.batch_size, len(self.group_N)))
        mean, std = (torch.tensor(model.preprocess[name], device=engine.device) for name in ("mean", "std"))
        image = normalise(self.images.at(position).to(engine.device), mean, std)
        token_BL, length_B = self.captions.at(self.captions.code_N[position])
        with engine.autocast():
            image_BD, text_BD, *_ = engine.plain(image, token_BL.to(engine.device), length_B)
        return image_BD.float().cpu().numpy(), text_BD.float().cpu().numpy()
