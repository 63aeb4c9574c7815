"""Duplicates over a whole corpus: against a slow walk over all earlier records, and what their list says."""

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpus_samples import REALDATA, encoded, many, needs_realdata, noise, run, settings_for, table
from hypothesis import given
from hypothesis import strategies as st

from mmkd.curation.selection import REASONS, Keys, find_duplicates
from mmkd.curation.settings.curate import DuplicateSettings
from mmkd.images import near_duplicates as near_pictures
from mmkd.images.near_duplicates import NONE
from mmkd.images.thumbnails import THUMBNAIL_PIXELS
from mmkd.reasons import Reason

FEW = st.integers(0, 5)
THUMBNAILS = np.random.default_rng(0).integers(0, 256, (4, THUMBNAIL_PIXELS), np.uint8)
THUMBNAILS[1] = THUMBNAILS[0] // 2 + 60  # the same, darker
THUMBNAILS[2] = THUMBNAILS[0] // 2 + THUMBNAILS[3] // 2  # correlates with both by some 0.7
BITS = st.integers(0, 63).map(lambda bits: bits * 0x0101)
RECORD = st.tuples(FEW, FEW, BITS, st.integers(0, 2), st.booleans(), st.integers(0, len(THUMBNAILS) - 1))
Row = tuple[int, int, int, int, bool, int]


def keys(rows: list[Row]) -> Keys:
    return Keys(*(np.array([row[column] for row in rows], np.uint64) for column in range(4)))


def slowly(rows: list[Row], settings: DuplicateSettings) -> list[tuple[int, str]]:
    """(partner, reason) of each record, all compared with all that are kept."""
    found: list[tuple[int, str]] = []
    for identity, pair, bits, caption, refused, thumbnail in rows:
        kept = [
            (place, row)
            for place, row in enumerate(rows[: len(found)])
            if found[place] == (NONE, "") and not row[4] and not refused
        ]
        same_id = [place for place, row in kept if row[0] == identity]
        same_pair = [place for place, row in kept if row[1] == pair]
        alike = sorted(
            (-correlation_of(thumbnail, row[5]) if settings.correlation else 0, (bits ^ row[2]).bit_count(), place)
            for place, row in kept
            if (settings.near == "drop" or (settings.near == "pair" and row[3] == caption))
            and (bits ^ row[2]).bit_count() <= settings.radius
            and correlation_of(thumbnail, row[5]) >= settings.correlation
        )
        if same_id:
            found.append((same_id[0], Reason.DUPLICATE_ID))
        elif same_pair:
            found.append((same_pair[0], Reason.DUPLICATE_PAIR))
        elif alike:
            found.append((alike[0][2], Reason.NEAR_DUPLICATE))
        else:
            found.append((NONE, ""))
    return found


def correlation_of(one: int, other: int) -> float:
    return float(max(0.0, np.corrcoef(THUMBNAILS[one], THUMBNAILS[other])[0, 1].round(9)))


@given(
    st.lists(RECORD, max_size=12),
    st.sampled_from(["keep", "pair", "drop"]),
    st.integers(0, 6),
    st.sampled_from([0.0, 0.5, 0.96]),
    st.sampled_from([1, 5, near_pictures.CHUNK]),
)
def test_sorted_keys_find_what_a_walk_over_all_earlier_records_finds(
    rows: list[Row], near: str, radius: int, least: float, chunk: int
) -> None:
    settings = DuplicateSettings.model_validate({"near": near, "radius": radius, "correlation": least})
    thumbnail_N = np.array([row[5] for row in rows], int)
    refused_N = np.array([row[4] for row in rows], bool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_pictures, "CHUNK", chunk)
        found = find_duplicates(keys(rows), settings, refused_N, lambda place_S: THUMBNAILS[thumbnail_N[place_S]])
    told = [
        (partner, "" if partner == NONE else REASONS[reason])
        for partner, reason in zip(found.partner_N.tolist(), found.reason_N.tolist(), strict=True)
    ]
    assert told == slowly(rows, settings)


def test_pictures_of_one_hash_that_show_different_things_are_all_kept() -> None:
    thumbnail_N = [0, 3, 1, 3, 2]
    rows = [(place, place, 7, place, False, look) for place, look in enumerate(thumbnail_N)]
    found = find_duplicates(
        keys(rows),
        DuplicateSettings(near="drop"),
        np.zeros(5, bool),
        lambda place_S: THUMBNAILS[np.array(thumbnail_N)[place_S]],
    )
    assert found.partner_N.tolist() == [NONE, NONE, 0, 1, NONE]
    assert found.correlation_N[2] == pytest.approx(np.corrcoef(THUMBNAILS[0], THUMBNAILS[1])[0, 1])
    assert found.correlation_N[3] == 1


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
    assert re.search(r" with an image [0-4] bits of the perceptual hash away, correlation (1\.000|0\.9[6-9]\d)$", c[2])
    run(settings_for(path, max_rejected=0.9, duplicates={"near": "pair", "correlation": 1}), tmp_path / "equal")
    assert listed(tmp_path / "equal") == exact  # JPEG has changed it a little
    run(settings_for(path, max_rejected=0.9, duplicates={"near": "pair", "correlation": 0}), tmp_path / "hashes")
    (unseen,) = [row for row in listed(tmp_path / "hashes") if row not in exact]
    assert unseen[2] == c[2].split(", correlation")[0]
    run(settings_for(path, max_rejected=0.9, duplicates={"near": "drop"}), tmp_path / "drop")
    assert [row[:2] for row in listed(tmp_path / "drop")][2:] == [("c", "near_duplicate"), ("d", "near_duplicate")]


def test_a_long_list_is_written_in_pieces_and_stays_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": "x", "image": f"{i % 2}.png", "caption": f"finding {i}"} for i in range(20)]
    path = many(tmp_path, 2)
    table(tmp_path, rows, {})
    settings = settings_for(path, max_rejected=0.99)
    run(settings, tmp_path / "whole")
    monkeypatch.setattr("mmkd.curation.selection.LISTED_ROWS", 3)
    monkeypatch.setattr("mmkd.tables.text.ROWS_PER_SHARD", 4)
    run(settings, tmp_path / "pieces")
    assert len(listed(tmp_path / "pieces")) == 19
    assert listed(tmp_path / "pieces") == listed(tmp_path / "whole")


@needs_realdata
@pytest.mark.slow
def test_hashes_alone_take_two_patients_of_the_real_pairs_for_one(tmp_path: Path) -> None:
    def dropped(**asked: object) -> list[tuple[str, str]]:
        name = "-".join(map(str, asked.values()))
        run(settings_for(REALDATA / "pairs/pairs.jsonl", duplicates={"near": "drop", **asked}), tmp_path / name)
        found = [(one, detail) for one, reason, detail in listed(tmp_path / name) if reason == Reason.NEAR_DUPLICATE]
        return [(one, re.search(r"earlier (\w+)", detail)[1]) for one, detail in found]

    copies = [("eye_0030", "eye_0022"), ("pocus_0067", "pocus_0065")]  # two fundi, two frames of one film
    assert dropped(radius=4, correlation=0) == []
    assert set(dropped(radius=6, correlation=0)) == {*copies, ("cxr_0115", "cxr_0111")}
    assert sorted(dropped(radius=8)) == copies
    assert dropped(radius=8, correlation=0.99) == copies[1:]
    assert len(dropped(radius=8, correlation=0)) > 8
