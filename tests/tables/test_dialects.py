"""Text tables as spreadsheets, R, Windows and old Macs write them: read as the csv module does, or refused."""

import csv
import io
from pathlib import Path

import pytest
from corpus_samples import png, reasons, records, write_files
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mmkd.cards.readers.tables import table_rows
from mmkd.curation.settings.sources import TableSource
from mmkd.curation.sources.tables import TableReader
from mmkd.errors import ConfigError, DataError
from mmkd.tables import text as text_tables
from mmkd.tables.dialect import Declared
from mmkd.tables.formats import dialect_of, format_of


def reader(path: Path, **options: object) -> TableReader:
    return TableReader(TableSource.model_validate({"kind": "table", "name": "t", "path": path, **options}))


def captions(path: Path, **options: object) -> list[str | bytes]:
    return [record.caption for record in records(reader(path, **options).shards())]


def table(folder: Path, content: str | bytes, name: str = "pairs.csv") -> Path:
    raw = content.encode() if isinstance(content, str) else content
    return write_files(folder, {**{f"{i}.png": png(i) for i in range(4)}, name: raw}) / name


def rows_of(path: Path, declared: Declared = Declared()) -> list[object]:  # noqa: B008
    found = format_of(path, dialect_of(path, declared))
    assert found is not None
    return [row for _, row in found.all_rows(path)]


def is_certain(path: Path) -> bool:
    try:
        return dialect_of(path, Declared()) is not None
    except DataError:
        return False


LITERAL = (
    'image\tcaption\n0.png\t"Comet tail sign, lung\n1.png\tCoronal MRI of the knee, bone bruise" seen\n'
    '2.png\t"quoted caption"\n3.png\ta 5" catheter\n'
)


@pytest.mark.parametrize("name", ["captions.tsv", "captions.txt"])
def test_tabs_without_quoting_are_read_literally(tmp_path: Path, name: str) -> None:
    path = table(tmp_path, LITERAL, name)
    expected = list(csv.DictReader(io.StringIO(LITERAL), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert captions(path) == [row["caption"] for row in expected]
    assert [dict(row) for _, row in table_rows(path)] == expected


def test_quotes_that_close_in_the_next_row_join_no_rows_of_a_table_with_tabs(tmp_path: Path) -> None:
    path = table(tmp_path, 'image\tcaption\n0.png\t"one\n1.png\ttwo"\n', "t.tsv")
    assert captions(path) == ['"one', 'two"']


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("name", ["t.tsv", "t.csv"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(st.text(st.sampled_from('ab "\t\n,;'), min_size=1).filter(str.strip), min_size=1, max_size=4))
def test_what_a_csv_writer_wrote_is_read_back_or_refused(
    tmp_path: Path, name: str, quoting: int, cells: list[str]
) -> None:
    """But for cells with a line break and as many tabs as a row has: their lines are taken for rows."""
    assume(not any("\t" in cell and "\n" in cell for cell in cells))
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t" if name.endswith("tsv") else ",", quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([["image", "caption"], *([f"{n}.png", cell] for n, cell in enumerate(cells))])
    path = tmp_path / name
    path.write_text(text.getvalue(), newline="")
    expected = [{"image": f"{n}.png", "caption": cell} for n, cell in enumerate(cells)]
    assert rows_of(path, Declared() if is_certain(path) else Declared(quoting="csv")) == expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(st.text(st.sampled_from('ab "'), min_size=1), min_size=1, max_size=5))
def test_tables_with_tabs_and_no_quoting_lose_no_row(tmp_path: Path, cells: list[str]) -> None:
    """The oracle: csv with QUOTE_NONE. Doubled marks inside marks, and marks around every cell, are left open."""
    assume(not any(len(cell) > 3 and cell[0] == cell[-1] == '"' and '""' in cell[1:-1] for cell in cells))
    path = tmp_path / "t.tsv"
    path.write_text("image\tcaption\n" + "".join(f"{n}\t{cell}\n" for n, cell in enumerate(cells)))
    rows = rows_of(path, Declared() if is_certain(path) else Declared(quoting="none"))
    assert rows == [{"image": f"{n}", "caption": cell} for n, cell in enumerate(cells)]


def test_quotes_that_can_be_meant_either_way_are_refused_until_the_recipe_says_it(tmp_path: Path) -> None:
    path = table(tmp_path, 'image\tcaption\n0.png\t"one"\n1.png\t"two"\n', "t.tsv")
    with pytest.raises(DataError, match=r'2 fields begin with a quotation mark.*set quoting = "none" .* or'):
        captions(path)
    assert captions(path, quoting="csv") == ["one", "two"]
    assert captions(path, quoting="none") == ['"one"', '"two"']


def test_a_quoted_header_says_that_the_table_is_quoted(tmp_path: Path) -> None:
    assert captions(table(tmp_path, '"image"\t"caption"\n"0.png"\t"one"\n', "t.tsv")) == ["one"]


def test_a_quotation_mark_too_many_costs_its_row_and_no_other(tmp_path: Path) -> None:
    path = table(tmp_path, 'image,caption\n0.png,"open\n1.png,two\n2.png,"a" b\n3.png,"last"\n')
    assert captions(path) == ["two", "last"]
    assert reasons(reader(path).shards()) == [("pairs.csv:0", "unreadable_row"), ("pairs.csv:2", "unreadable_row")]
    assert captions(path, quoting="none") == ['"open', "two", '"a" b', '"last"']


ROWS = [["image", "caption"], ["0.png", "Größe, 5 µm"], ["1.png", "zweite\nZeile"], ["2.png", "dritte"]]


def written(delimiter: str = ",", line_end: str = "\r\n") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=line_end).writerows(ROWS)
    return text.getvalue()


@pytest.mark.parametrize("rows", [1, 2, 1024])
@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("utf-8", {}),
        ("utf-8-sig", {}),
        ("utf-16", {}),
        ("utf-16-be", {"encoding": "utf-16-be"}),
        ("utf-16-le", {"encoding": "utf-16"}),
        ("cp1252", {"encoding": "cp1252"}),
        ("latin-1", {"encoding": "latin-1"}),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encodings_delimiters_and_line_ends(
    tmp_path: Path, encoding: str, declared: dict[str, str], delimiter: str, line_end: str, rows: int
) -> None:
    (tmp_path / "t.csv").write_bytes(written(delimiter, line_end).replace("\nZeile", " Zeile").encode(encoding))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_tables, "ROWS_PER_SHARD", rows)
        found = reader(tmp_path / "t.csv", **declared).shards()
    assert len(found) == {1: 3, 2: 2, 1024: 1}[rows]
    values = [row for shard in found for _, row in shard.rows()]  # type: ignore[attr-defined]
    assert values == [{"image": name, "caption": text.replace("\n", " ")} for name, text in ROWS[1:]]


def test_utf_16_with_the_mark_of_big_endian(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xfe\xff" + "image,caption\n0.png,Ċ and Ā\n".encode("utf-16-be"))
    assert rows_of(path) == [{"image": "0.png", "caption": "Ċ and Ā"}]  # U+010A holds the byte of a line end


def test_json_lines_as_powershell_writes_them(tmp_path: Path) -> None:
    text = '{"image": "0.png", "caption": "µ"}\r\n\r\n{"image": "1.png", "caption": "two"}\r\n'
    assert captions(table(tmp_path, text.encode("utf-16"), "t.jsonl")) == ["µ", "two"]
    listed = '[{"image": "0.png", "caption": "µ"}]'
    assert captions(table(tmp_path, listed.encode("utf-16"), "t.json")) == ["µ"]


def test_the_line_by_which_excel_tells_itself_the_delimiter(tmp_path: Path) -> None:
    assert captions(table(tmp_path, "sep=;\r\nimage;caption\r\n0.png;a, b\r\n")) == ["a, b"]
    assert captions(table(tmp_path, "sep=,\nimage,caption\n0.png,one\n", "t.txt")) == ["one"]


def test_blanks_around_the_names_of_columns_are_no_part_of_them(tmp_path: Path) -> None:
    assert captions(table(tmp_path, "image , caption\n0.png,one\n")) == ["one"]


def test_a_delimiter_that_is_given_is_taken(tmp_path: Path) -> None:
    path = table(tmp_path, "image:caption,x\n0.png:one, two\n")
    with pytest.raises(ConfigError, match=r"read as utf-8 with the delimiter ',' and CSV quoting; say .*delimiter = "):
        captions(path)
    assert captions(path, delimiter=":", columns={"caption": "caption,x"}) == ["one, two"]


def test_another_encoding_is_named_as_the_cure(tmp_path: Path) -> None:
    path = table(tmp_path, "image,légende\n0.png,µ\n".encode("cp1252"))
    with pytest.raises(DataError, match=r'the header has bytes that are not utf-8; .*encoding = "cp1252"'):
        captions(path)
    assert captions(path, encoding="cp1252", columns={"caption": "légende"}) == ["µ"]
    with pytest.raises(DataError, match=r'set encoding = "utf-16"'):
        captions(table(tmp_path, "image,caption\n".encode("utf-16-le")))
    with pytest.raises(DataError, match=r"begins with the mark of utf-8, but encoding = 'cp1252'"):
        captions(table(tmp_path, "\ufeffimage,caption\n"), encoding="cp1252")
    with pytest.raises(DataError, match="convert it to UTF-8"):
        captions(table(tmp_path, "image,caption\n".encode("utf-32")))


@pytest.mark.parametrize(
    "option",
    [{"encoding": "cp1253x"}, {"encoding": "cp037"}, {"encoding": "rot13"}, {"delimiter": ",,"}, {"delimiter": '"'}],
)
def test_a_dialect_that_cannot_be_is_refused(tmp_path: Path, option: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=rf"{next(iter(option))} .* (is not|cannot)"):
        reader(tmp_path / "t.csv", **option)


def test_parquet_has_no_dialect(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.json has no delimiter, quoting or encoding"):
        captions(table(tmp_path, "[]", "t.json"), encoding="cp1252")
