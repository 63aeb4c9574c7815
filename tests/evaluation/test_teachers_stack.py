"""The ensemble `teachers_stack`: products are the stack's logits, and it stands in every table of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colour_world import MACHINE, TEACHERS
from test_zero_shot_task import PROMPTS, THREE, pictures, three_classes
from worlds import embedded, unit

from feature_world import write_corpus
from mmkd.cards.samples import ImageRef, Sample
from mmkd.corpus.schema import Corpus
from mmkd.evaluation.evaluate import evaluate, open_data_sets
from mmkd.evaluation.format.predictions import predictions_of
from mmkd.evaluation.format.results import by_modality, read_comparisons, read_results
from mmkd.evaluation.models.embeddings import EmbeddedDataSet, embeddings_path, read_embeddings
from mmkd.evaluation.models.encoders import loadable_model
from mmkd.evaluation.publish import Evaluation, publish_evaluation
from mmkd.evaluation.tasks.retrieval import TASK as RETRIEVAL
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.evaluation.tasks.zero_shot import TASK, class_embedding
from mmkd.evaluation.units import units_of
from mmkd.reliability.caption_cells import CaptionCells, Metric
from mmkd.reliability.table import GroupReliability, ReliabilityTable, TeacherGeometry
from mmkd.reliability.teacher_stack import TeacherStack
from mmkd.report.run_folder import report_run
from mmkd.statistics.metrics import Array
from mmkd.teachers.zoo.settings import TeacherSpec
from stacks import Slopes, write_stacked
from tolerance import assert_rounding

SLOPES = np.array([14.0, 2.0, 7.0])
SHARES = (SLOPES / SLOPES.sum()).tolist()
STACK = TeacherStack({"ct": {"blind-red": 9.0, "blind-blue": 3.0}, "mri": {"blind-blue": 5.0}}, {"blind-red": 4.0})


def shared(
    chosen: Sequence[Sample],
    members: Sequence[Mapping[ImageRef, Array]],
    texts: Sequence[Mapping[str, Array]],
    shares: Sequence[float],
) -> EmbeddedDataSet[Any]:
    return replace(embedded(THREE, chosen, members, texts), shares=shares)


def test_products_are_the_stack_s_logits_up_to_one_factor_and_vectors_have_length_one() -> None:
    chosen, image = three_classes(["test"], per_split=20)
    members = [image, *(pictures(chosen, unit(20, dim, dim)) for dim in (5, 9))]
    texts = [dict(zip(PROMPTS, unit(6, dim, 50 + dim), strict=True)) for dim in (8, 5, 9)]
    together = shared(chosen, members, texts, SHARES)
    image_ND, text_TD = together.of_images(chosen), together.of_texts(PROMPTS)
    assert image_ND.dtype == text_TD.dtype == np.float32
    naive_NT = sum(
        slope * one.of_images(chosen) @ one.of_texts(PROMPTS).T
        for slope, one in zip(SLOPES, together.by_member(), strict=True)
    )
    assert_rounding(SLOPES.sum() * (image_ND @ text_TD.T), naive_NT, dtype=np.float32)
    assert_rounding(np.linalg.norm(image_ND, axis=1), np.ones(20), dtype=np.float32)


def test_zero_shot_scores_are_the_naive_weighted_sum_of_cosines() -> None:
    chosen, image = three_classes(["test"], per_split=30)
    members = [image, *(pictures(chosen, unit(30, dim, dim)) for dim in (5, 9))]
    texts = [dict(zip(PROMPTS, unit(6, dim, 50 + dim), strict=True)) for dim in (8, 5, 9)]
    columns = TASK.predict(shared(chosen, members, texts, SHARES)).columns
    expected_NC = np.zeros((30, 3))
    for slope, pictured, named in zip(SLOPES, members, texts, strict=True):
        for n, sample in enumerate(chosen):
            vector = pictured[sample.image] / np.linalg.norm(pictured[sample.image])
            for c in range(3):
                prompts = np.stack([named[prompt] for prompt in PROMPTS[2 * c : 2 * c + 2]])
                expected_NC[n, c] += slope * vector @ class_embedding(prompts)
    found_NC = np.stack([columns[f"score:{name}"] for name in "abc"], axis=1)
    assert_rounding(SLOPES.sum() * found_NC, expected_NC, dtype=np.float32)
    right = np.mean(expected_NC.argmax(axis=1) == columns["label"])
    assert TASK.measure(columns, np.ones((1, 30)))["accuracy"][0] == pytest.approx(right)


def test_equal_shares_are_the_plain_concatenation() -> None:
    chosen, image = three_classes(["test"], per_split=20)
    members = [image, pictures(chosen, unit(20, 5, 5))]
    texts = [dict(zip(PROMPTS, unit(6, dim, 50 + dim), strict=True)) for dim in (8, 5)]
    plain = TASK.predict(embedded(THREE, chosen, members, texts)).columns
    alike = TASK.predict(shared(chosen, members, texts, [0.5, 0.5])).columns
    for name in plain:
        assert_rounding(alike[name], plain[name], dtype=np.float32)


def test_units_have_the_members_and_shares_of_their_modality(
    settings: EvaluateSettings, models: list[TeacherSpec]
) -> None:
    known = {spec.name: [loadable_model(spec)] for spec in models}
    found = {}
    for data_set in open_data_sets(settings):
        units = list(units_of(data_set, known, settings, 0, stack=STACK))
        assert [unit.model for unit in units] == [*known, "teachers_stack"]
        found[data_set.card.modality] = units[-1]
    names = {modality: [member.name for member in unit.members] for modality, unit in found.items()}
    assert names == {"ct": ["blind-red", "blind-blue"], "mri": ["blind-blue"], "mixed": ["blind-red"]}
    shares = {name: list(unit.shares) for name, unit in found.items()}
    assert shares == {"ct": [0.75, 0.25], "mri": [1.0], "mixed": [1.0]}
    assert found["ct"].note == ""
    assert found["mixed"].note == "slopes of all modalities together, as none was fitted on mixed"


def test_it_is_predicted_compared_ranked_and_noted(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    evaluate(settings, open_data_sets(settings), models, TEACHERS, out, MACHINE, seed=0, stack=STACK)
    rows = read_results(out)
    accuracy = by_modality(rows, "zero_shot", "accuracy")
    order = [
        "blind-red",
        "blind-blue",
        "best_teacher",
        "teachers_concat",
        "teachers_stack",
        "stage1",
        "mmkd",
        "student",
    ]
    assert list(accuracy) == order
    assert list(accuracy["teachers_stack"]) == ["ct", "mri", "mean"]
    assert accuracy["teachers_stack"]["mri"].value == accuracy["blind-blue"]["mri"].value  # the only one with a slope
    against = [row for row in read_comparisons(out) if row.rival == "teachers_stack"]
    assert {row.dataset for row in against} == {"squares_ct", "squares_mri", "pairs", "mean"}
    assert {row.model for row in against} == {"student"}
    notes = {row.dataset: row.note for row in rows if row.model == "teachers_stack" and row.task == "retrieval"}
    assert "few captions; slopes of all modalities together" in notes["pairs"]
    assert "teachers_stack" in capsys.readouterr().out
    by_set = {found["student"].facts.dataset: found for found in predictions_of(out, "zero_shot")}
    stack, red, blue = (by_set["squares_ct"][name].columns["score:red"] for name in ("teachers_stack", *TEACHERS))
    assert_rounding(stack, 0.75 * red + 0.25 * blue, dtype=np.float32)
    assert RETRIEVAL.primary in {row.metric for row in rows if row.model == "teachers_stack"}


def test_other_slopes_are_predicted_anew_and_nothing_else_is(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    evaluate(settings, open_data_sets(settings), models, TEACHERS, out, MACHINE, seed=0, stack=STACK)
    before = {path: path.stat().st_mtime_ns for path in (out / "predictions").rglob("*.parquet")}
    other = TeacherStack({**STACK.of_modality, "ct": {"blind-red": 1.0, "blind-blue": 1.0}}, STACK.pooled)
    evaluate(settings, open_data_sets(settings), models, TEACHERS, out, MACHINE, seed=0, stack=other)
    written = {path.relative_to(out) for path in before if path.stat().st_mtime_ns != before[path]}
    assert written == {Path("predictions/zero_shot/squares_ct/teachers_stack.parquet")}
    evaluate(settings, open_data_sets(settings), models, TEACHERS, out, MACHINE, seed=0)
    assert not list(out.rglob("teachers_stack.parquet"))


def test_the_texts_of_a_data_set_say_which_part_s_slopes_it_has(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two parts of ct one has no cell near: all texts lie in the other, whose slopes are those of the stack."""
    data_set = next(one for one in open_data_sets(settings) if one.card.modality == "ct")
    evaluate(settings, [data_set], models, TEACHERS, tmp_path / "plain", MACHINE, seed=0, stack=STACK)
    stored = read_embeddings(embeddings_path(tmp_path / "plain", data_set.card.id, "blind-blue"))
    middle_D = stored.text_TD.mean(axis=0)
    metric = Metric({"blind-blue": 1.0}, {"blind-blue": np.zeros_like(middle_D)})
    cells = CaptionCells(metric, np.stack([middle_D, middle_D + 100.0]), ("ct / 1", "ct / 2"))
    parts = {"ct / 1": {"blind-blue": 8.0}, "ct / 2": {"blind-red": 8.0}}
    nested = replace(STACK, cells={"ct": cells}, of_part=parts)
    capsys.readouterr()
    out = tmp_path / "nested"
    evaluate(settings, [data_set], models, TEACHERS, out, MACHINE, seed=0, stack=nested)
    said = capsys.readouterr()
    assert f"teachers_stack on {data_set.card.id}: ct / 1 (100% of the texts)" in said.out + said.err
    found = {one: of[one].columns["score:red"] for of in predictions_of(out, "zero_shot") for one in of}
    assert_rounding(found["teachers_stack"], found["blind-blue"], dtype=np.float32)


def test_a_stack_of_a_teacher_that_is_not_there_is_left_out_with_a_line(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = TeacherStack({**STACK.of_modality, "oct": {"absent": 2.0}}, STACK.pooled)
    evaluate(settings, open_data_sets(settings), models, TEACHERS, tmp_path / "out", MACHINE, seed=0, stack=more)
    assert "teachers_stack is left out: it needs absent, which cannot" in " ".join(capsys.readouterr().out.split())
    assert "teachers_stack" not in {row.model for row in read_results(tmp_path / "out")}


def reliability(folder: Path, slopes: Slopes) -> Path:
    mean = np.zeros(3)
    teachers = [TeacherGeometry(name, 3, "CC0", 10.0, 0.5, 0.5, mean, mean) for name in sorted(TEACHERS)]
    cells = [GroupReliability(group, name, 10, 0.9, 0.01, 1.0) for group in ("ct", "mri") for name in sorted(TEACHERS)]
    return write_stacked(ReliabilityTable(teachers, cells), folder, slopes)


@pytest.mark.parametrize("known", [True, False])
def test_a_run_has_it_in_results_and_report_where_the_reliability_has_a_stack(
    known: bool,
    settings: EvaluateSettings,
    models: list[TeacherSpec],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = ["ct", "mri"] * 10
    write_corpus(tmp_path / "corpus", {"caption": [f"a {name}" for name in named], "modality": named})
    assert len(Corpus(tmp_path / "corpus")) == 20
    slopes: Slopes = {"blind-red": {"ct": 9.0}, "blind-blue": {"mri": 4.0, "ct": 3.0}} if known else {}
    plain = settings.model_copy(update={"audit": False})
    one = Evaluation(
        "colours", plain, models, dict.fromkeys(TEACHERS, "CC0"), MACHINE, seed=0, corpus=tmp_path / "corpus",
        reliability=reliability(tmp_path / "reliability", slopes),
    )  # fmt: skip
    publish_evaluation(one, tmp_path / "run")
    told = " ".join(capsys.readouterr().out.split())
    found = {row.model for row in read_results(tmp_path / "run/evaluate")}
    assert ("teachers_stack" in found) is known
    assert ("teachers_stack is left out: the reliability has no stack" in told) is not known
    page = report_run(tmp_path / "run").read_text()
    assert ("teachers_stack" in page) is known
