"""`mmkd runs` says what the files of a run say, of any number of runs, and loads nothing heavy."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mmkd.cli import main
from mmkd.commands.runs import age, state
from mmkd.folders.locks import sole_owner
from mmkd.folders.stage import Stage, complete
from mmkd.pipeline.recipe import load_recipe
from mmkd.pipeline.run import Run
from mmkd.pipeline.status import RESULTS, ZERO_SHOT, RunState, find_runs, is_run, read_run
from mmkd.pipeline.table import STAGES
from mmkd.training.data.order import Order
from mmkd.training.records.metrics_log import METRICS
from predicted_world import QUICK, predicted, shares

DEMO = Path(__file__).parents[2] / "recipes" / "demo.toml"


def finish(folder: Path, counts: dict[str, int], settings: dict[str, Any] | None = None) -> None:
    complete(Stage("any", folder, settings or {}, {}), lambda partial: counts)


def train(folder: Path, *records: dict[str, Any], **changes: Any) -> None:
    """A training that was cut off: 3 epochs of batches of 8. changes: of its settings."""

    def body(partial: Path) -> dict[str, int]:
        (partial / METRICS).write_text("".join(json.dumps(record) + "\n" for record in records) + '{"step": 3')
        raise InterruptedError

    settings = {"epochs": 3, "batch_size": 8, "seed": 0, **changes}
    stage = Stage("student", folder, settings, {"corpus": "x", "pretrain": "y"})
    with pytest.raises(InterruptedError):
        complete(stage, body)


@pytest.fixture
def cut_off(tmp_path: Path) -> Path:
    out = tmp_path / "runs" / "mine"
    finish(out / "corpus", {"train": 100, "val": 5})
    finish(out / "features" / "plip", {})
    finish(out / "reliability", {})
    finish(out / "pretrain", {"steps": 36, "pairs": 100})
    found = [0.6, 0.9, 0.8]
    train(
        out / "distill",
        *({"step": 10 * k, "loss": 4.0 / k, "val_percentile": found[k - 1], "pairs_per_s": 70.0} for k in (1, 2, 3)),
    )
    return out


@pytest.mark.parametrize(
    ("changes", "pairs"),
    [({}, 100), ({"captionless": "nothing"}, 44), ({"objective": "affinity"}, 44), ({"pretrain": {}}, 44)],
)
def test_pictures_without_captions_are_steps_where_a_training_has_them(
    tmp_path: Path, changes: dict[str, Any], pairs: int
) -> None:
    finish(tmp_path / "corpus", {"train": 100, "val": 5, "captionless": 60, "captionless_train": 56})
    if "pretrain" in changes:
        changes = {"pretrain": {"epochs": 3, "batch_size": 8}, "student": {}}
    train(tmp_path / "distill", {"step": 1, "loss": 4.0}, **changes)
    found = read_run(tmp_path).training
    assert found is not None
    assert found.total == 3 * (pairs // 8)


def test_a_training_that_was_cut_off(cut_off: Path) -> None:
    found = read_run(cut_off)
    assert found.broken == ""
    assert found.stages["pretrain"] == found.stages["extract"] == "complete"
    assert found.stages["distill"] == "partial"
    assert found.stages["evaluate"] == found.stages["world"] == "to do"
    assert found.training is not None
    assert vars(found.training) == {
        "name": "distill",
        "step": 30,
        "total": 3 * Order(100, 8, 0).steps_per_epoch,
        "loss": pytest.approx(4 / 3),
        "pairs_per_s": 70.0,
        "best": 0.9,
        "metric": "val_percentile",
    }
    assert state(found) == "distill partial"
    assert datetime.now(UTC) - datetime.fromisoformat(found.written) < timedelta(minutes=5)


def test_a_stage_whose_lock_is_held_is_running(cut_off: Path) -> None:
    with sole_owner(cut_off / "distill"):
        assert state(read_run(cut_off)) == "distill running"
    assert state(read_run(cut_off)) == "distill partial"
    with sole_owner(cut_off / "rivals" / "mmkd"):
        assert state(read_run(cut_off)) == "distill partial"  # it has not even begun


def test_a_finished_run_has_its_recipe_and_its_number(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    for spec in STAGES.values():
        for pattern in spec.patterns:
            finish(out / pattern.replace("*", "one"), {"steps": 4, "train": 9}, {"recipe": "theirs"})
    rows = [{**ZERO_SHOT, key: "other", "value": 0.1} for key in ZERO_SHOT] + [{**ZERO_SHOT, "value": 0.75}]
    (out / RESULTS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_run(out)
    assert (state(found), found.recipe, found.zero_shot) == ("complete", "theirs", 0.75)
    assert found.training is None  # nothing was logged


def test_optional_stages_do_not_keep_a_run_from_being_complete() -> None:
    stages = {stage: "to do" if spec.section else "complete" for stage, spec in STAGES.items()}
    assert state(RunState("a", "a", stages=stages)) == "complete"
    assert state(RunState("a", "a", stages=dict.fromkeys(STAGES, "to do"))) == "curate to do"


def test_the_number_is_the_students_mean_in_the_results_that_an_evaluation_writes(tmp_path: Path) -> None:
    from mmkd.evaluation.publish import EVALUATE
    from mmkd.evaluation.summary.summary import results_from_predictions, write_summary

    finish(tmp_path / "run" / "corpus", {"train": 9, "val": 1})
    folder = tmp_path / "run" / EVALUATE
    folder.mkdir()
    for model, right in {"student": (0.75, 0.25), "plip": (1.0, 1.0)}.items():
        for data_set, share in zip(("one", "two"), right, strict=True):
            predicted(folder, model, data_set, shares(share))
    write_summary(folder, results_from_predictions(folder, ["plip"], QUICK))
    assert read_run(tmp_path / "run").zero_shot == pytest.approx(0.5)


def test_the_patterns_are_those_of_the_folders_that_stages_publish(tmp_path: Path) -> None:
    run = Run(load_recipe(DEMO, tmp_path), tmp_path)
    for spec in STAGES.values():
        names = spec.folder_names(run)
        assert all(any(Path(name).match(pattern) for pattern in spec.patterns) for name in names)
        assert names or spec.name == "evidence"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pretrain/manifest.json", "{"),
        ("corpus/manifest.json", "[]"),
        ("distill.partial/begun.json", "no"),
        ("distill.partial/metrics.jsonl", '{"val_x": }\n'),
        ("evaluate/results.jsonl", json.dumps(ZERO_SHOT)[:-1]),
    ],
)
def test_damage_is_shown_and_the_others_are_listed(
    cut_off: Path, file: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(cut_off.parent / "other" / "corpus", {"train": 4})
    (cut_off / file).parent.mkdir(exist_ok=True)
    (cut_off / file).write_text(text)
    assert read_run(cut_off).broken
    assert mmkd(monkeypatch, "runs", str(cut_off.parent)) == 0
    said = capsys.readouterr().out
    assert "broken" in said
    assert "curate complete" in said


def mmkd(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["mmkd", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def test_runs_are_found_in_folders_of_folders_and_given_themselves(cut_off: Path) -> None:
    nested = cut_off.parent / "ablation" / "objective" / "seed0"
    finish(nested / "corpus", {"train": 4})
    (cut_off.parent / "empty" / "report").mkdir(parents=True)
    assert list(find_runs(cut_off.parent)) == [nested, cut_off]
    assert list(find_runs(cut_off)) == [cut_off]
    assert not is_run(cut_off.parent)


def test_json_and_table(
    cut_off: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert mmkd(monkeypatch, "runs", str(cut_off), str(cut_off.parent), "--json") == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["name"], one["training"]["step"], one["stages"]["distill"]) == ("mine", 30, "partial")
    assert mmkd(monkeypatch, "runs", str(cut_off), "--curves") == 0
    assert "30 of 36" in capsys.readouterr().out
    assert (cut_off / "curves.html").is_file()
    (tmp_path / "none").mkdir()
    assert mmkd(monkeypatch, "runs", str(tmp_path / "none")) == 0
    assert "no runs in" in capsys.readouterr().out
    assert mmkd(monkeypatch, "runs", str(tmp_path / "nowhere")) == 2


def test_nothing_heavy_is_loaded(cut_off: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "mmkd", "runs", str(cut_off)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "mmkd.pipeline.status" in imported
    assert not imported & {"torch", "numpy", "pyarrow", "datasets", "jinja2"}


def test_an_age_is_told_in_its_largest_unit() -> None:
    now = datetime(2026, 1, 10, tzinfo=UTC)
    ages = [timedelta(seconds=20), timedelta(minutes=3), timedelta(hours=5), timedelta(days=4)]
    told = [age((now - one).isoformat(), now) for one in ages]
    assert told == ["20 s ago", "3 min ago", "5 h ago", "4 d ago"]
    assert age("", now) == "–"
