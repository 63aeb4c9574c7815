"""The slopes of the stack on each modality and on all together: by hand, in modalities and in clusters."""

from collections.abc import Sequence

import numpy as np
import pytest

from feature_world import write_corpus
from mmkd.corpus.schema import Corpus
from mmkd.reliability.caption_cells import CaptionCells, Metric
from mmkd.reliability.table import GroupReliability, ReliabilityTable, TeacherGeometry
from mmkd.reliability.teacher_stack import TeacherStack, stack_of
from stacks import Slopes, stacked

# row 9 goes to the split val and has no part
MODALITIES = ["ct", "ct", "ct", "oct", "oct", "mri", "ct", "oct", "oct", "oct"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("stack") / "corpus"
    write_corpus(folder, {"caption": [f"a {name}" for name in MODALITIES], "modality": MODALITIES})
    return Corpus(folder)


def table(
    groups: Sequence[str], slopes: Slopes, by: str = "modality", of: Sequence[int] | None = None
) -> ReliabilityTable:
    mean = np.zeros(2)
    teachers = [TeacherGeometry(name, 2, "MIT", 10.0, 0.5, 0.5, mean, mean) for name in ("a", "b")]
    cells = [GroupReliability(group, name, 10, 0.9, 0.01, 1.0) for group in groups for name in ("a", "b")]
    cluster_N = None if of is None else np.array(of, dtype=np.int32)
    return stacked(ReliabilityTable(teachers, cells, by, cluster_N), slopes)


def test_a_modality_has_the_slopes_of_its_group_and_all_together_the_mean_over_pairs(corpus: Corpus) -> None:
    found = stack_of(table(["ct", "oct"], {"a": {"ct": 20.0, "oct": 6.0}, "b": {"oct": 12.0}}), corpus)
    assert found.slopes("ct") == {"a": 20.0}
    assert found.slopes("oct") == pytest.approx({"a": 6.0, "b": 12.0})
    # of nine pairs four each are ct and oct; that of mri was not measured
    assert found.pooled == pytest.approx({"a": 13.0, "b": 6.0})
    assert found.teachers == {"a", "b"}


@pytest.mark.parametrize("modality", ["mri", "fundus", "mixed", "other"])
def test_where_nothing_was_fitted_all_modalities_stand_in(corpus: Corpus, modality: str) -> None:
    found = stack_of(table(["ct", "oct"], {"a": {"ct": 20.0, "oct": 6.0}, "b": {"oct": 12.0}}), corpus)
    assert found.slopes(modality) == found.pooled


def test_a_modality_that_no_teacher_knows_has_the_slopes_of_all(corpus: Corpus) -> None:
    found = stack_of(table(["ct", "oct", "mri"], {"a": {"ct": 20.0}}), corpus)
    assert found.slopes("oct") == found.pooled == {"a": 20.0}  # pairs without a slope do not make it smaller


def test_a_modality_of_several_clusters_has_their_mean_over_its_pairs(corpus: Corpus) -> None:
    of = [0, 0, 1, 1, 1, 2, 1, 2, 2, 0]
    slopes = {"a": {"cluster 00": 8.0, "cluster 01": 2.0}, "b": {"cluster 01": 4.0}}
    found = stack_of(table(["cluster 00", "cluster 01", "cluster 02"], slopes, "cluster", of), corpus)
    assert found.slopes("ct") == pytest.approx({"a": (8.0 + 8.0 + 2.0 + 2.0) / 4, "b": 8.0 / 4})
    assert found.slopes("oct") == pytest.approx({"a": 2.0, "b": 4.0})  # cluster 02 has no slope
    assert found.slopes("mri") == found.pooled == pytest.approx({"a": 24.0 / 6, "b": 16.0 / 6})


def test_modalities_of_the_evidence_are_those_of_the_rows(corpus: Corpus) -> None:
    measured = table(["ct", "oct"], {"a": {"ct": 20.0}, "b": {"oct": 5.0}})
    turned = np.array(["oct" if name == "ct" else "ct" for name in MODALITIES])
    found = stack_of(ReliabilityTable(**{**vars(measured), "modality_N": turned}), corpus)
    assert found.slopes("ct") == {"a": 20.0}
    assert found.pooled == pytest.approx({"a": 20.0 * 5 / 9, "b": 5.0 * 4 / 9})


def test_without_a_slope_anywhere_there_is_no_teacher(corpus: Corpus) -> None:
    found = stack_of(table(["ct", "oct"], {}), corpus)
    assert found == TeacherStack({"ct": {}, "mri": {}, "oct": {}}, {})
    assert found.teachers == set()


def test_a_data_set_between_parts_has_the_mean_of_their_ratios_by_hand() -> None:
    """Three of four texts lie in part 2; part 1 is ten times as sharp, and counts no more for that."""
    cells = CaptionCells(Metric({"a": 1.0}, {"a": np.zeros(1)}), np.array([[1.0], [-1.0]]), ("ct / 1", "ct / 2"))
    parts = {"ct / 1": {"a": 30.0, "b": 10.0}, "ct / 2": {"b": 4.0}}
    stack = TeacherStack({"ct": {"a": 5.0}, "oct": {"b": 2.0}}, {"b": 1.0}, {"ct": cells}, parts)
    texts = {"a": np.array([[0.9], [-0.9], [-0.8], [-1.0]])}
    found, shares = stack.for_texts("ct", texts)
    assert shares == {"ct / 2": 0.75, "ct / 1": 0.25}
    total = 0.25 * 40.0 + 0.75 * 4.0
    assert found.slopes("ct") == pytest.approx({"a": total * 0.25 * 0.75, "b": total * (0.25 * 0.25 + 0.75)})
    assert found.slopes("oct") == {"b": 2.0}
    silent = TeacherStack(stack.of_modality, stack.pooled, stack.cells, {"ct / 1": {}, "ct / 2": {}})
    assert silent.for_texts("ct", texts) == (silent, {})
    assert stack.teachers == {"a", "b"}
