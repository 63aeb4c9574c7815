"""Tables in another encoding, of other kinds, and JSON that is no list: told with the cure."""

import json
from pathlib import Path

import pytest
from corpus_samples import png, run, settings_for, write_files

from mmkd.curation.settings.sources import TableSource
from mmkd.curation.sources.kinds import open_source, warnings_of
from mmkd.errors import ConfigError, DataError
from mmkd.tables.dialect import Declared, Dialect
from mmkd.tables.formats import dialect_of, not_decodable
from mmkd.tables.text import MAX_LINE_BYTES, undecodable_lines


def latin(folder: Path, plain: int = 2000, umlauts: int = 3) -> Path:
    """A table in Latin-1 whose first letters with accents stand at its end."""
    lines = [f"{i}.png,case {i}" for i in range(plain)] + [f"{i}.png,Erguß {i}" for i in range(umlauts)]
    (folder / "pairs.csv").write_bytes("\n".join(["image,caption", *lines, ""]).encode("latin-1"))
    return folder / "pairs.csv"


def test_lines_in_another_encoding_are_counted_to_the_end_of_the_file(tmp_path: Path) -> None:
    path = latin(tmp_path)
    dialect = dialect_of(path, Declared())
    assert dialect is not None
    assert undecodable_lines(path, dialect) == (3, 2004)
    assert "3 of 2,004 lines are not utf-8" in not_decodable(path, Declared())
    assert not_decodable(path, Declared(encoding="latin-1")) == ""
    source = TableSource.model_validate({"kind": "table", "name": "t", "path": path})
    (told,) = warnings_of(source, thorough=True)
    assert told.startswith("WARNING: source t: ")
    assert 'encoding = "cp1252"' in told
    assert warnings_of(source) == []


def test_lines_that_are_cut_in_a_letter_are_no_fault_and_the_declared_encoding_is_no_cure(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(b"image,caption\n1.png," + ("é" * MAX_LINE_BYTES).encode() + b"\n2.png,\xff\n")
    dialect = dialect_of(path, Declared())
    assert dialect is not None
    assert undecodable_lines(path, dialect) == (1, 3)
    path.write_bytes(b"image,caption\n1.png,a\x81b\n")
    told = not_decodable(path, Declared(encoding="cp1252"))
    assert "1 of 2 lines are not cp1252" in told
    assert 'encoding = "latin-1"' in told


def test_a_table_is_read_to_its_end_once_while_it_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = latin(tmp_path), list[str]()

    def counted(table: Path, dialect: Dialect) -> tuple[int, int]:
        read.append(dialect.encoding)
        return undecodable_lines(table, dialect)

    monkeypatch.setattr("mmkd.tables.text.undecodable_lines", counted)
    for _ in range(3):
        assert "3 of 2,004 lines" in not_decodable(path, Declared())
    assert not_decodable(path, Declared(encoding="latin-1")) == ""
    assert read == ["utf-8", "latin-1"]
    latin(tmp_path, umlauts=4)
    assert "4 of 2,005 lines" in not_decodable(path, Declared())
    assert len(read) == 3


def test_curation_tells_when_the_rows_of_an_encoding_are_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path, {f"{i}.png": png(i) for i in range(10)})
    run(settings_for(latin(tmp_path, 10, 2)), tmp_path / "out")
    assert "WARNING: t: 2 of 12 records are left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"images": [], "annotations": []}, "as COCO has them; join images and annotations by image_id"),
        ({"data": []}, "an object with the keys 'data'; write the list of rows alone"),
        (3, "found int"),
    ],
)
def test_json_that_is_no_list_is_told_with_the_cure(tmp_path: Path, content: object, told: str) -> None:
    (tmp_path / "pairs.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=told):
        open_source(
            TableSource.model_validate({"kind": "table", "name": "t", "path": tmp_path / "pairs.json"})
        ).shards()


def test_a_spreadsheet_is_to_be_saved_as_csv(tmp_path: Path) -> None:
    (tmp_path / "pairs.xlsx").write_bytes(b"PK")
    with pytest.raises(ConfigError, match=r"not in '\.xlsx'; save the \.xlsx as CSV"):
        open_source(
            TableSource.model_validate({"kind": "table", "name": "t", "path": tmp_path / "pairs.xlsx"})
        ).shards()
