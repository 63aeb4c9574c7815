"""The loop: parts of a batch, SIGTERM, bad numbers, a full disk, validation, averages."""

import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from mmkd.errors import ConfigError, DataError, TrainingError
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.training import engine, loop
from mmkd.training.experimental.average import MovingAverage, mix
from mmkd.training.loop import Place
from mmkd.training.optimizer import make_optimizer
from mmkd.training.records.checkpoint import Trained, restore_newest
from mmkd.training.records.metrics_log import TRACKERS, read_metrics
from mmkd.training.settings.train import PretrainSettings
from mmkd.training.step import Stepper
from mmkd.training.towers import compile_towers
from mmkd.training.train import pretrain
from short_runs import SETTINGS, assert_trained_alike, same, weights
from tiny import MACHINE, tiny_config


@pytest.mark.parametrize("micro", [5, 8])
def test_a_batch_in_parts_has_the_loss_of_the_whole_batch(train: Callable[..., Path], micro: int) -> None:
    whole, parts = train("whole"), train("parts", MACHINE.model_copy(update={"micro_batch": micro}))
    assert_trained_alike(whole, parts)
    first, second = (read_metrics(folder / "metrics.jsonl")[0] for folder in (whole, parts))
    assert second["loss"] == pytest.approx(first["loss"], rel=1e-4)  # AdamW's steps do not show the scale of a loss
    assert second["grad_norm"] == pytest.approx(first["grad_norm"], rel=1e-3)


def test_recomputed_activations_change_nothing(train: Callable[..., Path]) -> None:
    whole, again = train("whole"), train("again", MACHINE.model_copy(update={"grad_checkpointing": True}))
    assert_trained_alike(whole, again)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # torch's own look
def test_compiled_towers_train_to_the_same(train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.compiler.reset()
    counter = CompileCounterWithBackend("eager")  # traced in full, without minutes of a C++ compiler
    monkeypatch.setattr(engine, "compile_towers", partial(compile_towers, backend=counter))
    plain, fused = train("plain", epochs=1), train("fused", MACHINE.model_copy(update={"compile": True}), epochs=1)
    torch.compiler.reset()
    assert counter.frame_count >= 2  # both towers
    assert_trained_alike(plain, fused)


@pytest.mark.parametrize(("micro_batch", "batch_size"), [(4, SETTINGS.batch_size), (0, 1)])
def test_batch_normalisation_and_parts_of_a_batch_do_not_go_together(
    micro_batch: int, batch_size: int, tiny_corpus: Path, tmp_path: Path
) -> None:
    vision = {"layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "image_size": 32}
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    student = StudentSettings(config={"embed_dim": 16, "vision_cfg": vision, "text_cfg": text})
    settings = SETTINGS.model_copy(update={"batch_size": batch_size})
    machine = MACHINE.model_copy(update={"micro_batch": micro_batch})
    with pytest.raises(ConfigError, match="batch normalisation"):
        pretrain(settings, student, tiny_corpus, Place(tmp_path, machine, 0))


def test_sigterm_saves_and_ends_with_code_0(train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    step_of = Stepper.__call__

    def asked(self: Stepper, batch: Any, step: int) -> Any:
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return step_of(self, batch, step)

    undisturbed = train("whole")
    monkeypatch.setattr(Stepper, "__call__", asked)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        train("cut")
    assert ended.value.code == 0
    assert signal.getsignal(signal.SIGTERM) is before
    monkeypatch.setattr(Stepper, "__call__", step_of)
    cut = undisturbed.with_name("cut")
    assert [path.stem for path in sorted((cut / "checkpoints").glob("*.json"))] == ["step-00000005", "step-00000007"]
    assert same(train("cut"), undisturbed)
    assert [r["loss"] for r in read_metrics(cut / "metrics.jsonl")] == [
        r["loss"] for r in read_metrics(undisturbed / "metrics.jsonl")
    ]


def test_a_bad_step_stops_with_the_ids_of_its_pairs(train: Callable[..., Path], bad_at: Any) -> None:
    bad_at(7)
    with pytest.raises(TrainingError, match=r"step 8: .*not finite.*tiny_\d+") as caught:
        train("run")
    assert len(str(caught.value).rsplit("learning rate: ", 1)[1].split(", ")) == 16


def test_bad_steps_are_skipped_counted_and_listed(train: Callable[..., Path], bad_at: Any) -> None:
    bad_at(3, 8)
    folder = train("run", on_nonfinite="skip", max_skipped=2)
    records = {int(record["step"]): record for record in read_metrics(folder / "metrics.jsonl")}
    assert records[12]["skipped"] == 2
    assert records[4]["loss"] is None
    listed = [json.loads(line) for line in (folder / "skipped.jsonl").read_text().splitlines()]
    assert [one["step"] for one in listed] == [4, 9]
    assert all(len(one["ids"]) == 16 for one in listed)
    assert all(torch.isfinite(value).all() for value in weights(folder).values())


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_skipped_step_leaves_weights_moments_and_average_as_they_were(
    ema: float, train: Callable[..., Path], bad_at: Any
) -> None:
    bad_at(11)  # the last step: skipping it is ending one step before
    folder = train("run", on_nonfinite="skip", checkpoint_every=11, ema=ema)
    bad_at()
    stopped: list[dict[str, torch.Tensor]] = []
    original = loop.save_checkpoint

    def spy(*args: Any, **more: Any) -> None:
        trained = args[2]
        known = trained.average.parameters if ema else trained.student.state_dict()
        stopped.append({name: value.clone() for name, value in known.items()})
        original(*args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", spy)
        train("plain", checkpoint_every=11, ema=ema)
    assert stopped[0]
    assert all(torch.equal(value, weights(folder)[name]) for name, value in stopped[0].items())


def test_skipped_steps_are_counted_where_training_was_over_before_the_kill(
    bad_at: Any, tiny_corpus: Path, tiny_student: StudentSettings, tmp_path: Path
) -> None:
    bad_at(3, 8)
    settings = SETTINGS.model_copy(update={"on_nonfinite": "skip"})
    counts = [pretrain(settings, tiny_student, tiny_corpus, Place(tmp_path, MACHINE, 0)) for _ in ("whole", "again")]
    assert counts[0] == counts[1]
    assert counts[0]["skipped_steps"] == 2


def test_every_record_has_throughput_those_of_validations_too(train: Callable[..., Path]) -> None:
    records = read_metrics(train("run", log_every=5, validate_every=4) / "metrics.jsonl")
    assert [record["step"] for record in records] == [4, 5, 8, 10, 12]
    assert all({"pairs_per_s", "wait", "memory_gb", "loss"} <= record.keys() for record in records)


def test_a_checkpoint_of_another_model_is_refused(train: Callable[..., Path], killed_at: Any, tmp_path: Path) -> None:
    killed_at(6)
    with pytest.raises(KeyboardInterrupt):
        train("run")
    killed_at(None)
    other = build_student(StudentSettings(config=tiny_config(dim=24)), seed=0)
    modules = torch.nn.ModuleDict({"student": other.network, "objective": torch.nn.Identity()})
    trained = Trained(modules, make_optimizer(modules, SETTINGS))
    with pytest.raises(DataError, match=r"of another model: student\.\S+ has the shape .*16.*, expected .*24.*--force"):
        restore_newest(tmp_path / "run" / "checkpoints", trained)


def test_more_bad_steps_than_allowed_stop_the_run(train: Callable[..., Path], bad_at: Any) -> None:
    bad_at(2, 4, 6)
    with pytest.raises(TrainingError, match=r"step 7: .*the case number 3; at most 2"):
        train("run", on_nonfinite="skip", max_skipped=2)


def test_skipped_steps_are_counted_over_a_resume(train: Callable[..., Path], bad_at: Any) -> None:
    bad_at(3, 8, 9)
    with pytest.raises(TrainingError, match="step 10"):
        train("run", on_nonfinite="skip", max_skipped=2)
    with pytest.raises(TrainingError, match="step 10"):  # the checkpoint of step 5 knows of step 4
        train("run", on_nonfinite="skip", max_skipped=2)


def test_the_best_validated_weights_are_published(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train("run", validate_every=2, select="best", lr=0.05, epochs=3)
    scores = {
        int(r["step"]): r["val_percentile"] for r in read_metrics(folder / "metrics.jsonl") if "val_percentile" in r
    }
    assert sorted(scores) == [2, 4, 6, 8, 10, 12, 14, 16, 18]
    assert all(0 <= score <= 1 for score in scores.values())
    best = max(scores, key=lambda step: (scores[step], -step))
    assert f"after step {best:,} are taken" in capsys.readouterr().out
    assert best == 18 or not same(folder, train("last", lr=0.05, epochs=3))
    assert not (folder / "checkpoints").exists()


def test_a_run_has_the_name_of_its_folder_where_it_is_tracked(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[str] = []

    class Told:
        def __init__(self, folder: Path, first_step: int, name: str) -> None:
            named.append(name)

        def write(self, step: int, values: Any) -> None:
            named.append(str(step))

        def close(self) -> None:
            named.append("closed")

    monkeypatch.setitem(TRACKERS, "tensorboard", Told)
    train("student", MACHINE.model_copy(update={"track": ["tensorboard"]}), log_every=6)
    assert named == ["student", "6", "12", "closed"]


def test_validation_changes_no_weight(train: Callable[..., Path]) -> None:
    assert same(train("with", validate_every=3), train("without"))


def test_best_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs validate_every"):
        PretrainSettings(select="best")
    with pytest.raises(ValueError, match="before the mixing"):
        PretrainSettings(select="best", validate_every=2, wise_ft=0.5)


def test_averages_resume_to_the_same_bits(train: Callable[..., Path], killed_at: Any) -> None:
    settings = {"ema": 0.9, "wise_ft": 0.7}
    whole = train("whole", **settings)
    killed_at(8)
    with pytest.raises(KeyboardInterrupt):
        train("cut", **settings)
    killed_at(None)
    assert same(train("cut", **settings), whole)
    assert not same(whole, train("plain"))


def test_the_moving_average_by_hand() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, 1.0)
    average = MovingAverage(network, 0.5)
    torch.nn.init.constant_(network.weight, 3.0)
    average.update(network, step=0, bad=torch.tensor(0.0))  # decay min(.5, 1/10): .1 * 1 + .9 * 3
    assert average.parameters["weight"].item() == pytest.approx(2.8)
    torch.nn.init.constant_(network.weight, 9.0)
    average.update(network, step=1, bad=torch.tensor(1.0))  # skipped
    assert average.parameters["weight"].item() == pytest.approx(2.8)
    torch.nn.init.constant_(network.weight, 3.0)
    with average.in_place(network):
        assert network.weight.item() == pytest.approx(2.8)
    assert network.weight.item() == 3.0


def test_mixed_weights_by_hand() -> None:
    start, trained = {"w": torch.tensor([0.0]), "n": torch.tensor(3)}, {"w": torch.tensor([4.0]), "n": torch.tensor(5)}
    found = mix(start, trained, 0.25)
    assert found["w"].item() == 1.0
    assert found["n"].item() == 5
