"""Hashes of views, and near hashes found by bands: everything that comparing all with all finds, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmkd.evaluation.leakage.duplicates import nearest_views
from mmkd.evaluation.leakage.hashes import VIEWS, hashes_and_thumbnails, turned, view_hashes, view_pixels
from mmkd.images import hamming
from mmkd.images.hamming import BITS, Hashes, bands, crowding, masks, near, within
from mmkd.images.having_near import having_near
from mmkd.images.thumbnails import THUMBNAIL_PIXELS, perceptual_hash, small_grey, thumbnail_of, thumbnails_from
from mmkd.statistics.metrics import Array

NARROW = st.integers(0, 2**64 - 1).map(lambda bits: bits & 0x8001_0000_0801_0013)  # few bits, so many pairs are near


def all_with_all(query_Q: Array, key_K: Array, radius: int) -> dict[tuple[int, int], int]:
    distance_QK = np.bitwise_count(query_Q[:, None] ^ key_K)
    return {(int(q), int(k)): int(distance_QK[q, k]) for q, k in np.argwhere(distance_QK <= radius)}


def found(query_Q: Array, key_K: Array, radius: int) -> dict[tuple[int, int], int]:
    pairs = within(query_Q, key_K, radius)
    listed = list(zip(pairs.query_P.tolist(), pairs.key_P.tolist(), strict=True))
    assert listed == sorted(set(listed))
    return dict(zip(listed, pairs.distance_P.tolist(), strict=True))


@given(
    st.lists(st.integers(0, 2**64 - 1) | NARROW, max_size=20),
    st.lists(st.integers(0, 2**64 - 1) | NARROW, max_size=20),
    st.integers(0, 8),
)
def test_bands_find_what_comparing_all_with_all_finds(queries: list[int], keys: list[int], radius: int) -> None:
    query_Q, key_K = np.array(queries, np.uint64), np.array(keys, np.uint64)
    assert found(query_Q, key_K, radius) == all_with_all(query_Q, key_K, radius)


@pytest.mark.parametrize("radius", [0, 1, 6, 15])
def test_neighbours_at_the_edge_are_found_and_those_beyond_are_not(radius: int) -> None:
    rng = np.random.default_rng(radius)
    key_K = rng.integers(0, 2**64, 50, dtype=np.uint64)
    flips = [rng.choice(BITS, radius + beyond, replace=False) for _ in range(50) for beyond in (0, 1)]
    query_Q = np.array(
        [int(key_K[n // 2]) ^ sum(1 << int(bit) for bit in bits) for n, bits in enumerate(flips)], np.uint64
    )
    own = {pair: bits for pair, bits in found(query_Q, key_K, radius).items() if pair[0] // 2 == pair[1]}
    assert own == {(2 * k, k): radius for k in range(50)}


def test_more_hashes_are_cut_into_more_bands_and_still_find_all() -> None:
    """What millions of hashes are looked up with: every mask but the needed one agrees in none of its bits."""
    many = masks(4, 24_000_000, 24_000_000)
    assert len(masks(4, 10, 10)) < len(many) <= hamming.MAX_MASKS
    rng = np.random.default_rng(0)
    for _ in range(200):
        difference = np.uint64(sum(1 << int(bit) for bit in rng.choice(BITS, 4, replace=False)))
        assert any(difference & mask == 0 for mask in many)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    hash_N = rng.integers(0, 2**12, 300, dtype=np.uint64)  # upper bands agree in all pairs
    whole = found(hash_N, hash_N, 2)
    monkeypatch.setattr(hamming, "CHUNK_PAIRS", 7)
    assert found(hash_N, hash_N, 2) == whole == all_with_all(hash_N, hash_N, 2)


@given(
    st.lists(st.integers(0, 2**64 - 1) | NARROW, max_size=20),
    st.lists(st.integers(0, 2**64 - 1) | NARROW, max_size=20),
    st.integers(0, 8),
    st.sampled_from([1, 2, 5]),
)
def test_tables_of_dense_runs_change_nothing(queries: list[int], keys: list[int], radius: int, side: int) -> None:
    query_Q, key_K = np.array(queries, np.uint64), np.array(keys, np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "DENSE", 1)
        patch.setattr(hamming, "TABLE_SIDE", side)
        assert found(query_Q, key_K, radius) == all_with_all(query_Q, key_K, radius)


CODED = st.lists(st.tuples(st.integers(0, 2**64 - 1) | NARROW, st.integers(0, 2)), max_size=20)


def hashes(rows: list[tuple[int, int]]) -> Hashes:
    return Hashes(*(np.array([row[column] for row in rows], np.uint64) for column in (0, 1)))


@given(CODED, CODED, st.integers(0, 8), st.sampled_from([1, hamming.DENSE]))
def test_only_hashes_of_one_code_are_near(
    queries: list[tuple[int, int]], keys: list[tuple[int, int]], radius: int, dense: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "DENSE", dense)
        listed = [
            pair
            for pairs in near(hashes(queries), hashes(keys), radius)
            for pair in zip(pairs.query_P.tolist(), pairs.key_P.tolist(), strict=True)
        ]
        has_N = having_near(hashes(queries), radius)
    assert sorted(listed) == [
        (q, k)
        for q, (one, code) in enumerate(queries)
        for k, (other, other_code) in enumerate(keys)
        if code == other_code and (one ^ other).bit_count() <= radius
    ]
    assert has_N.tolist() == [
        any(
            code == other_code and (one ^ other).bit_count() <= radius
            for other, other_code in queries[:q] + queries[q + 1 :]
        )
        for q, (one, code) in enumerate(queries)
    ]


def test_crowded_hashes_are_looked_up_by_more_bands() -> None:
    """Of ten kinds, each hash with every seventh bit changed: a short band agrees in many pairs."""
    rng = np.random.default_rng(0)
    changed_N64 = np.packbits(rng.random((100_000, 64)) < 0.15, axis=1).view(">u8")[:, 0].astype(np.uint64)
    crowded = Hashes(rng.integers(0, 2**64, 10, np.uint64)[rng.integers(10, size=100_000)] ^ changed_N64)
    spread = Hashes(rng.integers(0, 2**64, 100_000, dtype=np.uint64))
    few, many = (len(masks(4, 100_000, 100_000, crowding(one, one))) for one in (spread, crowded))
    assert few < many <= hamming.MAX_MASKS


def test_a_sample_says_how_many_hashes_agree() -> None:
    half = Hashes(np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint64))
    agreeing = crowding(half, half)
    assert agreeing(np.uint64(0xFFFF << 48)) == pytest.approx(1e10 - 1e10 / hamming.SAMPLE)  # all but with itself
    assert agreeing(np.uint64(2**32 - 1)) < 1e6


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16])
def test_bands_hold_every_bit_once(count: int) -> None:
    cut = bands(count)
    assert sum(((1 << width) - 1) << shift for shift, width in cut) == 2**64 - 1
    widths = [width for _, width in cut]
    assert max(widths) - min(widths) <= 1


@pytest.mark.parametrize("radius", [-1, 16])
def test_a_radius_that_bands_do_not_serve_is_refused(radius: int) -> None:
    with pytest.raises(ValueError, match=r"expected 0\.\.15"):
        within(np.zeros(1, np.uint64), np.zeros(1, np.uint64), radius)


def picture(seed: int, size: tuple[int, int] = (90, 70)) -> Image.Image:
    """A few smooth blots without any symmetry."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize("seed", range(6))
def test_hashes_of_the_small_picture_are_those_of_the_views(seed: int) -> None:
    image = picture(seed)
    whole = np.array([perceptual_hash(turned(image, view)) for view in range(len(VIEWS))], np.uint64)
    distance_V = np.bitwise_count(view_hashes(image) ^ whole)
    assert (distance_V[:4] == 0).all()  # the same passes in the same order
    assert distance_V.max() <= 2


@pytest.mark.parametrize("seed", range(3))
def test_the_look_of_a_view_is_the_look_with_its_pixels_moved(seed: int) -> None:
    image = picture(seed)
    _, thumbnail_IK = hashes_and_thumbnails([seed], picture)
    for view, pixel_K in enumerate(view_pixels()):
        moved_K = thumbnail_IK[0, pixel_K].astype(int)
        (whole_K,) = thumbnails_from([thumbnail_of(small_grey(turned(image, view)))])
        assert np.abs(moved_K - whole_K).max() <= 1  # rounding between the passes of Lanczos


def test_of_no_pictures_there_are_neither_hashes_nor_looks() -> None:
    view_IV, thumbnail_IK = hashes_and_thumbnails([], picture)
    assert (view_IV.shape, thumbnail_IK.shape) == ((0, len(VIEWS)), (0, THUMBNAIL_PIXELS))


def test_views_are_the_eight_symmetries_of_a_square() -> None:
    image = Image.fromarray(np.arange(9, dtype=np.uint8).reshape(3, 3))
    seen = {np.asarray(turned(image, view)).tobytes() for view in range(len(VIEWS))}
    grid = np.arange(9, dtype=np.uint8).reshape(3, 3)
    assert seen == {np.rot90(side, turns).tobytes() for side in (grid, grid.T) for turns in range(4)}


def test_a_turned_copy_is_found_in_its_view() -> None:
    images = [picture(seed) for seed in range(8)]
    view_IV = np.stack([view_hashes(image) for image in images])
    for view in range(len(VIEWS)):
        hash_K = np.array([perceptual_hash(turned(image, view)) for image in images], np.uint64)
        nearest = nearest_views(view_IV, hash_K, radius=6)
        assert sorted(nearest) == [(n, n) for n in range(8)]
        assert {found_view for _, found_view in nearest.values()} == {view}
