"""Most captions of the tiny world taken away: features, stage 1, and what stage 2 learns from pictures alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from untold import COMMON, PRETRAINED, SLOPES, TEACHERS, untold_inputs

from mmkd.corpus.schema import Corpus
from mmkd.distributed import World
from mmkd.features.check import check_features
from mmkd.features.store import NO_CAPTION, open_features
from mmkd.folders.stage import read_manifest
from mmkd.reliability.table import load_reliability
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import load
from mmkd.teachers.zoo.settings import TeacherSpec
from mmkd.training.batches import PairImages, StepBatches
from mmkd.training.data.augment import normalise
from mmkd.training.data.caption_bank import caption_bank, trained_rows
from mmkd.training.data.order import Order
from mmkd.training.data.tokens import tokenise
from mmkd.training.loop import Place
from mmkd.training.losses.contrastive import kl_rows
from mmkd.training.losses.stacked import stack_logits
from mmkd.training.records.metrics_log import read_metrics
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.settings.train import PretrainSettings
from mmkd.training.targets.teacher_targets import teacher_targets
from mmkd.training.towers import embed
from mmkd.training.train import Inputs, distill, pretrain
from short_runs import same
from tiny import MACHINE

PRETRAIN = PretrainSettings(**PRETRAINED)


@pytest.fixture(scope="module")
def inputs(tiny_world: Path, tiny_teachers: list[TeacherSpec], tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return untold_inputs(tiny_world, tiny_teachers, tmp_path_factory.mktemp("untold"))


def settings(**changes: Any) -> DistillSettings:
    return DistillSettings.model_validate({**COMMON, "epochs": 2, **changes})


def test_texts_of_pictures_without_captions_are_null_and_no_failure(inputs: Inputs, tiny_corpus: Path) -> None:
    corpus, whole = Corpus(inputs.corpus), Corpus(tiny_corpus)
    assert corpus.column("id") == whole.column("id")
    assert corpus.column("split") == whole.column("split")
    untold = int(np.count_nonzero(~corpus.captioned))
    assert untold > 50
    for teacher in open_features(inputs.features, corpus, TEACHERS):
        assert teacher.has("image").all()
        assert np.array_equal(teacher.has("text"), corpus.captioned)
        assert read_manifest(teacher.folder)["counts"]["null"] == 0
    for found in check_features(inputs.features, inputs.corpus):
        assert not found.problems
        assert found.reasons == {NO_CAPTION: untold}


def test_stage_one_learns_and_validates_on_the_pairs_alone(
    inputs: Inputs, tiny_student: StudentSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, place = Corpus(inputs.corpus), Place(tmp_path / "again", MACHINE, 0)
    counts = pretrain(PRETRAIN, tiny_student, inputs.corpus, place)
    pairs, rows = len(corpus.pairs("train")), len(corpus.rows("train"))
    assert counts == {"steps": 2 * (pairs // 16), "pairs": pairs}
    assert same(place.folder, inputs.student)
    assert f"{rows - pairs} of {rows} pictures have no caption and are left out of stage 1" in capsys.readouterr().out


def test_stage_two_has_all_pictures_and_resumes_to_the_same_bits(
    inputs: Inputs, tmp_path: Path, killed_at: Any
) -> None:
    corpus = Corpus(inputs.corpus)
    counts = distill(settings(), inputs, Place(tmp_path / "whole", MACHINE, 3))
    rows, pairs = len(corpus.rows("train")), len(corpus.pairs("train"))
    assert counts == {"steps": 2 * (rows // 16), "pairs": rows, "captionless": rows - pairs}
    killed_at(8)  # the newest checkpoint is of step 5
    with pytest.raises(KeyboardInterrupt):
        distill(settings(), inputs, Place(tmp_path / "cut", MACHINE, 3))
    killed_at(None)
    assert distill(settings(), inputs, Place(tmp_path / "cut", MACHINE, 3)) == counts
    assert same(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize(
    "changes",
    [{"captionless": "nothing"}, {"objective": "affinity", "weighting": "everyone"}, {"objective": "contrastive"}],
)
def test_without_a_bank_stage_two_has_the_pairs_alone(inputs: Inputs, tmp_path: Path, changes: dict[str, Any]) -> None:
    pairs = len(Corpus(inputs.corpus).pairs("train"))
    counts = distill(settings(**changes), inputs, Place(tmp_path / "run", MACHINE, 0))
    assert counts == {"steps": 2 * (pairs // 16), "pairs": pairs}


def test_a_contrastive_share_goes_beside_the_bank(inputs: Inputs, tmp_path: Path) -> None:
    distill(settings(contrastive=0.3), inputs, Place(tmp_path / "run", MACHINE, 0))
    for record in read_metrics(tmp_path / "run" / "metrics.jsonl"):
        assert record["loss"] == pytest.approx(0.7 * record["stacked"] + 0.3 * record["contrastive"], rel=1e-5)
        assert record["contrastive"] > 0


def test_two_processes_have_the_halves_of_one_batch_with_the_captions_that_were_drawn(
    inputs: Inputs, tmp_path: Path
) -> None:
    corpus, model = Corpus(inputs.corpus), load(inputs.student)
    reliability = load_reliability(inputs.reliability)
    rows = trained_rows(settings(), corpus, reliability)
    features = open_features(inputs.features, corpus, TEACHERS)
    targets = teacher_targets(settings(), corpus, rows, features, reliability, seed=0)
    images, captions = PairImages(corpus, rows, model, 64), tokenise(corpus, rows, model.tokenizer, tmp_path)
    order = Order(len(rows), 16, seed=0)
    bank = caption_bank(corpus.captioned[rows], captions.code_N, corpus.modalities[rows], seed=0)
    assert bank is not None
    whole, *halves = (
        StepBatches(rows, images, captions, targets, order, world, bank)
        for world in (World(), World(0, 2), World(1, 2))
    )
    for step in (0, 5):
        batch, parts = whole[step], [half[step] for half in halves]
        for name in ("image_BCHW", "token_BL", "caption_B", "caption_weight_B", "captioned_B"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name))
        told_S = bank.at(step, order.at(step))
        expected, length_S = captions.at(captions.code_N[told_S])
        assert torch.equal(batch.token_BL, expected)
        assert np.array_equal(batch.length_B, length_S)
        assert (batch.length_B > 2).all()  # none is empty: more than a begin and an end
        assert batch.captioned_B is not None
        assert torch.equal(batch.captioned_B, torch.from_numpy(corpus.captioned[batch.row_B]))
        assert torch.equal(batch.caption_weight_B, batch.captioned_B.float())
        assert batch.teachers is not None
        assert torch.equal(batch.teachers.text[0], torch.from_numpy(features[0].take(rows[told_S])[1]).float())


def distance(inputs: Inputs, student: Path) -> float:
    """KL of the student's softmax over the captions of a picture's modality from the stack's, on the pictures without
    a caption of the split `train`."""
    corpus, model = Corpus(inputs.corpus), load(student)
    rows, pairs = corpus.rows("train"), corpus.pairs("train")
    features = open_features(inputs.features, corpus, TEACHERS)
    found = []
    for modality in np.unique(corpus.modalities):
        keys = pairs[corpus.modalities[pairs] == modality]
        asked = rows[(corpus.modalities[rows] == modality) & ~corpus.captioned[rows]]
        image = [torch.from_numpy(teacher.take(asked, asked)[0]).float() for teacher in features]
        text = [torch.from_numpy(teacher.take(keys)[1]).float() for teacher in features]
        target = stack_logits(image, torch.tensor([list(SLOPES.values())] * len(asked)), text)
        found.append(kl_rows(target, student_logits(model, corpus, asked, keys)))
    return float(torch.cat(found).mean())


@torch.no_grad()
def student_logits(model: Any, corpus: Corpus, asked: np.ndarray, keys: np.ndarray) -> torch.Tensor:
    mean, std = (torch.tensor(model.preprocess[name]) for name in ("mean", "std"))
    sides = []
    for place, rows in enumerate((asked, keys)):
        image = normalise(PairImages(corpus, rows, model, 64).at(np.arange(len(rows))), mean, std)
        captions = corpus.take(keys).column("caption").to_pylist()
        token_BL = model.tokenizer(captions)
        token_BL = token_BL if place else token_BL[:1].expand(len(rows), -1)
        sides.append(embed(model.network.eval(), image, token_BL, np.full(len(rows), token_BL.shape[1]))[place])
    return model.network.logit_scale.exp() * sides[0] @ sides[1].T  # type: ignore[no-any-return]


def test_the_student_learns_what_pictures_without_captions_show(inputs: Inputs, tmp_path: Path) -> None:
    before = distance(inputs, inputs.student)
    corpus = Corpus(inputs.corpus)
    steps_of = {"bank": len(corpus.rows("train")) // 16, "nothing": len(corpus.pairs("train")) // 16}
    after = {}
    for name, per_epoch in steps_of.items():  # equally many steps
        changes = settings(captionless=name, epochs=90 // per_epoch, lr=3e-3)
        distill(changes, inputs, Place(tmp_path / name, MACHINE, 0))
        after[name] = distance(inputs, tmp_path / name)
    assert after["bank"] < 0.5 * before
    assert after["bank"] < 0.8 * after["nothing"]
