"""Conditions select what SQLite selects, in a folder and in Qdrant; what is none is refused with the columns."""

import sqlite3

import pytest
from archive_world import FACTS, MODALITIES, rows
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmkd.archive.archive import Archive
from mmkd.archive.rows import FILTERED
from mmkd.archive.where import parse_where, sql
from mmkd.errors import ConfigError

COUNT = 40
TEXT_VALUES = ["p1", "s3", "id00007", "100% of Nodule 2", *MODALITIES]
TEXTS = ["modality", "patient", "series", "id", "caption"]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


values = st.sampled_from(TEXT_VALUES).map(quoted)
numbers = st.integers(-1, 4).map(str)
everywhere = st.one_of(
    st.builds("{} {} {}".format, st.sampled_from(TEXTS), st.sampled_from(["=", "!=", "<>"]), values),
    st.builds("slice {} {}".format, st.sampled_from(["=", "!=", "<>", "<", "<=", ">", ">="]), numbers),
    st.builds("{} {} ({}, {})".format, st.sampled_from(TEXTS), st.sampled_from(["IN", "not in"]), values, values),
    st.builds("slice {} ({}, {})".format, st.sampled_from(["IN", "NOT IN"]), numbers, numbers),
    st.sampled_from(["slice IS NULL", "slice is not null", "patient IS NULL", "modality IS NOT NULL"]),
)
only_in_folders = st.one_of(
    st.builds("{} {} {}".format, st.sampled_from(TEXTS), st.sampled_from(["<", "<=", ">", ">="]), values),
    st.builds(
        "{} {} {}".format,
        st.sampled_from(TEXTS),
        st.sampled_from(["LIKE", "NOT LIKE"]),
        st.sampled_from(["'%effusion%'", "'100\\% of%'", "'%nodule_3'", "'p_'", "'%'", "''", "'100% of Nodule _'"]),
    ),
)


def conditions(leaves: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds("NOT ({})".format, inner),
            st.builds("({}) and {}".format, inner, inner),
            st.builds("{} OR ({})".format, inner, inner),
        ),
        max_leaves=6,
    )


@pytest.fixture(scope="module")
def oracle() -> sqlite3.Connection:
    base = sqlite3.connect(":memory:", check_same_thread=False)
    base.execute(f"CREATE TABLE rows ({', '.join(FILTERED)})")
    base.execute("PRAGMA case_sensitive_like = ON")
    table = rows(COUNT).to_pylist()
    values = [[row.get(name, "") for name in FILTERED] for row in table]
    base.executemany(f"INSERT INTO rows VALUES ({', '.join('?' * len(FILTERED))})", values)
    return base


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    archive = Archive.create(tmp_path_factory.mktemp("where") / "archive", FACTS)
    archive.add(rows(COUNT))
    return archive


@pytest.fixture(scope="module")
def qdrant(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    archive = Archive.create("rows", FACTS, str(tmp_path_factory.mktemp("qdrant")))
    archive.add(rows(COUNT))
    return archive


def selected(oracle: sqlite3.Connection, text: str) -> list[str]:
    return sorted(name for (name,) in oracle.execute(f"SELECT id FROM rows WHERE {text}"))


@settings(max_examples=80, deadline=None)
@example(text="slice NOT IN (0, 0) OR slice NOT IN (1, 1)")  # simplified to TRUE by DataFusion
@example(text="slice != 0 OR NOT (slice = 1)")
@given(text=conditions(st.one_of(everywhere, only_in_folders)))
def test_lance_selects_what_sqlite_does(oracle: sqlite3.Connection, folder: Archive, text: str) -> None:
    if "\\" in text:  # SQLite knows no escape unless it is told of one
        return
    assert sorted(folder.states(parse_where(text))) == selected(oracle, text)


@settings(max_examples=60, deadline=None)
@given(text=conditions(everywhere))
def test_qdrant_selects_what_sqlite_does(oracle: sqlite3.Connection, qdrant: Archive, text: str) -> None:
    assert sorted(qdrant.states(parse_where(text))) == selected(oracle, text)


@pytest.mark.parametrize("text", ["caption LIKE '%effusion%'", "NOT (id < 'x')", "slice = 1 OR patient >= 'p2'"])
def test_what_qdrant_cannot_compare_is_refused(qdrant: Archive, text: str) -> None:
    with pytest.raises(ConfigError, match="compares text by =, !=, IN and NOT IN only"):
        qdrant.states(parse_where(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modalty = 'ct'", "found 'modalty'; did you mean 'modality'"),
        ("vector = 'ct'", r"expected a column \(id, source"),
        ("modality = ct", "expected 'text' in single quotes for modality, found ct"),
        ('modality = "ct"', "found '\"ct\"'"),
        ("modality = 'ct", 'found "\'ct"'),
        ("slice = '1'", "a whole number for slice"),
        ("slice = 1.5", "found '1.5'"),
        ("slice = 99999999999", "a number of 32 bits"),
        ("slice LIKE '1'", "LIKE with a column of text"),
        ("modality", "found the end"),
        ("modality = 'ct' modality = 'mri'", "expected AND, OR or the end, found 'modality'"),
        ("modality NOT = 'ct'", "expected IN or LIKE behind NOT"),
        ("modality IN ()", "expected 'text'"),
        ("1 = 1", "expected a column"),
        ("modality = 'ct'; DROP TABLE rows", "found '; DROP TABLE rows'"),
        ("(" * 60 + "slice = 1" + ")" * 60, "at most 50 conditions in one another"),
        ("NOT " * 60 + "slice = 1", "at most 50 conditions"),
        ("slice = 1 OR " * 2000, "at most 10,000 characters"),
        ("", "found the end"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_where(text)


@given(text=st.text(alphabet="modality slice='\"<>!()%,0123456789ANDORNTIKE\\\n;", max_size=60))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        condition = parse_where(text)
    except ConfigError:
        return
    parse_where(sql(condition).replace("`", ""))  # what is written for a backend is of the same language
