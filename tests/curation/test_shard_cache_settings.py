"""Settings that cached shards leave open: by any of them, the corpus is the one made without a cache."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpus_samples import encoded, everything, noise, png, run, shard_digests, write_files
from PIL import ExifTags, Image
from test_shard_cache import CHOICES, again, mixed

from mmkd.curation.cached_records import CACHED, CachedRecord, cached_records, reading_settings, rows_of
from mmkd.curation.facts.pairs import SourceRecord
from mmkd.curation.filters.decide import decide
from mmkd.curation.records.record import Excluded, Record, Rejected
from mmkd.curation.rejected_examples import rejected_examples
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import TableSource
from mmkd.curation.shard_cache import DECIDED_LATER, ROWS
from mmkd.curation.shards import rejection_table
from mmkd.curation.sources.tables import TableReader, TableShard

RUNS, CASES = 8, 30
LONE = "\ud800"  # no UTF-8; found out after the caption was judged


def turned(height: int, width: int) -> bytes:
    """A JPEG whose header says that it lies on its side."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return encoded(noise(height, height, width), "JPEG", exif=exif)


def odd(folder: Path) -> Path:
    """`mixed`, and records that are lost twice over, or by one setting and not by another."""
    path = mixed(folder)
    images = {"turned.jpg": turned(20, 44), "half.png": png(8, 12, 30)[:300], "flat.png": png(9, 18, 64)}
    write_files(folder, images | {"no.png": b"no", "large.png": png(7, 50, 60)})
    figure = "Figure 3. Kaplan-Meier curves of the survival"
    rows: list[tuple[str, str, dict[str, str]]] = [
        ("0.png", "Figure 1.", {}),  # nothing, once references are gone
        ("0.png", "Fig. 2: CT", {}),  # short by then
        ("1.png", "Liver of pigs (in Figure 2)", {}),  # English by its reference
        ("half.png", "Figure 4: a cut-off picture that is small as well", {}),
        ("half.png", figure, {}),
        ("no.png", "Fig. 5. no picture at all", {}),
        ("turned.jpg", "Figure 6. A photograph on its side", {}),
        ("flat.png", "Figura 7. Radiografía de la mano y del pie con una opacidad", {}),
        ("flat.png", "Radiografía de la mano y del pie con una opacidad", {}),  # the same pair, for some
        ("two.png", "Figure 8. A brain, of two", {}),  # compound by its picture alone
        ("2.png", "(a) A cyst. (b) Its wall.", {}),  # and by its caption alone
        ("two.png", "(a) A cyst. (b) Wall.", {}),
        ("large.png", "Axial CT of both cerebral hemispheres", {"licence": "CC BY"}),  # which nothing rejects
    ]
    lines = [
        {"id": f"o{n}", "image": image, "caption": caption, **more} for n, (image, caption, more) in enumerate(rows)
    ]
    with path.open("a") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in lines)
    return path


def cases(panels: tuple[str, str], seed: int, one_reading: bool = False) -> Iterator[dict[str, Any]]:
    """Settings drawn at random. one_reading: where figures are cut, sizes and captions stay as they are."""
    rng = np.random.default_rng(seed)
    fixed = one_reading and panels[0] == "split"
    while True:
        choice: Mapping[str, Any] = CHOICES[int(rng.integers(len(CHOICES)))]
        sizes = {"min_side": int(rng.choice((1, 13, 16, 19, 33))), "min_caption": int(rng.choice((1, 3, 12, 30)))}
        references = "strip" if fixed else str(rng.choice(("keep", "strip")))
        yield {
            **choice,
            **({} if fixed else sizes),
            "captions": {**choice.get("captions", {}), "references": references},
            "panels": str(rng.choice(panels)),
            "max_side": 40,
            "max_rejected": 1.0,
            "duplicates": {"near": str(rng.choice(("keep", "pair")))},
        }


@pytest.mark.parametrize("panels", [("keep", "drop"), ("split", "split_or_drop")])
def test_what_is_left_open_reads_nothing_and_makes_the_same_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, panels: tuple[str, str]
) -> None:
    columns = {"labels": "labels", "mention": "mention"}
    source: dict[str, object] = {"kind": "table", "name": "t", "path": odd(tmp_path), "columns": columns}
    drawn = [options for options, _ in zip(cases(panels, 5, one_reading=True), range(RUNS), strict=False)]
    fresh = [
        run(CurateSettings.model_validate({"sources": [source], **options}), tmp_path / str(n)).folder
        for n, options in enumerate(drawn)
    ]
    assert len({tuple(shard_digests(folder).items()) for folder in fresh}) >= RUNS // 2  # they are different ones
    reads: list[TableShard] = []
    records = TableShard.records
    monkeypatch.setattr(TableShard, "records", lambda shard: (reads.append(shard), records(shard))[1])
    for options, expected in zip(drawn, fresh, strict=True):
        kept = again(tmp_path / "out", [source], **options).folder
        assert shard_digests(kept) == shard_digests(expected), options
        assert pq.read_table(kept / "rejected.parquet").equals(pq.read_table(expected / "rejected.parquet")), options
        assert json.loads((kept / "funnel.json").read_text()) == json.loads((expected / "funnel.json").read_text())
        shown, wanted = ({one.id for one in rejected_examples(folder)} for folder in (kept, expected))
        assert shown <= wanted
    assert len(reads) == 1


@pytest.mark.parametrize("panels", [("keep", "drop"), ("split", "split_or_drop")])
def test_rows_hold_all_that_settings_of_the_same_reading_ask_of_a_record(
    tmp_path: Path, panels: tuple[str, str]
) -> None:
    source = TableSource(kind="table", name="t", path=odd(tmp_path), columns={"labels": "labels", "mention": "mention"})
    found = [one for one in everything(TableReader(source).shards()) if isinstance(one, Record)]
    found += [replace(one, **{name: LONE}) for one in found for name in ("group", "modality", "mention", "caption")]
    read: dict[str, list[list[dict[str, Any]]]] = {}
    for options, _ in zip(cases(panels, 6), range(CASES), strict=False):
        settings = CurateSettings.model_validate({"sources": [source], **options})
        reading = reading_settings(settings)
        key = reading.model_dump_json(exclude=dict(DECIDED_LATER))
        if key not in read:
            read[key] = [[filled(row) for row in rows_of(one, reading)] for one in found]
        for record, rows in zip(found, read[key], strict=True):
            (cached,) = cached_records(rows)
            again_decided = decide(cached, settings) if isinstance(cached, CachedRecord) else [cached]
            assert described(again_decided) == described(decide(SourceRecord(record), settings)), options
    assert (len(read) == 1) == (panels[0] == "keep")


def filled(row: dict[str, Any]) -> dict[str, Any]:
    """As it comes out of a cached shard."""
    return dict.fromkeys(CACHED.names) | row


def described(found: Sequence[dict[str, Any] | Rejected | Excluded]) -> list[object]:
    """Without images, which stay where they are."""
    listed = rejection_table([one for one in found if isinstance(one, Rejected)]).to_pylist()
    return [*({name: one[name] for name in ROWS.names[:-1]} for one in found if isinstance(one, dict)), *listed]


@pytest.mark.parametrize(("setting", "value"), [("min_side", 20), ("min_caption", 20), ("captions", "strip")])
def test_where_figures_are_cut_sizes_are_settings_of_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: object
) -> None:
    source: dict[str, object] = {"kind": "table", "name": "t", "path": mixed(tmp_path)}
    changed: dict[str, object] = {setting: {"references": value} if setting == "captions" else value}
    again(tmp_path / "out", [source], panels="split", max_rejected=0.95)
    reads: list[TableShard] = []
    records = TableShard.records
    monkeypatch.setattr(TableShard, "records", lambda shard: (reads.append(shard), records(shard))[1])
    again(tmp_path / "out", [source], panels="split_or_drop", max_rejected=0.95)
    assert not reads
    again(tmp_path / "out", [source], panels="split_or_drop", max_rejected=0.95, **changed)
    assert len(reads) == 1
