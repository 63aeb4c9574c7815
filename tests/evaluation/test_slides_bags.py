"""Bags of tile features: a round trip, the layouts of other tools, and files that are wrong."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from worlds import Named

from mmkd.cards.samples import Sample
from mmkd.errors import DataError
from mmkd.evaluation.slides.bags import Bag, read_bag, write_bag, write_bags
from mmkd.images.slide_tiles import SlideTile


def stored(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            file.create_dataset(name, data=value)
    return path


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 40), st.integers(1, 20), st.booleans(), st.integers(0, 99))
def test_round_trip(tmp_path: Path, tiles: int, dim: int, placed: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    coords = rng.integers(0, 10**6, (tiles, 2)) if placed else None
    bag = Bag(rng.normal(size=(tiles, dim)).astype(np.float32), coords, {"patch_size": 256} if placed else {})
    write_bag(tmp_path / "a.h5", bag)
    found = read_bag(tmp_path / "a.h5")
    np.testing.assert_array_equal(found.feature_ND, bag.feature_ND)
    assert found.feature_ND.dtype == np.float32
    assert (found.coord_N2 is None) == (coords is None)
    if coords is not None:
        np.testing.assert_array_equal(found.coord_N2, coords)
    assert found.facts == bag.facts


def test_equal_bags_make_equal_bytes_and_leave_no_draft(tmp_path: Path) -> None:
    bag = Bag(np.ones((3, 2)), np.zeros((3, 2), np.int64), {"patch_size": 256, "name": "s"})
    for name in ("a.h5", "b.h5"):
        write_bag(tmp_path / name, bag)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5"]


@pytest.mark.parametrize("name", ["features", "feats"])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_layouts_of_other_tools(tmp_path: Path, name: str, kind: type) -> None:
    value: Any = np.arange(12).reshape(4, 3).astype(kind)
    for shown in (value, value[None]):
        bag = read_bag(stored(tmp_path / "x.h5", **{name: shown, "coords": np.zeros((4, 2), np.int32)}))
        np.testing.assert_array_equal(bag.feature_ND, value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"feature": np.ones((2, 2))}, "no array 'features', found feature"),
        ({"features": np.ones(3)}, r"float64 \(3,\), expected numbers \(n, D\)"),
        ({"features": np.ones((0, 3))}, "n, D > 0"),
        ({"features": np.ones((2, 4, 3))}, r"\(2, 4, 3\)"),
        ({"features": np.array([[1.0], [np.nan]])}, "features of tile 1 are not finite"),
        ({"features": np.ones((3, 2)), "coords": np.ones((2, 2))}, r"coords are float64 \(2, 2\), expected .*\(3, 2\)"),
        ({"features": [b"a", b"b"]}, "expected numbers"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_bag(stored(tmp_path / "bad.h5", **arrays))


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file of tile features"):
        read_bag(tmp_path / "none.h5")
    write_bag(tmp_path / "a.h5", Bag(np.ones((50, 20))))
    whole = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"not readable .*make the features again"):
        read_bag(tmp_path / "a.h5")
    with h5py.File(tmp_path / "folder.h5", "w") as file:
        file.create_group("features")
    with pytest.raises(DataError, match="no array 'features'"):
        read_bag(tmp_path / "folder.h5")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_bytes_get_past_the_reader(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "any.h5").write_bytes(data)
    with pytest.raises(DataError):
        read_bag(tmp_path / "any.h5")


def test_embeddings_become_bags(tmp_path: Path) -> None:
    cut = tuple(SlideTile(Path("/slides/one.svs"), x, 7, 448, 224) for x in (0, 448))
    plain = (Named("a"), Named("b"), Named("a"))
    images = [*cut, Named("b"), Named("a")]
    vectors = np.arange(8, dtype=np.float32).reshape(4, 2)
    first, second = write_bags(tmp_path, [Sample("one", cut), Sample("two/x", plain)], images, vectors)
    assert (first.name, second.name) == ("one.h5", "two%2Fx.h5")
    bag = read_bag(first)
    np.testing.assert_array_equal(bag.feature_ND, vectors[:2])
    np.testing.assert_array_equal(bag.coord_N2, [(0, 7), (448, 7)])
    assert bag.facts == {"patch_size": 224, "patch_size_level0": 448, "name": "one"}
    assert read_bag(second).coord_N2 is None
    np.testing.assert_array_equal(read_bag(second).feature_ND, vectors[[3, 2, 3]])
    with pytest.raises(DataError, match="'bare' has no tiles"):
        write_bags(tmp_path, [Sample("bare")], images, vectors)


def test_real_bags_of_two_tools(realdata: Path) -> None:
    sizes = {path.name[:12]: read_bag(path) for path in sorted((realdata / "embeddings" / "mopadi").glob("*.h5"))}
    assert {name: bag.feature_ND.shape for name, bag in sizes.items()} == {
        "TCGA-3X-AAVA": (180, 512),
        "TCGA-AD-6964": (777, 512),
    }
    assert sizes["TCGA-3X-AAVA"].coord_N2 is None
    coords = sizes["TCGA-AD-6964"].coord_N2
    assert coords is not None
    assert coords[0].tolist() == [10240, 21504]


@pytest.mark.parametrize("name", ["features", "feats", "coords"])
def test_arrays_of_another_file_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.txt").write_bytes(bytes(64))
    arrays = {"features": np.ones((4, 2)), "coords": np.zeros((4, 2), np.int64)}
    other = stored(tmp_path / "other.h5", x=np.ones((4, 2)))
    kept = {key: value for key, value in arrays.items() if key[:4] != name[:4]}
    for kind in ("link", "storage"):
        path = stored(tmp_path / f"{kind}.h5", **kept)
        with h5py.File(path, "a") as file:
            if kind == "link":
                file[name] = h5py.ExternalLink(str(other), "x")
            else:
                file.create_dataset(name, (4, 2), "i8", external=[(str(tmp_path / "secret.txt"), 0, 64)])
        with pytest.raises(DataError, match="copy the array into this file"):
            read_bag(path)
