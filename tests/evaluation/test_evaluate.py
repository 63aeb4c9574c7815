"""The whole stage with small models: what it leaves, what it reuses, what it refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from colour_world import MACHINE, TEACHERS, ColourModel, write_squares

from mmkd.cards.samples import FileImage
from mmkd.errors import ConfigError, DataError, ModelError, StaleError
from mmkd.evaluation.data_sets.opened import DecodedImages
from mmkd.evaluation.evaluate import evaluate, open_data_sets
from mmkd.evaluation.format.not_evaluated import read_not_evaluated
from mmkd.evaluation.format.predictions import predictions_of
from mmkd.evaluation.format.results import NULLS, by_modality, read_comparisons, read_results
from mmkd.evaluation.models.embeddings import embeddings_path, read_embeddings
from mmkd.evaluation.publish import Evaluation, publish_evaluation
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.folders.stage import read_manifest
from mmkd.report.run_folder import report_run
from mmkd.teachers.load import load_teacher
from mmkd.teachers.zoo.settings import TeacherSpec

ALL = ["blind-red", "blind-blue", "best_teacher", "teachers_concat", "stage1", "mmkd", "student"]


def test_evaluate_leaves_results_that_say_who_is_best(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = evaluate(settings, open_data_sets(settings), models, TEACHERS, tmp_path / "out", MACHINE, seed=0)
    rows = read_results(tmp_path / "out")
    assert counts == {"models": 5, "data_sets": 3, "samples": 108, "predictions": 18, "results": len(rows)}
    accuracy = by_modality(rows, "zero_shot", "accuracy")
    assert list(accuracy) == ALL
    assert list(accuracy["student"]) == ["ct", "mri", "mean"]
    assert accuracy["student"]["mean"].value > accuracy["best_teacher"]["mean"].value
    assert all(0 <= row.value <= 1 and row.low is not None and row.low <= row.value <= (row.high or 0) for row in rows)
    gains = [row for row in read_comparisons(tmp_path / "out") if row.metric == "accuracy" and row.dataset == "mean"]
    assert [row.rival for row in gains] == ALL[:-1]
    assert all(row.difference > 0 and row.p < 0.05 for row in gains if row.rival in TEACHERS)
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("Zero-shot", "Retrieval", "student minus rival", *ALL))
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= 160


def test_best_teacher_is_the_better_one_and_says_which(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    evaluate(settings, open_data_sets(settings), models, TEACHERS, tmp_path / "out", MACHINE, seed=0)
    rows = {
        (row.model, row.dataset, row.metric): row for row in read_results(tmp_path / "out") if row.dataset != "mean"
    }
    for name, metric in (("squares_ct", "accuracy"), ("squares_mri", "accuracy"), ("pairs", "mean_recall")):
        best = max(TEACHERS, key=lambda teacher: rows[teacher, name, metric].value)
        chosen = rows["best_teacher", name, metric]
        assert chosen.note.startswith(f"{best}, chosen by {metric} on the test data")
        assert (chosen.value, chosen.low) == (rows[best, name, metric].value, rows[best, name, metric].low)


def test_a_second_run_loads_no_model_and_gives_the_same_bytes(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    evaluate(settings, open_data_sets(settings), models, TEACHERS, tmp_path / "out", MACHINE, seed=0)
    first = (tmp_path / "out/results.jsonl").read_bytes()
    ColourModel.loaded.clear()
    evaluate(settings, open_data_sets(settings), models, TEACHERS, tmp_path / "out", MACHINE, seed=0)
    assert ColourModel.loaded == []
    assert (tmp_path / "out/results.jsonl").read_bytes() == first


def test_a_killed_run_goes_on_from_the_embeddings_it_has(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    broken = models[2].model_copy(update={"model": "colours:nan"})
    with pytest.raises(ModelError, match=r"stage1 on squares_ct: image: .*red/000\.png.* is not finite"):
        evaluate(
            settings,
            open_data_sets(settings),
            [*models[:2], broken, *models[3:]],
            TEACHERS,
            tmp_path / "out",
            MACHINE,
            seed=0,
        )
    assert not (tmp_path / "out/results.jsonl").exists()
    ColourModel.loaded.clear()
    evaluate(settings, open_data_sets(settings), models, TEACHERS, tmp_path / "out", MACHINE, seed=0)
    assert ColourModel.loaded == ["stage1"]  # the others were embedded although it failed


def test_other_pixels_or_another_model_are_embedded_anew(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    evaluate(settings, open_data_sets(settings), models, TEACHERS, tmp_path / "out", MACHINE, seed=0)
    ColourModel.loaded.clear()
    changed = [*models[:-1], models[-1].model_copy(update={"model": "colours:0.1"})]
    evaluate(settings, open_data_sets(settings), changed, TEACHERS, tmp_path / "out", MACHINE, seed=0)
    assert ColourModel.loaded == ["student"]
    before = {one.card.id: one.digest for one in open_data_sets(settings)}
    (tmp_path / "mri/test/red/000.png").write_bytes((tmp_path / "mri/test/red/001.png").read_bytes())
    assert {one.card.id for one in open_data_sets(settings) if one.digest != before[one.card.id]} == {"squares_mri"}


def test_embeddings_are_unit_vectors_and_do_not_depend_on_batches(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    for size in (5, 64):
        sized = settings.model_copy(update={"batch_size": size})
        evaluate(sized, open_data_sets(sized), models[:1], [], tmp_path / str(size), MACHINE, seed=0)
    small, large = (
        read_embeddings(embeddings_path(tmp_path / size, "squares_ct", "blind-red")) for size in ("5", "64")
    )
    np.testing.assert_allclose(np.linalg.norm(small.image_ID, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(small.image_ID, large.image_ID, rtol=1e-5)
    assert small.image_ID.dtype == np.float32
    assert small.texts == [text for name in ("red", "green", "blue") for text in (f"a {name} square", name)]


def test_predictions_keep_every_sample_with_its_scores(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    evaluate(settings, open_data_sets(settings), models, TEACHERS, tmp_path / "out", MACHINE, seed=0)
    by_set = list(predictions_of(tmp_path / "out", "zero_shot"))
    assert [sorted(found) for found in by_set] == [sorted(set(ALL) - {"best_teacher"})] * 2
    student = by_set[0]["student"]
    assert student.id[:2] == ["red/000.png", "red/001.png"]
    scores = ["score:red", "score:green", "score:blue"]
    assert list(student.columns) == ["label", *scores, "prompt:0", "prompt:1"]
    mean = (by_set[0]["blind-red"].columns["score:red"] + by_set[0]["blind-blue"].columns["score:red"]) / 2
    np.testing.assert_allclose(by_set[0]["teachers_concat"].columns["score:red"], mean, rtol=1e-6)


@pytest.mark.parametrize(
    ("names", "teachers", "told"),
    [
        (["a", "a"], [], "models named twice: a"),
        (["best_teacher"], [], "best_teacher: the evaluation uses this name itself"),
        (["student"], ["student"], "student: the evaluation uses this name itself"),
        (["a"], ["b"], "not among the models: b"),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(
    settings: EvaluateSettings, tmp_path: Path, names: list[str], teachers: list[str], told: str
) -> None:
    specs = [TeacherSpec(name=name, model="colours:0") for name in names]
    with pytest.raises(ConfigError, match=told):
        evaluate(settings, open_data_sets(settings), specs, teachers, tmp_path / "out", MACHINE, seed=0)


def test_a_data_set_with_an_unreadable_image_is_left_out_whole_and_the_others_are_evaluated(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mri/test/blue/003.png").write_bytes(b"no image")
    found = evaluate(settings, open_data_sets(settings), models, TEACHERS, tmp_path / "out", MACHINE, seed=0)
    assert found["not_evaluated"] == 1
    assert {row.dataset for row in read_results(tmp_path / "out")} == {"squares_ct", "pairs", "mean"}
    (missing,) = read_not_evaluated(tmp_path / "out")
    assert (missing.dataset, missing.task, missing.model) == ("squares_mri", "", "")
    assert missing.reason.startswith("test/blue/003.png: not readable as an image")
    told = " ".join(capsys.readouterr().out.split())
    assert "not evaluated: all models on squares_mri: " in told
    for path in (tmp_path / "ct").rglob("*.png"):  # pairs has the same
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"red/000\.png: not readable as an image"):
        evaluate(settings, open_data_sets(settings), models, TEACHERS, tmp_path / "out", MACHINE, seed=0)


def test_a_task_that_lacks_something_of_a_sample_keeps_no_other_back(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    table = tmp_path / "ct/pairs.csv"
    table.write_text(table.read_text().replace(",a red square", ",", 1))
    some = settings.model_copy(update={"nulls": [], "audit": False})
    publish_evaluation(Evaluation("some", some, models[:1], {}, MACHINE, seed=0), tmp_path / "run")
    (missing,) = read_not_evaluated(tmp_path / "run/evaluate")
    assert (missing.dataset, missing.task, missing.model) == ("pairs", "retrieval", "")
    assert "no caption" in missing.reason
    assert {row.dataset for row in read_results(tmp_path / "run/evaluate")} == {"squares_ct", "squares_mri", "mean"}


def test_a_data_set_without_its_files_is_left_out_told_and_shown(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "mri/test")
    one = Evaluation("some", settings, models, dict.fromkeys(TEACHERS, "CC0"), MACHINE, seed=0)
    publish_evaluation(one, tmp_path / "run")
    manifest = read_manifest(tmp_path / "run/evaluate")
    assert (manifest["counts"]["not_evaluated"], manifest["inputs"]["squares_mri"]) == (1, "not readable")
    page = report_run(tmp_path / "run").read_text()
    assert "Not evaluated" in page
    assert "no folder" in page
    assert str(tmp_path) not in page
    write_squares(tmp_path / "again", "mri", 12, 1)
    (tmp_path / "again/test").rename(tmp_path / "mri/test")
    with pytest.raises(StaleError, match=r"inputs\.squares_mri \(was 'not readable', now "):
        publish_evaluation(one, tmp_path / "run")
    publish_evaluation(one, tmp_path / "run", force=True)
    assert "not_evaluated" not in read_manifest(tmp_path / "run/evaluate")["counts"]
    assert read_not_evaluated(tmp_path / "run/evaluate") == []


def test_tasks_that_can_be_evaluated_are_and_the_others_are_said_and_counted(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = settings.cards[0]
    path.write_text(path.read_text().replace('tasks = ["zero_shot"]', 'tasks = ["linear_probe", "zero_shot"]'))
    some = settings.model_copy(update={"nulls": []})
    found = evaluate(some, open_data_sets(some), models[:2], [], tmp_path / "out", MACHINE, seed=0)
    assert (found["predictions"], found["not_evaluated"]) == (6, 2)
    told = " ".join(capsys.readouterr().out.split())
    for model in models[:2]:
        assert f"not evaluated: {model.name} on squares_ct, linear_probe: squares_ct: no training sample" in told
    rows = read_results(tmp_path / "out")
    assert {(row.task, row.dataset) for row in rows if row.dataset.startswith("squares")} == {
        ("zero_shot", "squares_ct"),
        ("zero_shot", "squares_mri"),
    }


def test_decoded_images_are_kept_up_to_the_limit(settings: EvaluateSettings, tmp_path: Path) -> None:
    path = FileImage(tmp_path / "ct/test/red/000.png")
    keeping, forgetting = DecodedImages(limit_mb=1), DecodedImages(limit_mb=0)
    assert keeping.get(path) is keeping.get(path)
    assert forgetting.get(path) is not forgetting.get(path)


def test_without_student_or_teachers_there_is_nothing_to_compare(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    evaluate(settings, open_data_sets(settings), models[2:3], [], tmp_path / "out", MACHINE, seed=0)
    assert {row.model for row in read_results(tmp_path / "out")} == {"stage1"}
    assert read_comparisons(tmp_path / "out") == []


def test_finished_combinations_are_not_predicted_again_and_changed_ones_are(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    evaluate(settings, open_data_sets(settings), models, TEACHERS, tmp_path / "out", MACHINE, seed=0)
    files = sorted((tmp_path / "out/predictions").rglob("*.parquet"))
    before = {path: path.stat().st_mtime_ns for path in files}
    changed = [*models[:-1], models[-1].model_copy(update={"model": "colours:0.1"})]
    evaluate(settings, open_data_sets(settings), changed, TEACHERS, tmp_path / "out", MACHINE, seed=0)
    written = {path.stem for path in files if path.stat().st_mtime_ns != before[path]}
    assert written == {"student"}


def test_null_models_stand_beside_the_models(
    settings: EvaluateSettings, tiny_teachers: list[TeacherSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmkd.evaluation.models.encoders.load_teacher", load_teacher)
    nulled = settings.model_copy(update={"nulls": list(NULLS)})
    evaluate(nulled, open_data_sets(nulled), tiny_teachers, ["narrow", "wide"], tmp_path / "out", MACHINE, seed=0)
    found = {row.model for row in read_results(tmp_path / "out")}
    assert {"chance", "random_weights"} <= found
    assert "colour_and_size" not in found, "it cannot read prompts or captions"
    shuffled, plain = (
        read_embeddings(embeddings_path(tmp_path / "out", "squares_ct", name)) for name in ("random_weights", "narrow")
    )
    assert shuffled.image_ID.shape == plain.image_ID.shape
    assert not np.allclose(shuffled.image_ID, plain.image_ID)


def test_models_of_an_earlier_run_do_not_enter_the_results(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    evaluate(settings, open_data_sets(settings), models, TEACHERS, tmp_path / "out", MACHINE, seed=0)
    evaluate(settings, open_data_sets(settings), models[-1:], [], tmp_path / "out", MACHINE, seed=0)
    assert {row.model for row in read_results(tmp_path / "out")} == {"student"}


def test_rows_are_plain_json_with_all_that_places_a_number(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    evaluate(settings, open_data_sets(settings), models, TEACHERS, tmp_path / "out", MACHINE, seed=4)
    rows = [json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    keys = {"model", "dataset", "modality", "task", "metric", "value", "low", "high", "n", "seed", "protocol"}
    assert all(keys <= set(row) for row in rows)
    pairs = next(row for row in rows if row["dataset"] == "pairs" and row["model"] == "stage1")
    assert (pairs["modality"], pairs["n"], pairs["seed"], pairs["note"]) == ("mixed", 36, 4, "few captions")
    assert "95% percentile interval, 200 bootstrap replicates of groups" in pairs["protocol"]
