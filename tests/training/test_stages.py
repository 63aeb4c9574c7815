"""Both training stages on the tiny world: every objective, exact resume, damage, bad numbers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mmkd.corpus.schema import Corpus
from mmkd.errors import ConfigError, TrainingError
from mmkd.folders.stage import Stage, complete
from mmkd.settings import Machine
from mmkd.student.settings import StudentSettings
from mmkd.training.loop import Place
from mmkd.training.records.metrics_log import read_metrics
from mmkd.training.settings.distill import DistillSettings, MmkdSettings
from mmkd.training.settings.train import AugmentSettings, PretrainSettings
from mmkd.training.train import Inputs, distill, pretrain
from repetitions import repetitions
from tiny import MACHINE

WEIGHTS = "open_clip_model.safetensors"
PRETRAIN = PretrainSettings(
    epochs=3, batch_size=16, lr=1e-3, checkpoint_every=4, log_every=1, augment=AugmentSettings(shift=0.1, noise=0.02)
)


@pytest.fixture(scope="module")
def stage1(tiny_corpus: Path, tiny_student: StudentSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stage1") / "pretrain"
    pretrain(PRETRAIN, tiny_student, tiny_corpus, Place(folder, MACHINE, 0))
    return folder


@pytest.fixture(scope="module")
def inputs(stage1: Path, tiny_corpus: Path, tiny_features: Path, tiny_stacks: Path) -> Inputs:
    return Inputs(stage1, tiny_corpus, tiny_features, tiny_stacks, ["narrow", "wide"])


def losses(folder: Path) -> list[Any]:
    return [record["loss"] for record in read_metrics(folder / "metrics.jsonl")]


def same_weights(left: Path, right: Path) -> bool:
    a, b = load_file(left / WEIGHTS), load_file(right / WEIGHTS)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_stage_one_learns_and_leaves_a_clean_folder(stage1: Path) -> None:
    found = losses(stage1)
    assert len(found) == 18  # 3 epochs x 6 whole batches of 16 among about 108 pairs
    assert sum(found[-3:]) < sum(found[:3])
    assert sorted(p.name for p in stage1.iterdir()) == [
        "metrics.jsonl",
        "open_clip_config.json",
        WEIGHTS,
    ]


def test_equal_seeds_give_equal_bits_and_other_seeds_do_not(
    stage1: Path, tiny_corpus: Path, tiny_student: StudentSettings, tmp_path: Path
) -> None:
    for seed, expected in ((0, True), (1, False)):
        pretrain(PRETRAIN, tiny_student, tiny_corpus, Place(tmp_path / str(seed), MACHINE, seed))
        assert same_weights(stage1, tmp_path / str(seed)) is expected


def test_decoding_at_each_step_changes_nothing(
    stage1: Path, tiny_corpus: Path, tiny_student: StudentSettings, tmp_path: Path
) -> None:
    for workers in (0, 2):
        machine = Machine(device="cpu", workers=workers, threads=1, decoded_cache_mb=0)
        pretrain(PRETRAIN, tiny_student, tiny_corpus, Place(tmp_path / str(workers), machine, 0))
        assert same_weights(stage1, tmp_path / str(workers))


OBJECTIVES: dict[str, DistillSettings] = {
    "default": DistillSettings(),
    "self-teacher": DistillSettings(ema=0.9, self_teacher=0.3, augment=AugmentSettings(shift=0.1, noise=0.02)),
    "affinity": DistillSettings(objective="affinity", weighting="everyone"),
    "affinity with heads and captions": DistillSettings(
        objective="affinity", weighting="everyone", terms={"heads": 1.0}, contrastive=0.3
    ),
    "mmkd": DistillSettings(objective="mmkd", mmkd=MmkdSettings(autoencoder_epochs=1)),
    "mmkd, linear": DistillSettings(objective="mmkd", mmkd=MmkdSettings(projection="linear", gate_top=1.0)),
    "contrastive": DistillSettings(objective="contrastive"),
}


def short(settings: DistillSettings, **changes: Any) -> DistillSettings:
    common = {"epochs": 2, "batch_size": 16, "lr": 1e-3, "checkpoint_every": 5, "log_every": 1}
    return settings.model_copy(update=common | changes)


@pytest.mark.parametrize("name", repetitions(OBJECTIVES, fast=["default", "self-teacher", "affinity"]))
def test_every_objective_resumes_to_the_same_bits(name: str, inputs: Inputs, tmp_path: Path, killed_at: Any) -> None:
    settings = short(OBJECTIVES[name])
    distill(settings, inputs, Place(tmp_path / "whole", MACHINE, 3))
    killed_at(8)  # the newest checkpoint is of step 5
    with pytest.raises(KeyboardInterrupt):
        distill(settings, inputs, Place(tmp_path / "cut", MACHINE, 3))
    killed_at(None)
    distill(settings, inputs, Place(tmp_path / "cut", MACHINE, 3))
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert same_weights(tmp_path / "cut", tmp_path / "whole")
    assert not same_weights(tmp_path / "whole", inputs.student)


def test_killed_after_the_last_step_nothing_is_trained_again(inputs: Inputs, tmp_path: Path, killed_at: Any) -> None:
    settings = short(OBJECTIVES["affinity"])
    counts = distill(settings, inputs, Place(tmp_path / "run", MACHINE, 0))
    killed_at(0)  # a second training would die at its first step
    before = (tmp_path / "run" / WEIGHTS).read_bytes()
    assert distill(settings, inputs, Place(tmp_path / "run", MACHINE, 0)) == counts
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == before


def test_named_losses_add_up_with_their_weights(inputs: Inputs, tmp_path: Path) -> None:
    distill(short(OBJECTIVES["affinity with heads and captions"]), inputs, Place(tmp_path / "run", MACHINE, 0))
    for record in read_metrics(tmp_path / "run" / "metrics.jsonl"):
        total = 0.7 * record["affinity"] + 0.3 * record["contrastive"] + record["heads"]
        assert record["loss"] == pytest.approx(total, rel=1e-5)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    inputs: Inputs, tmp_path: Path, killed_at: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = short(OBJECTIVES["affinity"], checkpoint_every=3)
    distill(settings, inputs, Place(tmp_path / "whole", MACHINE, 0))
    killed_at(8)
    with pytest.raises(KeyboardInterrupt):
        distill(settings, inputs, Place(tmp_path / "cut", MACHINE, 0))
    newest = tmp_path / "cut" / "checkpoints" / "step-00000006.safetensors"
    data = bytearray(newest.read_bytes())
    data[-100] ^= 1
    newest.write_bytes(bytes(data))
    killed_at(None)
    distill(settings, inputs, Place(tmp_path / "cut", MACHINE, 0))
    shown = capsys.readouterr().out
    assert "step-00000006 is damaged" in shown
    assert "resumed after step 3" in shown
    assert same_weights(tmp_path / "cut", tmp_path / "whole")


def test_a_loss_that_is_not_finite_names_the_pairs_and_keeps_the_checkpoint(inputs: Inputs, tmp_path: Path) -> None:
    settings = short(OBJECTIVES["contrastive"], lr=1e30, checkpoint_every=1, grad_clip=1e30, epochs=3)
    with pytest.raises(
        TrainingError, match=r"step \d+: loss or gradient is not finite \(contrastive nan\).*tiny_\d+"
    ) as caught:
        distill(settings, inputs, Place(tmp_path / "run", MACHINE, 0))
    named = str(caught.value).rsplit("learning rate: ", 1)[1].split(", ")
    assert len(named) == 16
    assert set(named) <= set(Corpus(inputs.corpus).column("id"))
    assert list((tmp_path / "run" / "checkpoints").glob("step-*.json"))


@pytest.mark.parametrize("name", ["default", "affinity"])
def test_bf16_trains_to_about_the_same(name: str, inputs: Inputs, tmp_path: Path) -> None:
    for precision in ("fp32", "bf16"):
        settings = short(OBJECTIVES[name], precision=precision)
        distill(settings, inputs, Place(tmp_path / precision, MACHINE, 0))
    assert losses(tmp_path / "bf16") != losses(tmp_path / "fp32")
    assert losses(tmp_path / "bf16") == pytest.approx(losses(tmp_path / "fp32"), rel=0.05)


def test_a_corpus_smaller_than_a_batch_is_refused(
    tiny_corpus: Path, tiny_student: StudentSettings, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"batch_size 512 is larger than the \d+ training pairs"):
        pretrain(PretrainSettings(batch_size=512), tiny_student, tiny_corpus, Place(tmp_path, MACHINE, 0))


def test_stage_and_complete_agree_on_the_published_folder(
    tiny_corpus: Path, tiny_student: StudentSettings, tmp_path: Path
) -> None:
    stage = Stage("student", tmp_path / "made", {}, outputs=(WEIGHTS,))
    body = lambda folder: pretrain(PRETRAIN, tiny_student, tiny_corpus, Place(folder, MACHINE, 0))  # noqa: E731
    assert complete(stage, body)["counts"]["steps"] == 18
