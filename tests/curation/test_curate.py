import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_samples import (
    REALDATA,
    encoded,
    many,
    needs_realdata,
    noise,
    png,
    run,
    settings_for,
    table,
    write_files,
    write_tar,
)

from mmkd.corpus.schema import COLUMNS, NEUTRAL, caption_group, split_of
from mmkd.curation.curate import fingerprints
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.shards import _resized
from mmkd.errors import ConfigError, DataError


def rejected(folder: Path) -> list[tuple[str, str]]:
    return [(row["where"], row["reason"]) for row in pq.read_table(folder / "rejected.parquet").to_pylist()]


def test_a_pair_arrives_with_all_its_columns(tmp_path: Path) -> None:
    row = {
        "image": "a.jpg",
        "caption": "A <i>cyst</i>\u00a0&lt; 3 cm",
        "modality": "Computed Tomography",
        "group": "p1",
    }
    image = encoded(noise(1, 40, 60), "JPEG")
    corpus = run(settings_for(table(tmp_path, [row | {"licence": "CC0"}], {"a.jpg": image})), tmp_path / "out")
    (found,) = corpus.take([0]).to_pylist()
    assert tuple(found) == COLUMNS
    phash = found.pop("phash")
    assert 0 < phash < 2**64
    assert found == {
        "id": "t_00000000",
        "image": {"bytes": image, "path": None},
        "caption": "A cyst < 3 cm",
        "caption_original": "A <i>cyst</i>\u00a0&lt; 3 cm",
        "modality": "ct",
        "source": "t",
        "licence": "CC0",
        "group": "p1",
        "split": split_of("p1", 0.05, 7),
        "width": 60,
        "height": 40,
        "sha256": hashlib.sha256(image).hexdigest(),
        **NEUTRAL,
        "modality_stated": "Computed Tomography",
        "modality_evidence": "source",
        "modality_confidence": np.float32(0.97),
        "caption_group": caption_group("a CYST <  3 cm."),
    }


def test_datasets_opens_it_and_decodes_the_images(tmp_path: Path) -> None:
    from datasets import load_from_disk

    run(settings_for(many(tmp_path, 3)), tmp_path / "out")
    rows = load_from_disk(str(tmp_path / "out"))
    np.testing.assert_array_equal(np.asarray(rows[2]["image"]), noise(2))


def test_every_bad_record_is_listed_with_its_reason(tmp_path: Path) -> None:
    good = {"image": "0.png", "caption": "a finding"}
    rows = [
        good | {"id": "first"},
        {"image": "gone.png", "caption": "a finding"},
        {"image": "cut.jpg", "caption": "a finding"},
        {"image": "text.png", "caption": "a finding"},
        {"image": "tiny.png", "caption": "a finding"},
        {"image": "wide.png", "caption": "a finding"},
        {"image": "0.png", "caption": " <p></p> "},
        {"image": "0.png", "caption": "ab"},
        {"image": "0.png", "caption": "a" * 10_001},
        {"image": "0.png", "caption": "\ud800"},
        {"image": "0.png", "caption": "other", "id": "first"},
        {"image": "0.png", "caption": "a  <b>finding</b>"},
        {"image": "0.png", "caption": "another finding"},
        {"image": "0.png", "caption": "x y z", "group": "\ud800"},
        {"image": "\ud800.png", "caption": "a finding"},
    ]
    images = {
        "0.png": png(0),
        "cut.jpg": encoded(noise(1), "JPEG")[:-10],
        "text.png": b"hello",
        "tiny.png": png(0, 8, 8),
        "wide.png": png(0, 50, 50),
    }
    settings = settings_for(table(tmp_path, rows, images), max_rejected=0.9, max_pixels=2000)
    corpus = run(settings, tmp_path / "out")
    assert corpus.column("caption") == ["a finding", "another finding"]
    assert dict(rejected(tmp_path / "out")) == {
        "pairs.jsonl:1": "missing_file",
        "pairs.jsonl:2": "truncated_image",
        "pairs.jsonl:3": "unreadable_image",
        "pairs.jsonl:4": "tiny_image",
        "pairs.jsonl:5": "decompression_bomb",
        "pairs.jsonl:6": "empty_caption",
        "pairs.jsonl:7": "short_caption",
        "pairs.jsonl:8": "long_caption",
        "pairs.jsonl:9": "not_utf8",
        "pairs.jsonl:10": "duplicate_id",
        "pairs.jsonl:11": "duplicate_pair",
        "pairs.jsonl:13": "not_utf8",
        "pairs.jsonl:14": "not_utf8",
    }
    funnel = json.loads((tmp_path / "out/funnel.json").read_text())
    counts = {"read": 15, "kept": 2, "rejected": 13, "excluded": 0, "train": 2, "val": 0}
    assert funnel["total"] == counts | {"in_group_of_same_picture": 1}
    assert funnel["sources"]["t"]["rejected"]["not_utf8"] == 3
    assert sum(funnel["sources"]["t"]["rejected"].values()) == 13


def test_where_nothing_is_left_no_higher_limit_is_promised(tmp_path: Path) -> None:
    path = table(tmp_path, [{"image": "gone.png", "caption": "a"}, {"image": "gone.png", "caption": "b"}], {})
    with pytest.raises(DataError) as found:
        run(settings_for(path, max_rejected=1.0), tmp_path / "out")
    assert "2 of 2 records rejected, so nothing is left; mostly missing_file (2), such as: gone.png: " in str(
        found.value
    )
    assert "limit" not in str(found.value)


def test_rows_that_name_a_pipe_are_records_and_count_for_max_rejected(tmp_path: Path) -> None:
    rows = [{"image": "pipe.png", "caption": "a pipe"}, {"image": "0.png", "caption": "a chest film"}]
    path = table(tmp_path, rows, {"0.png": png()})
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"^1 of 2 records rejected, at most 40% .*other_file \(1\).* a named pipe"):
        run(settings_for(path, max_rejected=0.4), tmp_path / "strict")
    assert len(run(settings_for(path, max_rejected=0.5), tmp_path / "out")) == 1


def test_a_source_of_other_files_alone_has_no_record(tmp_path: Path) -> None:
    write_files(tmp_path, {"README": b"no sample"})
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(tmp_path / "README", "README")
    settings = CurateSettings.model_validate({"sources": [{"kind": "webdataset", "path": tmp_path / "x.tar"}]})
    with pytest.raises(DataError, match=r"^no record found; mostly other_file \(1\), such as: .*; all are listed in"):
        run(settings, tmp_path / "out")


def test_of_a_table_in_another_encoding_the_setting_is_named(tmp_path: Path) -> None:
    write_files(tmp_path, {"0.png": png(), "t.csv": "image,caption\n0.png,Größe\n".encode("cp1252")})
    with pytest.raises(DataError, match=r'not_utf8 .*read with, for instance, encoding = "cp1252"'):
        run(settings_for(tmp_path / "t.csv"), tmp_path / "out")


def test_a_rejected_record_does_not_make_a_later_one_a_duplicate(tmp_path: Path) -> None:
    rows = [{"id": "a", "image": "gone.png", "caption": "one"}, {"id": "a", "image": "0.png", "caption": "one"}]
    corpus = run(settings_for(table(tmp_path, rows, {"0.png": png()})), tmp_path / "out")
    assert corpus.column("id") == ["a"]


def test_sources_keep_their_order_and_share_ids_and_groups(tmp_path: Path) -> None:
    write_files(tmp_path, {"classes/a/1.png": png(1), "classes/b/2.png": png(2)})
    tar = write_tar(tmp_path / "x.tar", [("k.png", png(1)), ("k.txt", b"a")])
    settings = CurateSettings.model_validate(
        {
            "sources": [
                {"kind": "folders", "path": tmp_path / "classes", "modality": "oct"},
                {"kind": "webdataset", "path": tar},
            ],
            "min_caption": 1,
        }
    )
    corpus = run(settings, tmp_path / "out")
    assert corpus.column("id") == ["classes/a/1.png", "classes/b/2.png"]
    assert corpus.column("modality") == ["oct", "oct"]
    assert rejected(tmp_path / "out") == [("x.tar:k", "duplicate_pair")]
    assert set(fingerprints(settings)) == {"classes", "x"}


def test_splits_follow_the_groups(tmp_path: Path) -> None:
    corpus = run(settings_for(many(tmp_path, 200), val=0.4), tmp_path / "out")
    found = dict(zip(corpus.column("group"), corpus.column("split"), strict=True))
    assert found == {group: split_of(group, 0.4, 7) for group in found}
    assert list(zip(corpus.column("group"), corpus.column("split"), strict=True)).count(("g0", found["g0"])) == 4
    assert len(corpus.rows("train")) + len(corpus.rows("val")) == 200


def test_too_many_rejected_records_stop_the_run_and_are_listed(tmp_path: Path) -> None:
    rows = [{"image": f"{i}.png", "caption": "same"} for i in range(10)]
    settings = settings_for(table(tmp_path, rows, {"0.png": png(0)}), max_rejected=0.3)
    with pytest.raises(
        DataError, match=r"9 of 10 records rejected, at most 30% .* mostly missing_file \(9\)"
    ) as caught:
        run(settings, tmp_path / "out")
    listing = Path(str(caught.value).rpartition(" ")[2])
    assert listing == tmp_path / "out.partial/rejected.parquet"
    assert len(rejected(listing.parent)) == 9
    assert not (tmp_path / "out").exists()
    assert len(run(settings.model_copy(update={"max_rejected": 0.9}), tmp_path / "lenient")) == 1


def test_nothing_left_is_an_error_whatever_is_allowed(tmp_path: Path) -> None:
    rows = [{"image": "gone.png", "caption": "same"}]
    with pytest.raises(DataError, match="1 of 1 records rejected"):
        run(settings_for(table(tmp_path, rows, {}), max_rejected=1.0), tmp_path / "out")


def test_a_source_without_records_is_an_error(tmp_path: Path) -> None:
    settings = CurateSettings.model_validate(
        {"sources": [{"kind": "table", "name": "t", "path": many(tmp_path, 3), "include": {"id": ["r9"]}}]}
    )
    with pytest.raises(
        DataError, match=r"source 't': no record found with include = \{'id': \['r9'\]\}, which excludes 3;"
    ):
        run(settings, tmp_path / "out")


def test_source_names_must_differ(tmp_path: Path) -> None:
    source = {"kind": "folders", "path": tmp_path, "name": "x"}
    settings = CurateSettings.model_validate({"sources": [source, source]})
    with pytest.raises(ConfigError, match="'x' is taken twice"):
        fingerprints(settings)


def test_resizing_tables_keeps_rows_and_order() -> None:
    tables = [pa.table({"x": list(range(begin, end))}) for begin, end in ((0, 3), (3, 10), (10, 11))]
    tables.insert(1, tables[0].slice(3))  # a part that has lost all its rows
    found = list(_resized(tables, [2, 2, 6, 1]))
    assert [table.num_rows for table in found] == [2, 2, 6, 1]
    assert pa.concat_tables(found).column("x").to_pylist() == list(range(11))


def test_workers_do_not_import_datasets_or_torch() -> None:
    code = (
        "import sys, mmkd.curation.shards, mmkd.curation.sources.kinds; print({'datasets', 'torch'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@needs_realdata
def test_the_real_pairs_are_all_kept(tmp_path: Path) -> None:
    source = {
        "kind": "table",
        "name": "real",
        "path": REALDATA / "pairs/pairs.jsonl",
        "include": {"modality": ["Fundus"]},
    }
    corpus = run(CurateSettings.model_validate({"sources": [source]}), tmp_path / "out")
    assert len(corpus) == 96
    assert set(corpus.column("modality")) == {"fundus"}
    assert max(corpus.table.data.column("width").to_pylist()) <= 384
