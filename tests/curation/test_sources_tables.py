import csv
import json
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_samples import everything, png, reasons, records, write_files

from mmkd.curation.records.record import Rejected
from mmkd.curation.settings.sources import TableSource
from mmkd.curation.sources.tables import TableReader
from mmkd.errors import ConfigError, DataError
from mmkd.tables.formats import SUFFIXES


def reader(path: Path, **options: object) -> TableReader:
    return TableReader(TableSource.model_validate({"kind": "table", "name": "t", "path": path, **options}))


def table(folder: Path, text: str | bytes, name: str = "pairs.csv") -> Path:
    write_files(folder, {f"{i}.png": png(i) for i in range(4)})
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / name


def test_defaults_fill_what_the_table_does_not_say(tmp_path: Path) -> None:
    path = table(tmp_path, "image,caption\n0.png,first\n1.png,second\n")
    first, second = records(reader(path, modality="CT", licence="CC0").shards())
    assert (first.id, second.id) == ("t_00000000", "t_00000001")
    assert (second.group, second.modality, second.licence, second.source) == ("t_00000001", "CT", "CC0", "t")
    assert (second.image, second.caption, second.where) == (png(1), "second", "pairs.csv:1")


ROWS = [
    {"name": "a", "file": "0.png", "text": 'says "no",\nthen more', "patient": "p", "mod": "CT", "rights": "CC BY"},
    {"name": "", "file": "1.png", "text": "µ < 3", "patient": "", "mod": "MRI", "rights": ""},
]
COLUMNS = {
    "id": "name",
    "image": "file",
    "caption": "text",
    "group": "patient",
    "modality": "mod",
    "licence": "rights",
}


def written(path: Path) -> Path:
    """ROWS in the format of the path's suffix."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif path.suffix == ".arrow":
        found = pa.Table.from_pylist(ROWS)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, found.schema) as writer:
            writer.write_table(found)
    elif path.suffix == ".json":
        path.write_text(json.dumps(ROWS))
    elif path.suffix in (".jsonl", ".ndjson"):
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(ROWS[0]), delimiter="," if path.suffix == ".csv" else "\t")
            writer.writeheader()
            writer.writerows(ROWS)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_reads_the_same(tmp_path: Path, suffix: str) -> None:
    write_files(tmp_path, {"0.png": png(0), "1.png": png(1)})
    shards = reader(written(tmp_path / f"pairs{suffix}"), columns=COLUMNS).shards()
    first, second = records(pickle.loads(pickle.dumps(shards)))
    assert (first.id, first.caption, first.group, first.modality) == ("a", 'says "no",\nthen more', "p", "CT")
    assert (second.id, second.group, second.licence) == ("t_00000001", "t_00000001", "unknown")
    assert second.caption == "µ < 3"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_include_selects_rows_but_does_not_renumber_them(tmp_path: Path, suffix: str) -> None:
    write_files(tmp_path, {"0.png": png(0), "1.png": png(1)})
    path = written(tmp_path / f"pairs{suffix}")
    (found,) = everything(reader(path, columns=COLUMNS, include={"mod": ["MRI", "PET"]}).shards())
    assert found.id == "t_00000001"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_column_is_named_with_those_found(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"pairs{suffix}")
    with pytest.raises(ConfigError, match="no column 'caption', 'image' among name, file, text, patient, mod, rights"):
        reader(path).shards()
    with pytest.raises(ConfigError, match="no column 'pateint'"):
        reader(path, columns=COLUMNS | {"group": "pateint"}).shards()
    with pytest.raises(ConfigError, match="no column 'dose'"):
        reader(path, columns=COLUMNS, include={"dose": ["1"]}).shards()


def test_rows_of_jsonl_may_lack_keys_that_others_have(tmp_path: Path) -> None:
    lines = [{"image": "0.png", "caption": "x"}, {"image": "1.png", "caption": "y", "case": "c7"}, {"image": "2.png"}]
    path = table(tmp_path, "\n".join(json.dumps(line) for line in lines), "pairs.jsonl")
    found = reader(path, columns={"group": "case"}).shards()
    assert [record.group for record in records(found)] == ["t_00000000", "c7"]
    assert reasons(found) == [("pairs.jsonl:2", "missing_field")]


def test_parquet_is_cut_by_row_groups(tmp_path: Path) -> None:
    rows = pa.table({"image": [png(0)] * 5, "caption": [f"c{i}" for i in range(5)]})
    pq.write_table(rows, tmp_path / "pairs.parquet", row_group_size=2)
    shards = reader(tmp_path / "pairs.parquet").shards()
    assert len(shards) == 3
    assert [(r.id, r.caption) for r in records(shards)] == [(f"t_{i:08d}", f"c{i}") for i in range(5)]


def test_parquet_images_may_be_structs_of_bytes_or_path(tmp_path: Path) -> None:
    write_files(tmp_path, {"0.png": png(0)})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": png(1), "path": "gone.png"}, {"bytes": None, "path": "0.png"}, None], kind)
    captions = pa.array(["a", "b", "b"]).dictionary_encode()
    pq.write_table(pa.table({"image": images, "caption": captions}), tmp_path / "pairs.parquet")
    shards = reader(tmp_path / "pairs.parquet").shards()
    assert [(r.image, r.caption) for r in records(shards)] == [(png(1), "a"), (png(0), "b")]
    assert reasons(shards) == [("pairs.parquet:2", "missing_field")]


def test_bytes_that_are_not_utf8_reject_their_row_only(tmp_path: Path) -> None:
    path = table(tmp_path, b"id,image,caption\na,0.png,ok\n\xff,1.png,bad id\nc,\xe9.png,bad path\nd,2.png,ok\n")
    assert reasons(reader(path).shards()) == [("pairs.csv:1", "not_utf8"), ("pairs.csv:2", "not_utf8")]
    assert [record.id for record in records(reader(path).shards())] == ["a", "d"]
    lines = b'{"image": "0.png", "caption": "ok", "id": "\xff"}\n{"image": "1.png", "caption": "ok"}\n'
    assert len(records(reader(table(tmp_path, lines, "pairs.jsonl")).shards())) == 1
    raw = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.array([0, 1, 2], pa.int32()).buffers()[1], pa.py_buffer(b"\xffb")]
    )
    pq.write_table(pa.table({"id": raw, "image": [png(), png()], "caption": ["x", "y"]}), tmp_path / "p.parquet")
    assert [record.id for record in records(reader(tmp_path / "p.parquet").shards())] == ["b"]


def test_broken_rows_are_rejected_and_the_others_read(tmp_path: Path) -> None:
    long = "x" * (csv.field_size_limit() + 1)
    path = table(tmp_path, f"image,caption\n0.png\n1.png,a,b\n2.png,{long}\n3.png,ok\n,nothing\n")
    assert [reason for _, reason in reasons(reader(path).shards())] == ["unreadable_row"] * 3 + ["missing_field"]
    assert [record.caption for record in records(reader(path).shards())] == ["ok"]
    text = '{"image": "0.png", "caption": "ok"}\n{"image": \n[1]\n' + "[" * 100_000 + "\n"
    assert [r for _, r in reasons(reader(table(tmp_path, text, "p.jsonl")).shards())] == ["unreadable_row"] * 3


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/hostname", "outside_folder"),
        ("../secret.png", "outside_folder"),
        ("sub/../../secret.png", "outside_folder"),
        ("link.png", "outside_folder"),
        ("https://example.org/a.png", "outside_folder"),
        ("file:///etc/hostname", "outside_folder"),
        ("gone.png", "missing_file"),
        ("sub", "missing_file"),
        ("nul\\u0000.png", "missing_file"),
        ("x" * 5000, "missing_file"),
    ],
)
def test_images_never_come_from_elsewhere(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "secret.png").write_bytes(png())
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    path = table(folder, f'{{"image": "{name}", "caption": "x"}}\n', "pairs.jsonl")
    assert reasons(reader(path).shards()) == [("pairs.jsonl:0", reason)]


def test_paths_that_stay_inside_are_followed(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = table(tmp_path, f"image,caption\nsub/../0.png,a\n{tmp_path}/1.png,b\n")
    assert [record.image for record in records(reader(path).shards())] == [png(0), png(1)]


def test_an_oversized_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmkd.folders.paths.MAX_FILE_BYTES", 10)
    assert reasons(reader(table(tmp_path, "image,caption\n0.png,a\n")).shards()) == [("pairs.csv:0", "oversized_file")]


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    path = table(tmp_path, "image,caption\n0.png,a\n")
    before = reader(path).fingerprint()
    assert before == reader(path, modality="CT").fingerprint()
    path.write_text("image,caption\n0.png,b\n")
    assert reader(path).fingerprint() != before


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such table"):
        reader(tmp_path / "gone.csv").shards()
    with pytest.raises(ConfigError, match=r"ends in one of \.csv"):
        reader(table(tmp_path, "", "pairs.xlsx")).shards()
    with pytest.raises(DataError, match="no header row"):
        reader(table(tmp_path, "")).shards()
    for text, name in (("PAR1", "pairs.parquet"), ("ARROW1", "pairs.arrow"), ("[1,", "pairs.json")):
        with pytest.raises(DataError, match=rf"{name}: not readable as "):
            reader(table(tmp_path, text, name)).shards()
    with pytest.raises(DataError, match="expected a list of objects, found an empty object"):
        reader(table(tmp_path, "{}", "pairs.json")).shards()


def test_columns_with_one_name_are_refused_but_those_without_may_be_several(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="columns need distinct names, found image, caption, caption"):
        reader(table(tmp_path, "image,caption,caption\n0.png,a,b\n")).shards()
    (record,) = records(reader(table(tmp_path, "image,caption,,\n0.png,a,,\n")).shards())
    assert record.caption == "a"


def test_a_row_of_a_list_that_is_no_object_costs_its_row_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmkd.tables.spans.ROWS_PER_SHARD", 2)
    rows = [{"image": "0.png", "caption": "a"}, 7, {"image": "1.png", "caption": "b"}]
    shards = reader(table(tmp_path, "\ufeff" + json.dumps(rows), "pairs.json")).shards()
    assert len(shards) == 2
    assert [record.caption for record in records(shards)] == ["a", "b"]
    assert reasons(shards) == [("pairs.json:1", "unreadable_row")]


def test_damage_inside_a_parquet_file_costs_its_row_group_only(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    captions = [" ".join(f"{i * j}" for j in range(500)) for i in range(4)]
    table_ = pa.table({"caption": captions, "image": [png(0)] * 4})
    pq.write_table(table_, path, row_group_size=2, compression="zstd", write_statistics=False)
    raw = bytearray(path.read_bytes())
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(0)
    raw[chunk.data_page_offset : chunk.data_page_offset + 500] = bytes(500)
    path.write_bytes(raw)
    found = everything(reader(path).shards())
    assert [type(item) is Rejected for item in found] == [True, False, False]
    assert found[0].where == "pairs.parquet:0"


def test_of_several_columns_the_first_that_a_row_fills_counts(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "t.csv").write_text("image,caption,case,patient\na.png,one,c1,p1\na.png,two,,p2\na.png,three,,\n")
    found = records(reader(tmp_path / "t.csv", columns={"group": ["case", "patient"]}).shards())
    assert [record.group for record in found] == ["c1", "p2", found[2].id]


def test_names_in_parquet_that_are_no_text_are_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"image": [png(0)], "caption": ["x"]}), tmp_path / "t.parquet")
    shards = reader(tmp_path / "t.parquet").shards()

    def fail(*_: object, **__: object) -> None:
        b"\xff".decode()

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", fail)
    assert reasons(shards) == [("t.parquet:0", "damaged_file")]
    monkeypatch.setattr(pq, "ParquetFile", fail)
    with pytest.raises(DataError, match=r"not readable as \.parquet"):
        reader(tmp_path / "t.parquet").shards()


@pytest.mark.parametrize("word", ["nan", " N/A ", "None", "<NA>"])
def test_words_for_a_missing_value_fill_no_group_no_modality_and_no_licence(tmp_path: Path, word: str) -> None:
    rows = [f"id{i},{i}.png,shows {i},{word},{word},{word},p{i}" for i in range(2)]
    rows.append(f"{word.strip()},2.png,shows 2,mine,NM,CC0,p2")
    path = table(tmp_path, "\n".join(["id,image,caption,group,modality,licence,patient", *rows, ""]))
    first, second, third = records(reader(path, modality="CT", licence="CC BY").shards())
    assert [(one.group, one.grouped) for one in (first, second, third)] == [
        ("id0", False),
        ("id1", False),
        ("mine", True),
    ]
    assert {(one.modality, one.licence) for one in (first, second)} == {("CT", "CC BY")}
    assert (third.id, third.modality, third.licence) == (word.strip(), "NM", "CC0")
    several = records(reader(path, columns={"group": ["group", "patient"]}).shards())
    assert [one.group for one in several] == ["p0", "p1", "mine"]
    assert several[0].modality == ""
