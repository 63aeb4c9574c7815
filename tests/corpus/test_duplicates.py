"""Repeats over a whole corpus: against a slow walk over all earlier records, and what their list says."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpus_samples import encoded, many, noise, run, settings_for, table
from hypothesis import given
from hypothesis import strategies as st

from mmkd.corpus.duplicates import KEPT, REASONS, Keys, repeats
from mmkd.corpus.records import Reason
from mmkd.corpus.settings import DuplicateSettings

FEW = st.integers(0, 5)
RECORD = st.tuples(FEW, FEW, st.integers(0, 63).map(lambda bits: bits * 0x0101), st.integers(0, 2), st.booleans())
Row = tuple[int, int, int, int, bool]


def keys(rows: list[Row]) -> Keys:
    return Keys(*(np.array([row[column] for row in rows], np.uint64) for column in range(4)))


def slowly(rows: list[Row], near: str, radius: int) -> list[tuple[int, str]]:
    """(partner, reason) of each record, all compared with all that are kept."""
    found: list[tuple[int, str]] = []
    for identity, pair, bits, caption, refused in rows:
        kept = [
            (place, row)
            for place, row in enumerate(rows[: len(found)])
            if found[place] == (KEPT, "") and not row[4] and not refused
        ]
        same_id = [place for place, row in kept if row[0] == identity]
        same_pair = [place for place, row in kept if row[1] == pair]
        alike = sorted(
            ((bits ^ row[2]).bit_count(), place)
            for place, row in kept
            if near == "drop" or (near == "pair" and row[3] == caption)
        )
        if same_id:
            found.append((same_id[0], Reason.DUPLICATE_ID))
        elif same_pair:
            found.append((same_pair[0], Reason.DUPLICATE_PAIR))
        elif alike and alike[0][0] <= radius:
            found.append((alike[0][1], Reason.NEAR_DUPLICATE))
        else:
            found.append((KEPT, ""))
    return found


@given(st.lists(RECORD, max_size=12), st.sampled_from(["keep", "pair", "drop"]), st.integers(0, 6))
def test_sorted_keys_find_what_a_walk_over_all_earlier_records_finds(rows: list[Row], near: str, radius: int) -> None:
    settings = DuplicateSettings.model_validate({"near": near, "radius": radius})
    found = repeats(keys(rows), settings, np.array([row[4] for row in rows], bool))
    told = [
        (partner, "" if partner == KEPT else REASONS[reason])
        for partner, reason in zip(found.partner_N.tolist(), found.reason_N.tolist(), strict=True)
    ]
    assert told == slowly(rows, near, radius)


def listed(folder: Path) -> list[tuple[str, str, str]]:
    return [(row["id"], row["reason"], row["detail"]) for row in pq.read_table(folder / "rejected.parquet").to_pylist()]


def test_the_list_names_the_record_that_is_kept(tmp_path: Path) -> None:
    picture = noise(0, 64, 64)
    rows = [
        {"id": "a", "image": "0.png", "caption": "a cyst"},
        {"id": "a", "image": "1.png", "caption": "another"},
        {"id": "b", "image": "0.png", "caption": "a  cyst"},
        {"id": "c", "image": "2.jpg", "caption": "A cyst."},
        {"id": "d", "image": "2.jpg", "caption": "a tumour"},
    ]
    images = {"0.png": encoded(picture), "1.png": encoded(noise(1)), "2.jpg": encoded(picture, "JPEG", quality=80)}
    path = table(tmp_path, rows, images)
    told = "kept is the earlier a (pairs.jsonl:0) with"
    exact = [
        ("a", "duplicate_id", f"{told} the id a"),
        ("b", "duplicate_pair", f"{told} the same image and caption"),
    ]
    run(settings_for(path, max_rejected=0.9), tmp_path / "keep")
    assert listed(tmp_path / "keep") == exact
    run(settings_for(path, max_rejected=0.9, duplicates={"near": "pair"}), tmp_path / "pair")
    (c,) = [row for row in listed(tmp_path / "pair") if row not in exact]
    assert c[:2] == ("c", "near_duplicate")
    assert c[2].startswith(told)
    assert c[2].endswith("bits of the perceptual hash away")
    run(settings_for(path, max_rejected=0.9, duplicates={"near": "drop"}), tmp_path / "drop")
    assert [row[:2] for row in listed(tmp_path / "drop")][2:] == [("c", "near_duplicate"), ("d", "near_duplicate")]


def test_a_long_list_is_written_in_pieces_and_stays_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": "x", "image": f"{i % 2}.png", "caption": f"finding {i}"} for i in range(20)]
    path = many(tmp_path, 2)
    table(tmp_path, rows, {})
    settings = settings_for(path, max_rejected=0.99)
    run(settings, tmp_path / "whole")
    monkeypatch.setattr("mmkd.corpus.choose.LISTED_ROWS", 3)
    monkeypatch.setattr("mmkd.corpus.sources.text_tables.ROWS_PER_SHARD", 4)
    run(settings, tmp_path / "pieces")
    assert len(listed(tmp_path / "pieces")) == 19
    assert listed(tmp_path / "pieces") == listed(tmp_path / "whole")
