"""Corrupted pictures in an evaluation: numbers by hand, the whole stage, what it makes anew and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from colour_world import MACHINE, TEACHERS, ColourModel
from sklearn import metrics
from weightings import counts, once, resamples

from mmkd.errors import ConfigError
from mmkd.evaluation.corrupted import corrupted_sets
from mmkd.evaluation.data_sets.opened import DecodedImages
from mmkd.evaluation.evaluate import evaluate, open_data_sets
from mmkd.evaluation.format.predictions import PredictionFacts, predictions_of
from mmkd.evaluation.format.results import NULLS, read_comparisons, read_overall, read_results
from mmkd.evaluation.models.embeddings import embeddings_path, read_embeddings
from mmkd.evaluation.summary.compare_runs import compare
from mmkd.evaluation.summary.summary import results_from_predictions
from mmkd.evaluation.tasks.robustness import TASK
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.folders.atomic import write_json
from mmkd.report.details import corruptions
from mmkd.report.source import ReportContext, read_evaluated
from mmkd.report.task_section import metric_table
from mmkd.teachers.zoo.settings import TeacherSpec
from mmkd.validation import parse
from predicted_world import QUICK, written

SMALL = {"corruptions": ["brightness_down", "gaussian_noise"]}


def columns(right: dict[str, list[bool]], label: list[int]) -> dict[str, np.ndarray]:
    """right: "clean", and of each family the same flags at severities 1 to 4 and their opposite at 5."""
    found = {"label": np.array(label, np.int32), "clean": np.array(right["clean"])}
    for family, flags in right.items():
        for severity in (1, 2, 3, 4, 5) if family != "clean" else ():
            found[f"corrupted:{family}:{severity}"] = np.array(flags) ^ (severity == 5)
    return found


HAND = columns(
    {"clean": [True, True, True, False], "bubble": [True, True, False, False], "saturate": [True] * 4}, [0, 0, 0, 1]
)


def test_metrics_by_hand() -> None:
    found = {name: float(value[0]) for name, value in TASK.measure(HAND, once(4)).items()}
    # bubble: 1/2 at each severity; saturate: 1 four times and 0 once
    assert found["accuracy@bubble"] == 0.5
    assert found["accuracy@saturate"] == 0.8
    assert (found["accuracy@saturate:4"], found["accuracy@saturate:5"]) == (1.0, 0.0)
    assert found["accuracy@severity:1"] == 0.75
    assert found["accuracy@severity:5"] == 0.25
    assert found["corrupted_accuracy"] == pytest.approx(0.65)
    assert found["clean_accuracy"] == 0.75
    assert found["accuracy_drop"] == pytest.approx(0.10)
    assert found["relative_drop"] == pytest.approx(0.10 / 0.75)
    assert found["clean_balanced_error"] == 0.5  # all of class 0 and none of class 1
    # of class 0 right 2/3 four times and 1/3 once, of class 1 never and once
    assert found["balanced_error@bubble"] == pytest.approx(1 - ((4 * 2 / 3 + 1 / 3) / 5 + 0.2) / 2)


def test_balanced_errors_equal_scikit_learn_on_every_resample() -> None:
    rng = np.random.default_rng(0)
    label = [*range(3)] * 20
    flags = {"clean": (rng.random(60) < 0.8).tolist(), "bubble": (rng.random(60) < 0.5).tolist()}
    table, weight = columns(flags, label), counts(60, 4, 0, kept=3)
    measured = TASK.measure(table, weight)
    for b, drawn in enumerate(resamples(weight)):
        truth = np.array(label)[drawn]
        for name, names in (
            ("clean_balanced_error", ["clean"]),
            ("balanced_error@bubble", [f"corrupted:bubble:{s}" for s in range(1, 6)]),
        ):
            each = [
                1 - metrics.balanced_accuracy_score(truth, np.where(table[one][drawn], truth, (truth + 1) % 3))
                for one in names
            ]
            assert measured[name][b] == pytest.approx(np.mean(each), abs=1e-12)


def test_a_model_that_is_never_right_loses_nothing_and_multi_label_has_no_balance() -> None:
    never = columns({"clean": [False] * 4, "bubble": [False] * 4}, [0, 0, 1, 1])
    assert TASK.measure({**never, "corrupted:bubble:5": np.zeros(4, bool)}, once(4))["relative_drop"][0] == 0
    flags = {name: value for name, value in HAND.items() if name != "label"}
    several = {
        "label:a": np.array([True, True, False, False]),
        "label:b": np.array([False, True, True, False]),
        **flags,
    }
    found = TASK.measure(several, once(4))
    assert found["clean_accuracy"][0] == 1.0  # the fourth has no class and is left out
    assert not any("balanced" in name for name in found)


def test_errors_relative_to_a_baseline_by_hand(tmp_path: Path) -> None:
    """BE: mean of E / E'; rBE: mean of (E - clean) / (E' - clean'). Two classes of ten, errors in one."""
    label = [0] * 10 + [1] * 10

    def flags(wrong: int) -> np.ndarray:
        return np.arange(20) >= wrong

    for model, clean, bubble, saturate in (("base", 1, 4, 3), ("student", 1, 2, 3), ("other", 2, 4, 4)):
        table = {"label": np.array(label, np.int32), "clean": flags(clean)}
        table |= {f"corrupted:bubble:{s}": flags(bubble) for s in range(1, 6)}
        table |= {f"corrupted:saturate:{s}": flags(saturate) for s in range(1, 6)}
        written(tmp_path, PredictionFacts(model, "set", "ct", "robustness"), table)
    with_base = results_from_predictions(tmp_path, [], QUICK, corruption_baseline="base").results
    found = {(row.model, row.metric): row for row in with_base if row.dataset == "set"}
    assert found["base", "mean_corruption_error"].value == 1
    assert found["student", "mean_corruption_error"].value == pytest.approx((2 / 4 + 3 / 3) / 2)
    assert found["student", "relative_corruption_error"].value == pytest.approx((1 / 3 + 2 / 2) / 2)
    assert found["other", "relative_corruption_error"].value == pytest.approx((2 / 3 + 2 / 2) / 2)
    student = found["student", "mean_corruption_error"]
    assert student.low is not None
    assert student.low < student.value < (student.high or 0)
    assert "relative to base" in student.note
    plain = results_from_predictions(tmp_path, [], QUICK).results
    assert not any("corruption_error" in row.metric for row in plain)


def test_a_baseline_without_errors_gives_no_ratios(tmp_path: Path) -> None:
    for model in ("base", "student"):
        table = columns({"clean": [True] * 8, "bubble": [True] * 8}, [0, 1] * 4)
        table["corrupted:bubble:5"] = np.ones(8, bool)
        written(tmp_path, PredictionFacts(model, "set", "ct", "robustness"), table)
    rows = results_from_predictions(tmp_path, [], QUICK, corruption_baseline="base").results
    assert rows
    assert not any("corruption_error" in row.metric for row in rows)


def test_runs_with_other_families_are_compared_on_those_that_both_have(tmp_path: Path) -> None:
    for model, families in (("one", ["bubble", "saturate"]), ("two", ["bubble", "pixelate"])):
        flags = {"clean": [True] * 8, **{family: [family == "bubble"] * 8 for family in families}}
        about = PredictionFacts(model, "set", "ct", "robustness")
        written(tmp_path / model, about, columns(flags, [0, 1] * 4))
    lines = compare(str(tmp_path / "one"), str(tmp_path / "two"), QUICK).lines
    found = {line.comparison.metric: (line.first, line.second) for line in lines}
    assert found["corrupted_accuracy"] == (0.8, 0.8)  # of bubble alone, which is wrong at severity 5
    assert "accuracy@bubble:5" in found
    assert "accuracy@saturate" not in found


@pytest.fixture
def corrupted(settings: EvaluateSettings) -> EvaluateSettings:
    return settings.model_copy(update={**SMALL, "corruption_baseline": "blind-red", "nulls": ["random_weights"]})


def test_the_stage_measures_all_models_on_the_same_worse_pictures(
    corrupted: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmkd.evaluation.evaluate.null_model", lambda name, focus, seed: _null(name, models[0]))
    out = tmp_path / "out"
    counted = evaluate(corrupted, open_data_sets(corrupted), models, TEACHERS, out, MACHINE, seed=0)
    by_set = {next(iter(found.values())).facts.dataset: found for found in predictions_of(out, "robustness")}
    assert list(by_set) == ["squares_ct", "squares_mri"]  # and not the set for retrieval
    assert set(by_set["squares_ct"]) == {*(one.name for one in models), "teachers_concat"}
    student = by_set["squares_ct"]["student"]
    clean = next(found for found in predictions_of(out, "zero_shot"))["student"]
    score_NC = np.stack([clean.columns[f"score:{name}"] for name in ("red", "green", "blue")], axis=1)
    np.testing.assert_array_equal(student.columns["clean"], score_NC.argmax(axis=1) == clean.columns["label"])
    assert len([name for name in student.columns if name.startswith("corrupted:")]) == 10
    rows = {
        (row.model, row.metric): row for row in read_results(out) if row.task == "robustness" and row.modality == "mean"
    }
    assert rows["student", "corrupted_accuracy"].value > rows["blind-red", "corrupted_accuracy"].value
    assert ("best_teacher", "corrupted_accuracy") in rows
    assert not {model for model, _ in rows} & set(NULLS)
    gains = [row for row in read_comparisons(out) if (row.task, row.metric) == ("robustness", "corrupted_accuracy")]
    assert {row.rival for row in gains} >= set(TEACHERS)
    assert all(row.low is not None for row in gains)
    assert {row.task for row in read_overall(out)} == {"all", "zero_shot", "retrieval"}
    assert counted["predictions"] == 3 * 7 + 2 * 6
    ColourModel.loaded.clear()
    before = (out / "results.jsonl").read_bytes()
    evaluate(corrupted, open_data_sets(corrupted), models, TEACHERS, out, MACHINE, seed=0)
    assert ColourModel.loaded == []
    assert (out / "results.jsonl").read_bytes() == before


def _null(name: str, spec: TeacherSpec):  # type: ignore[no-untyped-def]
    from mmkd.evaluation.models.encoders import LoadableModel, ModelEncoder

    return LoadableModel(name, "null", lambda device: ModelEncoder(ColourModel(spec, device)))  # type: ignore[arg-type]


def test_another_family_costs_only_itself_and_none_removes_what_was_there(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    one = settings.model_copy(update={"corruptions": ["brightness_down"]})
    evaluate(one, open_data_sets(one), models[:1], [], tmp_path / "out", MACHINE, seed=0)
    path = embeddings_path(tmp_path / "out", "squares_ct/brightness_down", "blind-red")
    made = path.stat().st_mtime_ns
    assert read_embeddings(path).image_ID.shape == (5 * 36, 3)
    two = settings.model_copy(update=SMALL)
    evaluate(two, open_data_sets(two), models[:1], [], tmp_path / "out", MACHINE, seed=1)
    assert path.stat().st_mtime_ns == made  # nor does another seed of the run change the pictures
    assert embeddings_path(tmp_path / "out", "squares_ct/gaussian_noise", "blind-red").is_file()
    evaluate(settings, open_data_sets(settings), models[:1], [], tmp_path / "out", MACHINE, seed=0)
    assert not list((tmp_path / "out/predictions").glob("robustness/*/*.parquet"))


def test_a_corrupted_set_has_every_severity_in_order_and_is_not_kept_decoded(settings: EvaluateSettings) -> None:
    data_set = open_data_sets(settings)[0]
    sets = corrupted_sets(data_set, True)
    assert list(sets) == list(dict.fromkeys(sets))
    assert "gamma_up" in sets
    noisy = sets["gaussian_noise"]
    assert [sample.id for sample in noisy.samples] == [sample.id for sample in data_set.samples] * 5
    assert (len(noisy.images), noisy.texts) == (180, [])
    assert len({one.digest for one in sets.values()} | {data_set.digest}) == len(sets) + 1
    images = DecodedImages(1000)
    assert np.array_equal(np.asarray(images.get(noisy.images[3])), np.asarray(noisy.images[3].read()))
    assert images.get(noisy.images[3]) is not images.get(noisy.images[3])
    assert corrupted_sets(open_data_sets(settings)[2], True) == {}  # retrieval
    assert corrupted_sets(data_set, False) == {}


def test_the_report_shows_families_and_severities(
    corrupted: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    quiet = corrupted.model_copy(update={"nulls": []})
    evaluate(quiet, open_data_sets(quiet), models, TEACHERS, tmp_path, MACHINE, seed=0)
    manifest = {"kind": "evaluation", "settings": {}, "inputs": {}, "digest": "", "counts": {}, "versions": {}}
    write_json(tmp_path / "manifest.json", manifest)
    evaluated = read_evaluated(tmp_path, ReportContext("small", 0, dict.fromkeys(TEACHERS, "CC0")))
    detail = corruptions(evaluated, "robustness")
    assert detail.table is not None
    assert [row.name for row in detail.table.rows] == ["clean", "gaussian noise", "brightness down", "all families"]
    assert all(row.styled_cells[-1].text.endswith("]") for row in detail.table.rows)  # a paired difference each
    assert len(detail.figures) == 1
    shown = metric_table(evaluated, "robustness")
    assert shown is not None
    drops = ["accuracy drop, %", "relative drop, %", "mean corruption error"]  # and no family, and no severity
    assert shown.heads[1:] == ["corrupted accuracy, %", "clean accuracy, %", *drops]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"corruptions": ["fog"]}, "corruptions"),
        ({"corruptions": 3}, "corruptions"),
        ({"corruption_baseline": "student"}, "corruption_baseline needs corruptions"),
    ],
)
def test_wrong_settings_are_refused(keys: dict[str, object], told: str, tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text("")
    with pytest.raises(ConfigError, match=told):
        parse(EvaluateSettings, {"cards": ["card.toml"], **keys}, "recipe", {"base": tmp_path})


def test_a_baseline_that_is_no_model_is_refused(
    corrupted: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    wrong = corrupted.model_copy(update={"corruption_baseline": "blind-rad"})
    with pytest.raises(ConfigError, match=r"no model 'blind-rad'.*blind-red"):
        evaluate(wrong, open_data_sets(wrong), models, TEACHERS, tmp_path / "out", MACHINE, seed=0)


def test_no_card_asks_for_it(settings: EvaluateSettings, tmp_path: Path) -> None:
    path = tmp_path / "ct" / "card.toml"
    path.write_text(path.read_text().replace('["zero_shot"]', '["robustness"]'))
    with pytest.raises(ConfigError, match="corruptions' asks for it"):
        open_data_sets(settings)
