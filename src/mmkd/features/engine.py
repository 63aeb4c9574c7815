"""Features from running the teachers: as many resident as memory allows, each image and caption prepared once for all.

An image is read once, and each distinct geometry sees it once. Worker processes decode, resize and tokenise ahead; this
process only feeds the networks. Letters: N rows of a shard,
B of a batch, D of a teacher's dimension.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmkd.corpus.schema import Corpus
from mmkd.device import free_bytes
from mmkd.errors import ConfigError, ModelError
from mmkd.features.store import NO_CAPTION, PATCHES, SIDES, Produced, Shard, feature_table
from mmkd.images.decode import decode
from mmkd.images.transform import ImageTransform
from mmkd.processes import LOADERS
from mmkd.progress import track
from mmkd.reasons import BadRecordError
from mmkd.settings import Machine
from mmkd.teachers.encoders.teacher import Teacher
from mmkd.teachers.encoders.tokens import CaptionTokenizer, Tokens, distinct
from mmkd.teachers.load import load_teacher
from mmkd.teachers.zoo.settings import ExtractSettings, TeacherSpec

UNREADABLE = "image cannot be decoded"
RESIDENT_SHARE = 0.75  # of the free memory for weights; the rest is for activations and batches
AHEAD = 3  # batches that each worker has ready


class Views:
    """The distinct geometries and tokenizers among those of several teachers.

    image_of[k], text_of[k]: which of them teacher k wants. Geometries are equal when they print alike, which
    torchvision's do with all their parameters; the mean and deviation are applied later and do not count.
    """

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        self.image_of, images = _distinct([repr(teacher.transform.geometry) for teacher in teachers])
        self.text_of, texts = _distinct([teacher.tokenizer.key for teacher in teachers])
        self.transforms: list[ImageTransform] = [teachers[k].transform for k in images]
        self.tokenizers: list[CaptionTokenizer] = [teachers[k].tokenizer for k in texts]


def _distinct(keys: Sequence[str]) -> tuple[list[int], list[int]]:
    """Which distinct key each one is, and where each distinct key stands first."""
    distinct = list(dict.fromkeys(keys))
    return [distinct.index(key) for key in keys], [keys.index(key) for key in distinct]


@dataclass
class DecodedBatch:
    """views: per distinct geometry uint8 (B, C, H, W). tokens: per distinct tokenizer.

    reasons: why an image could not be read, None where it was; black stands in for it.
    """

    views: list[torch.Tensor]
    tokens: list[Tokens]
    reasons: list[str | None]

    def pin_memory(self) -> "DecodedBatch":
        """Called by DataLoader: page-locked images travel to a GPU while it computes."""
        return replace(self, views=[view.pin_memory() for view in self.views])


class DecodedBatches(Dataset[DecodedBatch]):
    """Batches of corpus rows, decoded; made for worker processes, so an item is a whole batch, named by its rows."""

    def __init__(self, corpus: Corpus, views: Views) -> None:
        self.corpus, self.views = corpus, views

    def __getitem__(self, rows: np.ndarray) -> DecodedBatch:
        table = self.corpus.take(rows)
        encoded = table.column("image").combine_chunks().field("bytes").to_pylist()
        images = [_decoded(data) for data in encoded]
        shown = [image or Image.new("RGB", (32, 32)) for image in images]
        views = [torch.stack([each.pixels(image) for image in shown]) for each in self.views.transforms]
        captions = table.column("caption").to_pylist()
        tokens = [tokenizer(captions) for tokenizer in self.views.tokenizers]
        return DecodedBatch(views, tokens, [None if image else UNREADABLE for image in images])


def _decoded(data: bytes) -> Image.Image | None:
    try:
        return decode(data)
    except BadRecordError:
        return None


@dataclass
class Clock:
    """Where the time went, in seconds. waited_s: for the workers' next batch, while the networks stood still."""

    pairs: int = 0
    wall_s: float = 0.0
    waited_s: float = 0.0
    begun: float = field(default_factory=time.perf_counter)

    def waiting(self, items: Iterable[DecodedBatch]) -> Iterator[DecodedBatch]:
        """The items, with the time until each one came added up."""
        iterator = iter(items)
        while True:
            start = time.perf_counter()
            item = next(iterator, None)
            self.waited_s += time.perf_counter() - start
            if item is None:
                return
            self.pairs += len(item.reasons)
            yield item

    def tick(self) -> None:
        self.wall_s = time.perf_counter() - self.begun

    def __str__(self) -> str:
        rate, share = self.pairs / max(self.wall_s, 1e-9), self.waited_s / max(self.wall_s, 1e-9)
        return f"{self.pairs:,} pairs in {self.wall_s:.1f} s ({rate:,.1f}/s), {share:.1%} of it waiting for data"


class ModelFeatures:
    """Implements `mmkd.features.extract.Producer` for teachers that are resident on a device."""

    def __init__(
        self,
        teachers: Sequence[Teacher],
        corpus: Corpus,
        settings: ExtractSettings,
        workers: int,
        label: str = "extract",
        stays: bool = False,
    ) -> None:
        """stays: the processes that decode stay from call to call of `produce`, where each asks for one shard."""
        self.teachers, self.corpus, self.settings, self.workers, self.label = teachers, corpus, settings, workers, label
        self.dims = [teacher.dim for teacher in teachers]
        self.patch_widths, self.patchless = patch_widths(teachers, settings.patches)
        self.views = Views(teachers)
        self.clock = Clock()
        self._stays = stays and workers > 0
        self._asked: list[np.ndarray] = []
        self._loader: DataLoader[DecodedBatch] | None = None

    def produce(self, shards: Sequence[Shard]) -> Produced:
        """The tables of each shard's missing teachers, in the order of its `todo`.

        Rows that are unreadable or whose vectors are not finite are null, with the reason; so is the text of pictures
        without a caption.
        """
        batches = [np.array_split(s.rows, -(-len(s.rows) // self.settings.batch_size)) for s in shards]
        flat = [rows for shard in batches for rows in shard]
        self.clock = Clock()
        shown = track(self._decoded(flat), self.label, sum(map(len, flat)), "pairs", weight=self.settings.batch_size)
        decoded = self.clock.waiting(shown)
        try:
            for shard, parts in zip(shards, batches, strict=True):
                tables = self._tables(shard, islice(decoded, len(parts)))
                self.clock.tick()
                yield shard, tables
            next(decoded, None)  # there is no more: the loader is free for the next call
        except torch.OutOfMemoryError as error:
            raise ConfigError(
                f"the GPU's memory is too small for {len(self.teachers)} teachers at once with batches of "
                f"{self.settings.batch_size}; finished shards are kept: set [extract] batch_size or memory_gb smaller"
            ) from error

    def _decoded(self, rows: Sequence[np.ndarray]) -> Iterator[DecodedBatch]:
        self._asked[:] = rows
        loader, self._loader = self._loader, None  # who stops half way leaves batches in it, and gets another
        if loader is None:
            loader = DataLoader(
                DecodedBatches(self.corpus, self.views),
                batch_size=None,
                sampler=self._asked,
                num_workers=self.workers,
                multiprocessing_context=LOADERS if self.workers else None,
                prefetch_factor=AHEAD if self.workers else None,
                persistent_workers=self._stays,
                pin_memory=self.teachers[0].device.type == "cuda",
            )
        yield from loader
        self._loader = loader if self._stays else None

    def _tables(self, shard: Shard, batches: Iterable[DecodedBatch]) -> list[pa.Table]:
        images: dict[int, list[Tensor]] = {k: [] for k in shard.todo}
        patches: dict[int, list[Tensor]] = {k: [] for k in shard.todo if self.patch_widths[k]}
        tokens: list[list[Tokens]] = [[] for _ in self.views.tokenizers]
        reasons: list[str | None] = []
        device = self.teachers[0].device
        for batch in batches:
            views = [view.to(device, non_blocking=True) for view in batch.views]
            for k in shard.todo:
                view = views[self.views.image_of[k]]
                if k not in patches:
                    images[k].append(self.teachers[k].embed_images(view))
                    continue
                vector_BD, patch_BPE = self.teachers[k].embed_patches(view, self.settings.patches)
                images[k].append(vector_BD)
                patches[k].append(patch_BPE.flatten(1).half())
            for kept, new in zip(tokens, batch.tokens, strict=True):
                kept.append(new)
            reasons += batch.reasons
        texts = [distinct(parts) for parts in tokens]
        pairs = self.corpus.take(shard.rows)
        unread_N = np.array([reason is not None for reason in reasons])
        captionless_N = pc.equal(pairs.column("caption"), "").to_numpy()
        for row in np.flatnonzero(captionless_N & ~unread_N).tolist():
            reasons[row] = NO_CAPTION
        tables = []
        for k in shard.todo:
            image_ND = _joined(images.pop(k), unread_N)
            different, index_N = texts[self.views.text_of[k]]
            text_ND = self.teachers[k].encode_tokens(different)[index_N].numpy()
            text_ND[captionless_N] = np.nan
            values = dict(zip(SIDES, (image_ND, text_ND), strict=True))
            if k in patches:
                values[PATCHES] = _joined(patches.pop(k), unread_N)
            tables.append(feature_table(pairs.column("id"), values, reasons))
        return tables


def _joined(parts: Sequence[Tensor], unread_N: np.ndarray) -> np.ndarray:
    """The rows of all batches; what stands in for an unreadable picture is not a number."""
    row_NX: np.ndarray = torch.cat(list(parts)).cpu().numpy()
    row_NX[unread_N] = np.nan
    return row_NX


def patch_widths(teachers: Sequence[Teacher], grid: int) -> tuple[list[int], list[str]]:
    """Of each teacher, 0 without patches, and why those without have none where a grid is asked for."""
    widths, reasons = [0] * len(teachers), []
    for k, teacher in enumerate(teachers if grid else ()):
        try:
            widths[k] = teacher.patch_width(grid)
        except ModelError as error:
            reasons.append(f"{teacher.name}: {error}")
    return widths, reasons


def resident(
    specs: Sequence[TeacherSpec], corpus: Corpus, settings: ExtractSettings, machine: Machine, device: torch.device
) -> Iterator[tuple[list[int], ModelFeatures]]:
    """Groups of teachers (places in `specs`) that fit into memory together, loaded, one after the other.

    All are loaded once at the start, so that one that does not load stops the run before any work.
    """
    budget = settings.memory_gb * 2**30 or RESIDENT_SHARE * free_bytes(device)
    todo, used = list(range(len(specs))), 0.0
    while todo:
        here: dict[int, Teacher] = {}
        later: list[int] = []
        for k in todo:
            teacher = load_teacher(specs[k], device, settings.precision)
            if here and used + teacher.memory_bytes > budget:
                later.append(k)
            else:
                here[k], used = teacher, used + teacher.memory_bytes
            del teacher
        label = "extract " + ", ".join(specs[k].name for k in here) if later or len(here) < len(specs) else "extract"
        places, producer = list(here), ModelFeatures(list(here.values()), corpus, settings, machine.loaders, label)
        here.clear()
        yield places, producer
        producer.teachers, todo, used = [], later, 0.0
        if device.type == "cuda":
            torch.cuda.empty_cache()
