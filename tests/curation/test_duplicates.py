"""Duplicates over a whole corpus: against a slow walk over all earlier records, and what their list says."""

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpus_samples import REALDATA, encoded, many, needs_realdata, noise, run, settings_for, table
from hypothesis import given
from hypothesis import strategies as st

from mmkd.curation import duplicates as duplicate_records
from mmkd.curation.duplicates import NONE, REASONS, Keys, find_duplicates
from mmkd.curation.settings.curate import DuplicateSettings
from mmkd.images import hamming
from mmkd.images import near_duplicates as near_pictures
from mmkd.images.hamming import Array
from mmkd.images.thumbnails import THUMBNAIL_PIXELS, correlation
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


def walked(rows: list[Row], near: str, radius: int, least: float, thumbnail_TX: Array) -> list[tuple[int, str]]:
    """What `find_duplicates` says: (partner, reason) of each record."""
    settings = DuplicateSettings.model_validate({"near": near, "radius": radius, "correlation": least})
    thumbnail_N = np.array([row[5] for row in rows], int)
    refused_N = np.array([row[4] for row in rows], bool)
    found = find_duplicates(keys(rows), settings, refused_N, lambda place_S: thumbnail_TX[thumbnail_N[place_S]])
    return [
        (partner, "" if partner == NONE else REASONS[reason])
        for partner, reason in zip(found.partner_N.tolist(), found.reason_N.tolist(), strict=True)
    ]


def slowly(rows: list[Row], near: str, radius: int, least: float, thumbnail_TX: Array) -> list[tuple[int, str]]:
    """(partner, reason) of each record, all compared with all that are kept."""
    correlation_TT = np.clip(np.corrcoef(thumbnail_TX), 0.0, None).round(9)

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
            (-correlation_TT[thumbnail, row[5]] if least else 0, (bits ^ row[2]).bit_count(), place)
            for place, row in kept
            if (near == "drop" or (near == "pair" and row[3] == caption))
            and (bits ^ row[2]).bit_count() <= radius
            and correlation_TT[thumbnail, row[5]] >= least
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


@given(
    st.lists(RECORD, max_size=12),
    st.sampled_from(["keep", "pair", "drop"]),
    st.integers(0, 6),
    st.sampled_from([0.0, 0.5, 0.96, 1.0]),
    st.sampled_from([1, 5, near_pictures.CHUNK]),
    st.sampled_from([1, 3, duplicate_records.TOGETHER]),
    st.sampled_from([1, hamming.DENSE]),
)
def test_halves_of_halves_find_what_a_walk_over_all_earlier_records_finds(
    rows: list[Row], near: str, radius: int, least: float, chunk: int, together: int, dense: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_pictures, "CHUNK", chunk)
        patch.setattr(duplicate_records, "TOGETHER", together)
        patch.setattr(hamming, "DENSE", dense)
        told = walked(rows, near, radius, least, THUMBNAILS)
    assert told == slowly(rows, near, radius, least, THUMBNAILS)


@pytest.mark.parametrize("least", [0.0, 0.9, 0.98])
@pytest.mark.parametrize("seed", range(4))
def test_crowded_records_are_found_as_by_a_slow_walk(seed: int, least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few kinds of hashes, thumbnails that differ a little or much, some records that are refused or repeated."""
    rng = np.random.default_rng(seed)
    base_KX = rng.integers(0, 256, (6, THUMBNAIL_PIXELS))
    thumbnail_TX = base_KX[rng.integers(6, size=40)] + rng.integers(0, 2 ** rng.integers(1, 8, (40, 1)) - 1, (40, 1))
    thumbnail_TX = np.clip(thumbnail_TX + rng.normal(0, 12, thumbnail_TX.shape), 0, 255).astype(np.uint8)
    kind_3 = rng.integers(0, 2**63, 3)
    rows = [
        (
            int(rng.integers(280)),
            int(rng.integers(280)),
            int(kind_3[rng.integers(3)]) ^ sum(1 << int(bit) for bit in rng.choice(63, rng.integers(4), replace=False)),
            int(rng.integers(2)),
            bool(rng.random() < 0.05),
            int(rng.integers(40)),
        )
        for _ in range(300)
    ]
    monkeypatch.setattr(duplicate_records, "TOGETHER", 16)
    monkeypatch.setattr(hamming, "DENSE", 64)
    for near in ("pair", "drop"):
        told = walked(rows, near, 4, least, thumbnail_TX)
        assert told == slowly(rows, near, 4, least, thumbnail_TX)
        assert 0 < sum(reason == Reason.NEAR_DUPLICATE for _, reason in told) < 300


def test_many_frames_of_one_film_are_compared_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs of 4,000 frames would be 8 million."""
    frame_NX = np.repeat(THUMBNAILS[:1], 4_000, axis=0)
    frame_NX[np.arange(4_000), np.arange(4_000) % THUMBNAIL_PIXELS] ^= 1
    compared = 0

    def counted(one_BX: Array, other_BX: Array) -> Array:
        nonlocal compared
        compared += len(one_BX)
        return correlation(one_BX, other_BX)

    monkeypatch.setattr(near_pictures, "correlation", counted)
    monkeypatch.setattr(duplicate_records, "TOGETHER", 64)
    number_N = np.arange(4_000, dtype=np.uint64)
    film = Keys(number_N, number_N, np.full(4_000, 7, np.uint64), number_N)
    found = find_duplicates(
        film, DuplicateSettings(near="drop"), np.zeros(4_000, bool), lambda place_S: frame_NX[place_S]
    )
    assert found.partner_N.tolist() == [NONE] + [0] * 3_999
    assert compared < 4 * 4_000


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_sketches_are_no_further_apart_than_thumbnails(seed: int, mixed: float) -> None:
    rng = np.random.default_rng(seed)
    one_X, other_X = rng.integers(0, 256, (2, THUMBNAIL_PIXELS))
    pair_2X = np.stack([one_X, mixed * one_X + (1 - mixed) * other_X]).astype(np.uint8)
    sketch_2Y = near_pictures.sketches(pair_2X)
    apart = float(((sketch_2Y[0] - sketch_2Y[1]) ** 2).sum())
    assert apart <= 2 - 2 * float(np.corrcoef(pair_2X)[0, 1]) + near_pictures.SLACK
    assert (near_pictures.sketches(np.full((1, THUMBNAIL_PIXELS), 9, np.uint8)) == 0).all()


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
