"""Corpora written before a column existed are read as if it had been there."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from corpus_samples import many, run, settings_for

from mmkd.corpus.schema import COLUMNS, NEUTRAL, Corpus, caption_group
from mmkd.errors import DataError
from mmkd.folders.arrow import read_shard, write_shard


def without(folder: Path, names: list[str]) -> Path:
    """The corpus as if it had been written before these columns existed."""
    for shard in folder.glob("data-*.arrow"):
        table = read_shard(shard).drop_columns(names)
        described = json.loads(table.schema.metadata[b"huggingface"])
        for name in names:
            del described["info"]["features"][name]
        schema = table.schema.with_metadata({"huggingface": json.dumps(described)})
        write_shard(shard, schema, [pa.table(table.columns, schema=schema)])
    (folder / "dataset_info.json").write_text(json.dumps({}))
    return folder


def test_an_older_corpus_reads_with_neutral_values(tmp_path: Path) -> None:
    new = run(settings_for(many(tmp_path, 3)), tmp_path / "out")
    expected, groups = new.take([2, 0]), new.column("caption_group")
    old = Corpus(without(tmp_path / "out", [*NEUTRAL, "caption_group"]))
    assert not set(NEUTRAL) & set(old.table.column_names)
    assert old.column("caption_group") == groups
    assert old.column("language") == ["", "", ""]
    found = old.take([2, 0])
    assert tuple(found.column_names) == COLUMNS
    assert found.select(COLUMNS[:13]).to_pylist() == expected.select(COLUMNS[:13]).to_pylist()
    assert found.column("modality_confidence").to_pylist() == [0.0, 0.0]


def test_a_folder_without_captions_is_no_corpus(tmp_path: Path) -> None:
    run(settings_for(many(tmp_path, 3)), tmp_path / "out")
    with pytest.raises(DataError, match=r"lacks the columns \['caption'\]"):
        Corpus(without(tmp_path / "out", ["caption"]))


@pytest.mark.parametrize(("one", "other"), [("A  Cyst.", "a cyst"), ("GROSSE Zyste", "grosse zyste .")])
def test_captions_that_differ_in_form_alone_share_their_group(one: str, other: str) -> None:
    assert caption_group(one) == caption_group(other)
    assert 0 <= caption_group(one) < 2**64
    assert caption_group(one) != caption_group(one + " of 3 cm")
