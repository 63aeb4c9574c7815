"""Text of cells: containers have none, and a patient has one name in every type of table."""

import csv
import json
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_samples import everything, png, reasons, records, settings_for, write_files
from hypothesis import given
from hypothesis import strategies as st

from mmkd.cards.card import Card
from mmkd.cards.readers.read import read_samples
from mmkd.curation.facts.pairs import SourceRecord
from mmkd.curation.records.record import Rejected
from mmkd.curation.settings.sources import TableSource
from mmkd.curation.sources.tables import TableReader
from mmkd.errors import DataError
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.values import as_name, as_text, matches


def reader(path: Path, **options: object) -> TableReader:
    return TableReader(TableSource.model_validate({"kind": "table", "name": "t", "path": path, **options}))


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (float("nan"), ""), (101.0, "101"), (101, "101"), (0.5, "0.5"), ("101.0", "101.0"), ("007", "007")],
)
def test_text_of_a_cell(value: object, text: str) -> None:
    assert as_text(value) == text


@pytest.mark.parametrize("value", [[], ["a"], {"a": 1}, {}, ("a",), np.zeros(3), {"a"}])
def test_lists_and_objects_have_no_text(value: object) -> None:
    with pytest.raises(BadRecordError, match="found, expected text or a number"):
        as_text(value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (json.loads('"a \\ud83d scan"'), "half of a character found (\\ud83d without its other half)"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), 'encoding = "cp1252"'),
        (b"caf\xe9", 'encoding = "cp1252"'),
    ],
)
def test_what_is_no_text_says_why(text: object, told: str) -> None:
    with pytest.raises(BadRecordError) as refused:
        as_text(text)
    assert refused.value.reason == Reason.NOT_UTF8
    assert told in refused.value.detail


@given(st.integers(0, 2**53 - 1))
def test_a_whole_number_has_one_name_in_every_type(number: int) -> None:
    spellings = [
        number,
        float(number),
        str(number),
        f"{number}.0",
        f" {number} ",
        Decimal(number),
        f"{number}".encode(),
    ]
    assert {as_name(value) for value in spellings} == {str(number)}


@pytest.mark.parametrize("name", ["007", "0", "1.10", "1.5", "p1.0", "00.0", "1e3", "-1"])
def test_other_names_stay_as_they_are(name: str) -> None:
    assert as_name(name) == name


def test_composed_and_decomposed_letters_are_one_name() -> None:
    assert as_name("Mu\u0308ller") == as_name("M\u00fcller\n") == "M\u00fcller"


def test_dates_and_truth_values_have_text() -> None:
    assert (as_text(date(2020, 1, 2)), as_text(True)) == ("2020-01-02", "True")


def test_include_accepts_whole_numbers_in_both_spellings() -> None:
    for accepted in ("1", "1.0"):
        assert matches({"split": 1.0}, {"split": [accepted]})
    assert matches({"split": 1}, {"split": ["1"]})
    assert not matches({"split": [["1"]]}, {"split": ["1", "['1']"]})


PATIENTS = (101, 102, 7)


def write_table(path: Path, patients: list[object]) -> None:
    rows = [{"image": f"{n}.png", "caption": f"text {n}", "patient": patient} for n, patient in enumerate(patients)]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


@pytest.mark.parametrize(
    ("name", "kind"), [("t.parquet", float), ("t.parquet", int), ("t.jsonl", float), ("t.jsonl", str), ("t.csv", float)]
)
def test_no_patient_is_in_two_groups_because_of_a_type(tmp_path: Path, name: str, kind: type) -> None:
    """Read by a source and by a card; the other table has whole numbers in CSV."""
    write_files(tmp_path, {f"{n}.png": png(n) for n in range(3)})
    write_table(tmp_path / "ints.csv", list(PATIENTS))
    write_table(tmp_path / name, [kind(patient) for patient in PATIENTS])
    groups, samples = [], []
    for path in (tmp_path / "ints.csv", tmp_path / name):
        found = records(reader(path, columns={"group": "patient"}).shards())
        groups.append([SourceRecord(record).text(settings_for(path)).columns["group"] for record in found])
        layout = {"reader": "table", "path": path, "columns": {"group": "patient"}, "hashed": {"test": 0.5}}
        card = {"id": "a", "modality": "ct", "tasks": ["retrieval"], "licence": "x", "layout": layout}
        samples.append([(sample.group, sample.split) for sample in read_samples(Card.model_validate(card))])
    assert groups[0] == groups[1] == ["101", "102", "7"]
    assert samples[0] == samples[1]


def test_zeros_in_front_tell_patients_apart(tmp_path: Path) -> None:
    write_files(tmp_path, {f"{n}.png": png(n) for n in range(2)})
    write_table(tmp_path / "t.csv", ["007", "7"])
    assert [record.group for record in records(reader(tmp_path / "t.csv", columns={"group": "patient"}).shards())] == [
        "007",
        "7",
    ]


def lines(folder: Path, *rows: Mapping[str, object]) -> Path:
    write_files(folder, {"0.png": png(0), "t.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()})
    return folder / "t.jsonl"


LISTED: dict[str, object] = {"image": "0.png", "caption": ["Frontal chest film", "No effusion is seen"], "id": "a"}


def test_a_list_of_captions_is_the_recipe_s_choice(tmp_path: Path) -> None:
    path = lines(tmp_path, LISTED)
    assert reasons(reader(path).shards()) == [("t.jsonl:0", "unreadable_row")]
    first = records(reader(path, captions="first").shards())
    assert [(record.id, record.caption) for record in first] == [("a", "Frontal chest film")]
    every = records(reader(path, captions="all").shards())
    assert [(record.id, record.caption, record.group) for record in every] == [
        ("a/0", "Frontal chest film", "a"),
        ("a/1", "No effusion is seen", "a"),
    ]


def test_the_same_on_a_card(tmp_path: Path) -> None:
    path = lines(tmp_path, LISTED)

    def captions(**keys: object) -> list[tuple[str, str | None, str]]:
        layout = {"reader": "table", "path": path, **keys}
        card = {"id": "c", "modality": "ct", "tasks": ["retrieval"], "licence": "x", "layout": layout}
        return [(one.id, one.caption, one.group) for one in read_samples(Card.model_validate(card))]

    with pytest.raises(DataError, match=r'row 1: the caption is a list of 2 texts.*captions = "first" or "all"'):
        captions()
    assert captions(captions="first") == [("a", "Frontal chest film", "")]
    assert captions(captions="all") == [("a/0", "Frontal chest film", "a"), ("a/1", "No effusion is seen", "a")]


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"caption": {"en": "film"}}, "the caption is an object with the keys 'en', expected text"),
        ({"caption": 7}, "the caption is a value of type int, expected text"),
        ({"caption": []}, "the row has no caption"),
        ({"caption": [None]}, "the row has no caption"),
        ({"image": ["0.png", "1.png"]}, r"the image is a list \(pixels, or several images\), expected bytes, a path"),
        ({"image": [[1, 2], [3, 4]]}, r"the image is a list \(pixels"),
        ({"modality": ["CT", "MR"]}, "modality: a list found, expected text or a number"),
        ({"licence": {"id": "CC0"}}, "licence: an object .*'id' found"),
        ({"group": [101]}, "group: a list found"),
        ({"id": {}}, "id: an empty object found"),
    ],
)
def test_a_container_is_no_text_in_any_field(tmp_path: Path, change: dict[str, object], detail: str) -> None:
    path = lines(tmp_path, {"image": "0.png", "caption": "film", **change})
    (rejected,) = everything(reader(path, captions="first").shards())
    assert isinstance(rejected, Rejected)
    assert rejected.reason == ("missing_field" if "no caption" in detail else "unreadable_row")
    assert re.search(detail, rejected.detail)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, {"0.png": png(0)})
    (tmp_path / "t.jsonl").write_text('{"image": "0.png", "caption": "one", "caption": "two"}\n')
    with pytest.raises(DataError, match="no line can be read; of the first: the key 'caption' stands twice"):
        reader(tmp_path / "t.jsonl").shards()
    with (tmp_path / "t.jsonl").open("a") as stream:
        stream.write('{"image": "0.png", "caption": "one"}\n')
    assert reasons(reader(tmp_path / "t.jsonl").shards()) == [("t.jsonl:0", "unreadable_row")]
    (tmp_path / "t.json").write_text('[{"image": "0.png", "caption": "one", "caption": "two"}]')
    with pytest.raises(DataError, match="the key 'caption' stands twice"):
        reader(tmp_path / "t.json").shards()
    table = pa.Table.from_arrays(
        [pa.array([png(0)]), pa.array(["a"]), pa.array(["b"])], ["image", "caption", "caption"]
    )
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DataError, match="columns need distinct names, found image, caption, caption"):
        reader(tmp_path / "t.parquet").shards()


def test_files_elsewhere_are_read_below_root(tmp_path: Path) -> None:
    write_files(tmp_path / "archive", {"a.png": png(1), "sub/b.png": png(2)})
    write_files(tmp_path, {"secret.png": png(3)})
    folder = tmp_path / "tables"
    names = [f"{tmp_path}/archive/a.png", "../archive/sub/b.png", "../secret.png"]
    path = lines(folder, *({"image": name, "caption": name} for name in names))
    assert reasons(reader(path).shards()) == [(f"t.jsonl:{n}", "outside_folder") for n in range(3)]
    refused = everything(reader(path).shards())
    assert all(isinstance(one, Rejected) and 'name a folder above them: root = "' in one.detail for one in refused)
    found = reader(path, root=tmp_path / "archive").shards()
    assert [record.image for record in records(found)] == [png(1), png(2)]
    assert reasons(found) == [("t.jsonl:2", "outside_folder")]


def test_a_card_has_root_too(tmp_path: Path) -> None:
    write_files(tmp_path / "archive", {"a.png": png(1)})
    path = lines(tmp_path / "tables", {"image": f"{tmp_path}/archive/a.png", "caption": "one"})
    layout = {"reader": "table", "path": path}
    card = {"id": "c", "modality": "ct", "tasks": ["retrieval"], "licence": "x"}
    with pytest.raises(DataError, match=r"row 1: .*leads outside .*; to read files from there.*root = "):
        read_samples(Card.model_validate(card | {"layout": layout}))
    (sample,) = read_samples(Card.model_validate(card | {"layout": layout | {"root": tmp_path / "archive"}}))
    assert sample.image.path == tmp_path / "archive" / "a.png"  # type: ignore[attr-defined]


def test_backslashes_part_folders(tmp_path: Path) -> None:
    write_files(tmp_path, {"sub/b.png": png(2)})
    assert [r.image for r in records(reader(lines(tmp_path, {"image": "sub\\b.png", "caption": "x"})).shards())] == [
        png(2)
    ]
