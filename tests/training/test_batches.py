"""Batches: every process its own slice of the same global batch, on the device ahead of use."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from mmkd.corpus.schema import Corpus
from mmkd.distributed import World
from mmkd.errors import ConfigError
from mmkd.features.store import open_features
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import OpenClipModel
from mmkd.training.batches import PairImages, Prefetcher, StepBatches, loader
from mmkd.training.data.order import Order
from mmkd.training.data.tokens import tokenise
from mmkd.training.targets.teacher_targets import TeacherTargets
from tiny import MACHINE, tiny_config

SIZE = 12


@pytest.fixture(scope="module")
def model() -> OpenClipModel:
    return build_student(StudentSettings(config=tiny_config()), 0)


@pytest.fixture(scope="module")
def parts(
    model: OpenClipModel, tiny_corpus: Path, tiny_features: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, StepBatches]:
    """The batches of one process and of two, with teachers."""
    corpus = Corpus(tiny_corpus)
    rows = corpus.rows("train")
    images = PairImages(corpus, rows, model, 1024)
    captions = tokenise(corpus, rows, model.tokenizer, tmp_path_factory.mktemp("tokens"))
    features = open_features(tiny_features, corpus, ["narrow", "wide"])
    weight_NT = np.random.default_rng(0).random((len(rows), 2), dtype=np.float32)
    caption_weight_N = np.linspace(0, 1, len(rows), dtype=np.float32)
    targets = TeacherTargets(features, weight_NT, np.ones((len(rows), 2), dtype=bool), caption_weight_N)
    order = Order(len(rows), SIZE, seed=3)
    worlds = {"alone": World(), "first": World(0, 2), "second": World(1, 2)}
    return {name: StepBatches(rows, images, captions, targets, order, world) for name, world in worlds.items()} | {
        "captions only": StepBatches(rows, images, captions, None, order)
    }


@pytest.mark.parametrize("step", [0, 4, 11])
def test_the_slices_of_two_processes_are_the_batch_of_one(step: int, parts: dict[str, StepBatches]) -> None:
    whole, halves = parts["alone"][step], [parts[name][step] for name in ("first", "second")]
    assert len(whole.row_B) == SIZE
    for name in ("row_B", "length_B"):
        assert np.array_equal(np.concatenate([getattr(half, name) for half in halves]), getattr(whole, name))
    for name in ("image_BCHW", "token_BL", "caption_B", "image_code_B", "caption_weight_B"):
        assert torch.equal(torch.cat([getattr(half, name) for half in halves]), getattr(whole, name))
    assert whole.teachers is not None
    for t in range(2):
        sides = [half.teachers.image[t] for half in halves if half.teachers is not None]
        assert torch.equal(torch.cat(sides), whole.teachers.image[t])


def test_a_batch_that_processes_cannot_share_is_refused(parts: dict[str, StepBatches]) -> None:
    one = parts["alone"]
    with pytest.raises(
        ConfigError, match="batch_size 12 cannot be shared equally by 5 processes; set it to a multiple"
    ):
        StepBatches(one.rows, one.images, one.captions, None, one.order, World(0, 5))


def test_equal_numbers_mean_equal_captions_and_images(parts: dict[str, StepBatches]) -> None:
    batches = parts["alone"]
    corpus = batches.images.corpus
    for step in range(batches.order.steps_per_epoch):
        batch = batches[step]
        table = corpus.take(batch.row_B)
        for column, code_B in (("caption", batch.caption_B), ("sha256", batch.image_code_B)):
            texts = np.array(table.column(column).to_pylist())
            assert np.array_equal(texts[:, None] == texts, (code_B[:, None] == code_B).numpy())


def test_captions_have_the_weights_of_the_targets_and_1_without(parts: dict[str, StepBatches]) -> None:
    position_B = parts["alone"].order.at(2)
    expected = np.linspace(0, 1, len(parts["alone"].rows))[position_B]
    np.testing.assert_allclose(parts["alone"][2].caption_weight_B, expected, rtol=1e-6)
    assert parts["captions only"][2].caption_weight_B.tolist() == [1.0] * SIZE
    assert parts["captions only"][2].teachers is None


def test_every_process_names_the_pairs_of_all(parts: dict[str, StepBatches]) -> None:
    whole, names = parts["alone"][1], parts["alone"].images.corpus.column("id")
    for batches in (parts["alone"], parts["second"]):
        assert batches.ids(1) == [names[row] for row in whole.row_B]


def test_decoding_at_each_step_gives_the_cached_pixels(model: OpenClipModel, tiny_corpus: Path) -> None:
    corpus = Corpus(tiny_corpus)
    rows = corpus.rows("train")
    cached, decoded = PairImages(corpus, rows, model, 1024), PairImages(corpus, rows, model, 0)
    position = np.array([7, 0, 3])
    assert cached.cached
    assert not decoded.cached
    assert decoded.at(position).dtype == torch.uint8
    assert torch.equal(cached.at(position), decoded.at(position))


def test_worker_processes_give_the_batches_of_this_one_in_order(
    parts: dict[str, StepBatches], model: OpenClipModel
) -> None:
    one = parts["alone"]
    decoding = PairImages(one.images.corpus, one.rows, model, 0)
    batches = StepBatches(one.rows, decoding, one.captions, one.teachers, one.order)
    with_workers = list(loader(batches, 2, 6, MACHINE.model_copy(update={"workers": 2})))
    assert [batch.row_B.tolist() for batch in with_workers] == [one[step].row_B.tolist() for step in range(2, 6)]
    assert all(torch.equal(b.image_BCHW, one[s].image_BCHW) for b, s in zip(with_workers, range(2, 6), strict=True))


def test_prefetched_batches_are_those_of_the_loader_and_waiting_is_counted(parts: dict[str, StepBatches]) -> None:
    prefetched = Prefetcher(loader(parts["alone"], 3, 7, MACHINE), torch.device("cpu"))
    rows, waited = [], [0.0]
    for batch in prefetched:
        rows.append(batch.row_B.tolist())
        waited.append(prefetched.waited)
    assert rows == [parts["alone"][step].row_B.tolist() for step in range(3, 7)]
    assert all(later > earlier for earlier, later in pairwise(waited))
    with pytest.raises(StopIteration):
        next(prefetched)


def test_prefetched_batches_lie_on_the_device(parts: dict[str, StepBatches]) -> None:
    (batch,) = Prefetcher([parts["alone"][0]], torch.device("meta"))
    devices: set[str] = set()
    batch.map(lambda tensor: (devices.add(tensor.device.type), tensor)[1])
    assert devices == {"meta"}
    assert isinstance(batch.length_B, np.ndarray)  # the host goes on knowing them


def test_a_change_reaches_every_tensor_and_nothing_else(parts: dict[str, StepBatches]) -> None:
    batch = parts["alone"][0]
    doubled = batch.map(lambda tensor: tensor * 2)
    assert doubled.teachers is not None
    assert batch.teachers is not None
    assert torch.equal(doubled.teachers.text[1], batch.teachers.text[1] * 2)
    assert torch.equal(doubled.teachers.weight_BT, batch.teachers.weight_BT * 2)
    assert doubled.row_B is batch.row_B
    assert replace(batch, teachers=None).map(lambda tensor: tensor).teachers is None
