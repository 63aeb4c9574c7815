"""Tables of labels: columns are found, and what is wrong is named with its count."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled_world import write_table

from mmkd.adapt.pictures import check_groups, group_of_each
from mmkd.adapt.table import Row, read_table
from mmkd.commands.adapt import _columns
from mmkd.errors import ConfigError, DataError
from mmkd.tables.dialect import Declared


def rows(*labels: str) -> list[dict[str, object]]:
    return [{"file": f"{n}.png", "label": label} for n, label in enumerate(labels)]


def test_columns_are_found_by_their_usual_names_or_named(tmp_path: Path) -> None:
    made = [{"Path": "a.png", "Class": "x", "patient_id": 7.0, "split": "val"}, {"Path": "b.png", "Class": "y"}]
    table = read_table(write_table(tmp_path / "t.csv", made), {})
    assert table.rows[0] == Row("t.csv, row 1", "a.png", "x", "7", "train")
    assert table.labels == ["x", "y"]
    assert table.notes == ["1 rows of the split val are learnt from, like train: inner folds choose"]
    with pytest.raises(ConfigError, match=r"no column 'grade' for the label; it has Path, Class"):
        read_table(tmp_path / "t.csv", {"label": "grade"})


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("x", "", "nan", "y"), r"2 of 4 rows have no label \(t.csv, row 2, t.csv, row 3\)"),
        (("x", "x"), "all 2 rows have the label 'x'"),
        (("Normal", "normal", "ill"), r"may be one class: 'Normal' \(1\) and 'normal' \(1\)"),
        (("pneumonia",) * 30 + ("pnuemonia", "none seen"), r"'pnuemonia' \(1\) and 'pneumonia' \(30\)"),
    ],
)
def test_wrong_labels_are_refused_with_their_count(tmp_path: Path, labels: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(write_table(tmp_path / "t.csv", rows(*labels)), {})


def test_grades_and_classes_that_are_named_are_no_typing_errors(tmp_path: Path) -> None:
    graded = read_table(write_table(tmp_path / "t.csv", rows(*["grade 1"] * 40, "grade 2")), {})
    assert graded.labels == ["grade 1", "grade 2"]
    made = write_table(tmp_path / "t.csv", rows(*["benign lesion"] * 40, "benign lesions"))
    assert read_table(made, {}, ("benign lesion", "benign lesions")).labels == ["benign lesion", "benign lesions"]


def test_a_label_that_is_no_class_is_listed_with_the_nearest(tmp_path: Path) -> None:
    made = write_table(tmp_path / "t.csv", rows("pneumonia", "Normal", "pnuemonia", "pnuemonia"))
    with pytest.raises(DataError, match=r"'pnuemonia' \(2, is it 'pneumonia'\?\)"):
        read_table(made, {}, ("pneumonia", "normal"))


def test_a_picture_with_two_labels_and_an_unknown_split_are_refused(tmp_path: Path) -> None:
    twice = [{"file": "a.png", "label": "x"}, {"file": "a.png", "label": "y"}]
    with pytest.raises(DataError, match=r"1 pictures have several labels \(a.png as x and y\)"):
        read_table(write_table(tmp_path / "t.csv", twice), {})
    with pytest.raises(DataError, match="row 1: split 'dev', expected train, val or test"):
        read_table(write_table(tmp_path / "t.csv", [{"file": "a.png", "label": "x", "split": "dev"}]), {})


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.integers(0, 5)), min_size=1, max_size=12))
def test_groups_are_the_connected_components(pairs: list[tuple[str, int]]) -> None:
    """By the transitive closure of "same group or same bytes"."""
    made = [Row("", "", "x", group, "train") for group, _ in pairs]
    digests = [str(digest) for _, digest in pairs]
    group_N, copies = group_of_each(made, digests)
    n = len(pairs)
    linked = [
        [i == j or digests[i] == digests[j] or (made[i].group == made[j].group != "") for j in range(n)]
        for i in range(n)
    ]
    for k in range(n):
        linked = [[linked[i][j] or (linked[i][k] and linked[k][j]) for j in range(n)] for i in range(n)]
    assert [[bool(a == b) for b in group_N] for a in group_N] == linked
    assert copies == n - len(set(digests))


def test_a_class_of_one_patient_is_refused() -> None:
    import numpy as np

    with pytest.raises(DataError, match=r"pictures of 'rare' \(3 pictures\) are of one group"):
        check_groups(Path("t.csv"), np.array([0, 0, 1, 1, 1]), np.array([0, 1, 2, 2, 2]), ["usual", "rare"])


def test_a_table_of_another_encoding_and_delimiter_is_read_as_declared(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('file;label\nä.png;Ödem\nb.png;"gesund"\n'.encode("cp1252"))
    with pytest.raises(DataError, match="--encoding cp1252"):
        read_table(path, {})
    table = read_table(path, {}, declared=Declared(delimiter=";", quoting="none", encoding="cp1252"))
    assert [(row.image, row.label) for row in table.rows] == [("ä.png", "Ödem"), ("b.png", '"gesund"')]


def test_columns_are_named_by_any_name_that_tables_have_for_them() -> None:
    assert _columns(["path=Bild", "diagnosis=Befund"]) == {"image": "Bild", "label": "Befund"}
    with pytest.raises(ConfigError, match="--column colour=x: expected one of image, label, group, split, =, and"):
        _columns(["colour=x"])
