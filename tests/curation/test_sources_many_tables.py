"""Tables as they are published: images named by id, without a header, in many files."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_samples import png, reasons, records, write_files
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import TableSource
from mmkd.curation.shard_cache import cache_names
from mmkd.curation.sources.tables import TableReader
from mmkd.errors import ConfigError, DataError
from mmkd.folders.paths import natural_key


def reader(path: Path, **options: object) -> TableReader:
    return TableReader(TableSource.model_validate({"kind": "table", "name": "t", "path": path, **options}))


def write_texts(folder: Path, texts: dict[str, str]) -> None:
    write_files(folder, {name: text.encode() for name, text in texts.items()})


def json_lines(*rows: dict[str, str]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_captions_keyed_by_an_id_without_suffix(tmp_path: Path) -> None:
    """ROCOv2's layout."""
    write_files(tmp_path, {f"train/R_{i}.png": png(i) for i in (1, 2)})
    write_texts(tmp_path, {"train_captions.csv": "ID,Caption\nR_1,one\nR_2,two\nR_3,three\n"})
    columns = {"id": "ID", "image": "ID", "caption": "Caption"}
    shards = reader(tmp_path / "train_captions.csv", columns=columns, images="train/{}.png").shards()
    assert [(one.id, one.image, one.caption) for one in records(shards)] == [
        ("R_1", png(1), "one"),
        ("R_2", png(2), "two"),
    ]
    assert reasons(shards) == [("train_captions.csv:2", "missing_file")]


@pytest.mark.parametrize(("suffix", "by"), [(".txt", "\t"), (".tsv", "\t"), (".csv", ",")])
def test_a_table_without_a_header_begins_with_a_row(tmp_path: Path, suffix: str, by: str) -> None:
    """ROCO's layout, joined with the names of its images."""
    write_files(tmp_path, {"images/PMC1_a.png": png(1), "images/PMC2_b.png": png(2)})
    path = tmp_path / f"captions{suffix}"
    path.write_text(f"R_1{by} one{by}PMC1_a.png\nR_2{by} two{by}PMC2_b.png\n")
    found = records(reader(path, header=["id", "caption", "image"], images="images/{}").shards())
    assert [(one.id, one.image, one.where) for one in found] == [
        ("R_1", png(1), f"captions{suffix}:0"),
        ("R_2", png(2), f"captions{suffix}:1"),
    ]


def test_the_table_may_lie_beside_the_folder_of_its_images(tmp_path: Path) -> None:
    """PMC-OA's layout."""
    write_files(tmp_path, {"figures/PMC9_Fig3_4.png": png(1)})
    write_texts(tmp_path, {"meta/pmc_oa.jsonl": json_lines({"image": "PMC9_Fig3_4.png", "caption": "one"})})
    (found,) = records(reader(tmp_path / "meta/pmc_oa.jsonl", images="../figures/{}").shards())
    assert (found.image, found.caption) == (png(1), "one")


@pytest.mark.parametrize("name", ["../secret", "../images/../secret", "/secret", "https://example.org/secret"])
def test_no_value_leads_out_of_the_folder_in_the_template(tmp_path: Path, name: str) -> None:
    write_files(tmp_path, {"secret.png": png(), "images/0.png": png()})
    write_texts(tmp_path, {"t.jsonl": json_lines({"image": name, "caption": "x"})})
    assert reasons(reader(tmp_path / "t.jsonl", images="images/{}.png").shards()) == [("t.jsonl:0", "outside_folder")]


def test_a_template_may_begin_the_name_and_leave_stored_bytes_alone(tmp_path: Path) -> None:
    write_files(tmp_path, {"a/img_7.png": png(1)})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": png(2), "path": "gone"}, {"bytes": None, "path": "7"}], kind)
    pq.write_table(pa.table({"image": images, "caption": ["x", "y"]}), tmp_path / "t.parquet")
    shards = reader(tmp_path / "t.parquet", images="a/img_{}.png").shards()
    assert [one.image for one in records(shards)] == [png(2), png(1)]


def many(folder: Path, *numbers: int) -> None:
    """A JSONL of two rows for each number; the captions say where they stand."""
    for number in numbers:
        rows = [{"image": f"{number}.png", "caption": f"{number} {row}"} for row in "ab"]
        write_texts(folder, {f"parts/p{number}.jsonl": json_lines(*rows)})
        write_files(folder, {f"images/{number}.png": png(number)})


@pytest.mark.parametrize("path", ["parts", "parts/*.jsonl", "*/p[0-9]*.jsonl"])
def test_many_tables_are_read_in_natural_order(tmp_path: Path, path: str) -> None:
    many(tmp_path, 10, 9, 1)
    write_texts(tmp_path, {"parts/README.txt": "not a table", "parts/p3.jsonl.old": "{"})
    opened = reader(tmp_path / path, images="../images/{}")
    assert [one.caption for one in records(opened.shards())] == ["1 a", "1 b", "9 a", "9 b", "10 a", "10 b"]
    before, known = opened.fingerprint(), {one.caption: one.id for one in records(opened.shards())}
    many(tmp_path, 2)
    assert opened.fingerprint() != before
    after = {one.caption: one.id for one in records(opened.shards())}
    assert {caption: after[caption] for caption in known} == known
    assert len(set(after.values())) == 8


def test_a_place_in_one_of_many_tables_is_named_by_its_file(tmp_path: Path) -> None:
    many(tmp_path, 1)
    found = records(reader(tmp_path / "parts", images="../images/{}").shards())
    assert [(one.id, one.where) for one in found] == [
        ("t/p1.jsonl_00000000", "p1.jsonl:0"),
        ("t/p1.jsonl_00000001", "p1.jsonl:1"),
    ]


def test_cached_shards_of_a_table_are_those_of_its_own_content(tmp_path: Path) -> None:
    many(tmp_path, 1, 2)
    source = {"kind": "table", "name": "t", "path": tmp_path / "parts", "images": "../images/{}"}
    settings = CurateSettings.model_validate({"sources": [source]})

    def names() -> list[str]:
        opened = reader(tmp_path / "parts", images="../images/{}")
        return cache_names([(opened, shard) for shard in opened.shards()], settings)

    one, two = names()
    many(tmp_path, 3)
    assert names()[:2] == [one, two]
    assert len(set(names())) == 3
    write_texts(tmp_path, {"parts/p2.jsonl": json_lines({"image": "1.png", "caption": "changed"})})
    assert names()[0] == one
    assert two not in names()


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    write_texts(tmp_path, {"a/t.jsonl": json_lines({"image": "0.png", "caption": "x"}), "b/t.csv": "image,caption\n"})
    with pytest.raises(ConfigError, match=r"\.jsonl names its columns itself"):
        reader(tmp_path / "a/t.jsonl", header=["image", "caption"]).shards()
    with pytest.raises(ConfigError, match=r"t\.jsonl: no column 'text'"):
        reader(tmp_path / "a", columns={"caption": "text"}).shards()
    (tmp_path / "rows.txt").write_text("R_1\t one\n")
    with pytest.raises(ConfigError, match=r"among R_1, one; .* if the table begins with a row, name its columns in"):
        reader(tmp_path / "rows.txt").shards()
    with pytest.raises(DataError, match=r"no file ending in \.jsonl"):
        reader(tmp_path / "b").shards()
    with pytest.raises(DataError, match="no such table"):
        reader(tmp_path / "b/*.parquet").fingerprint()
    for images in ("train/", "{}/{}.png"):
        with pytest.raises(ValidationError, match="must have one"):
            reader(tmp_path / "a/t.jsonl", images=images)
    with pytest.raises(ValidationError, match="'id' more than once"):
        reader(tmp_path / "b/t.csv", header=["id", "caption", "id"])


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_natural_order_is_that_of_the_numbers(numbers: list[int]) -> None:
    names = sorted((f"part-{number}.jsonl" for number in numbers), key=natural_key)
    assert names == [f"part-{number}.jsonl" for number in sorted(numbers)]


@given(st.lists(st.text("ab012.²", max_size=6)))
def test_any_names_have_one_natural_order(names: list[str]) -> None:
    ordered = sorted(names, key=natural_key)
    assert ordered == sorted(reversed(names), key=natural_key)
