"""Samples from MedMNIST's archives and PatchCamelyon's HDF5 files; N pictures, C classes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from reader_cards import card

from mmkd.cards.array_files import array_in
from mmkd.cards.array_images import ArrayImage
from mmkd.cards.card import Card
from mmkd.cards.readers.read import read_samples
from mmkd.errors import DataError

CLASSES = [{"name": "none"}, {"name": "one"}, {"name": "two"}]
Arrays = dict[str, np.ndarray]


def pixels(count: int, shape: tuple[int, ...] = (28, 28), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def archive(path: Path, save: Callable[..., None], multi_label: bool = False, **arrays: np.ndarray) -> Card:
    save(path, **arrays)
    return card({"reader": "npz", "path": path}, CLASSES, multi_label=multi_label)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
@pytest.mark.parametrize("shape", [(28, 28), (64, 64, 3)], ids=["grey", "colour"])
def test_an_archive_gives_pictures_and_labels_of_its_splits(
    tmp_path: Path, save: Callable[..., None], shape: tuple[int, ...]
) -> None:
    train, test = pixels(2, shape), pixels(3, shape, seed=1)
    labels = {"train_labels": np.array([[0], [2]], np.uint8), "test_labels": np.array([[1], [0], [2]], np.uint8)}
    samples = read_samples(archive(tmp_path / "a.npz", save, train_images=train, test_images=test, **labels))
    assert [sample.id for sample in samples] == ["train/0", "train/1", "test/0", "test/1", "test/2"]
    assert [sample.label for sample in samples] == [0, 2, 1, 0, 2]
    for sample, expected in zip(samples, [*train, *test], strict=True):
        found = np.asarray(sample.image.read())
        assert found.shape == (*shape[:2], 3)
        np.testing.assert_array_equal(found, expected if expected.ndim == 3 else np.stack([expected] * 3, axis=2))


def test_equal_pixels_have_equal_digests_however_they_are_stored(tmp_path: Path) -> None:
    images = pixels(2)
    images[1, 0, 0] += 1
    np.savez(tmp_path / "a.npz", x=images)
    np.savez_compressed(tmp_path / "b.npz", x=images)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["x"] = images
    digests = [[ArrayImage(tmp_path / n, "x", row).digest() for row in (0, 1)] for n in ("a.npz", "b.npz", "c.h5")]
    assert digests[0] == digests[1] == digests[2]
    assert digests[0][0] != digests[0][1]


def test_an_archive_of_several_labels(tmp_path: Path) -> None:
    flag_NC = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], np.uint8)
    opened = archive(tmp_path / "a.npz", np.savez, True, test_images=pixels(3), test_labels=flag_NC)
    assert [sample.labels for sample in read_samples(opened)] == [(0, 2), (), (1,)]


@pytest.mark.parametrize(
    ("change", "multi_label", "told"),
    [
        ({"test_labels": np.array([[0], [1], [3]])}, False, "row 2 has 3, expected a whole number from 0 to 2"),
        ({"test_labels": np.array([[0], [1], [0.5]])}, False, "row 2 has 0.5, expected a whole number"),
        ({"test_labels": np.eye(3)}, False, "has 3 columns, expected 1 .one of several classes, 3 on the card"),
        ({"test_labels": np.eye(2)}, True, "has 2 rows, but there are 3 pictures"),
        ({"test_labels": np.eye(3)[:, :2]}, True, "has 2 columns, expected 3 .multi-label"),
        ({"test_labels": np.array([object()] * 3)}, False, "holds Python objects"),
        ({"test_images": pixels(3).astype(np.float32)}, False, r"is float32 \(3, 28, 28\), expected uint8"),
        ({"test_images": pixels(3, (4, 4, 4))}, False, r"is uint8 \(3, 4, 4, 4\), expected uint8"),
        ({"test_labels": None}, False, "no item named 'test_labels.npy'"),
        ({"test_images": None}, False, "holds no samples"),
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
def test_a_wrong_archive_is_named(
    tmp_path: Path, save: Callable[..., None], change: dict[str, Any], multi_label: bool, told: str
) -> None:
    arrays = {"test_images": pixels(3), "test_labels": np.array([[0], [1], [2]]), **change}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    with pytest.raises(DataError, match=rf"a\.npz.*{told}"):
        read_samples(archive(tmp_path / "a.npz", save, multi_label, **arrays))


@pytest.mark.parametrize("suffix", ["npz", "h5"])
def test_missing_and_damaged_files_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    places = {"reader": "h5", "pictures": {"test": path}, "truths": {"test": path}}
    opened = card({"reader": "npz", "path": path} if suffix == "npz" else places, CLASSES)
    with pytest.raises(DataError, match=rf"no file .*a\.{suffix}"):
        read_samples(opened)
    path.write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(DataError, match=rf"a\.{suffix}: not readable"):
        read_samples(opened)


def patches(folder: Path, split: str, label_N: np.ndarray) -> dict[str, Path]:
    paths = {name: folder / f"{split}_{name}.h5" for name in ("x", "y")}
    with h5py.File(paths["x"], "w") as file:
        file.create_dataset("x", data=pixels(len(label_N), (96, 96, 3)), compression="gzip", chunks=(2, 96, 96, 3))
    with h5py.File(paths["y"], "w") as file:
        file["y"] = label_N.reshape(-1, 1, 1, 1)
    return paths


def test_hdf5_files_of_pictures_and_labels(tmp_path: Path) -> None:
    files = {split: patches(tmp_path, split, np.array([1, 0, 1])) for split in ("train", "test")}
    places = {
        name: {split: paths[key] for split, paths in files.items()}
        for name, key in (("pictures", "x"), ("truths", "y"))
    }
    samples = read_samples(card({"reader": "h5", **places}, CLASSES[:2]))
    assert [(sample.id, sample.split, sample.label) for sample in samples[:3]] == [
        ("train/0", "train", 1),
        ("train/1", "train", 0),
        ("train/2", "train", 1),
    ]
    np.testing.assert_array_equal(np.asarray(samples[-1].image.read()), pixels(3, (96, 96, 3))[2])
    with pytest.raises(DataError, match=r"train_x\.h5: no array 'pictures', found x"):
        read_samples(card({"reader": "h5", **places, "images": "pictures"}, CLASSES[:2]))
    with pytest.raises(ValueError, match="pictures are of train, test, but truths of test"):
        card({"reader": "h5", **places, "truths": {"test": files["test"]["y"]}})


def secret_files(folder: Path) -> dict[str, Path]:
    """HDF5 files whose pictures `x` are the bytes of another file."""
    (folder / "secret.txt").write_bytes(b"password" * 128)
    paths = {kind: folder / f"{kind}.h5" for kind in ("storage", "link", "soft", "virtual", "group")}
    with h5py.File(folder / "other.h5", "w") as file:
        file["x"] = pixels(4, (16, 16))
        file["group/x"] = pixels(4, (16, 16))
    with h5py.File(paths["storage"], "w") as file:
        file.create_dataset("x", shape=(4, 16, 16), dtype="u1", external=[(str(folder / "secret.txt"), 0, 1024)])
    with h5py.File(paths["link"], "w") as file:
        file["x"] = h5py.ExternalLink("other.h5", "/x")
    with h5py.File(paths["soft"], "w") as file:
        file["far"] = h5py.ExternalLink("other.h5", "/x")
        file["x"] = h5py.SoftLink("/far")
    with h5py.File(paths["group"], "w") as file:
        file["far"] = h5py.ExternalLink("other.h5", "/group")
        file["x"] = h5py.SoftLink("/far/x")
    with h5py.File(paths["virtual"], "w") as file:
        layout = h5py.VirtualLayout((4, 16, 16), "u1")
        layout[:] = h5py.VirtualSource("other.h5", "x", (4, 16, 16))
        file.create_virtual_dataset("x", layout)
    return paths


@pytest.mark.parametrize("kind", ["storage", "link", "soft", "group", "virtual"])
def test_pictures_of_another_file_are_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match="copy the array into this file"):
        array_in(secret_files(tmp_path)[kind], "x")


def test_links_inside_a_file_are_followed(tmp_path: Path) -> None:
    images = pixels(4, (16, 16))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["deep/down/x"] = images
        file["near"] = h5py.SoftLink("/deep/down")
        file["round"] = h5py.SoftLink("/round")
    for name in ("deep/down/x", "/deep/down/x", "near/x"):
        np.testing.assert_array_equal(array_in(tmp_path / "a.h5", name)[:], images)
    for name, message in (
        ("deep", "no array 'deep'"),
        ("nothing/x", "no array"),
        ("round", "behind more than 64 links"),
    ):
        with pytest.raises(DataError, match=message):
            array_in(tmp_path / "a.h5", name)


def replaced(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new.ljust(len(old))))


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|u1', 'shape': (3, 28,",
        b"((((((((((",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999999999,)}",
    ],
)
def test_a_damaged_header_of_an_array_is_said(tmp_path: Path, header: bytes) -> None:
    np.savez(tmp_path / "a.npz", x=pixels(3))
    replaced(tmp_path / "a.npz", b"{'descr': '|u1', 'fortran_order': False, 'shape': (3, 28, 28), }         ", header)
    with pytest.raises(DataError, match=r"a\.npz: not readable"):
        array_in(tmp_path / "a.npz", "x")


def test_an_array_that_claims_more_than_is_stored_is_refused(tmp_path: Path) -> None:
    """HDF5 fills what was never written with zeros: a file of some kilobytes would take any amount of memory."""
    with h5py.File(tmp_path / "a.h5", "w") as stored:
        stored.create_dataset("x", (2**30, 28, 28), np.uint8, chunks=(1, 28, 28))
        zeros = np.zeros((5000, 28, 28), np.uint8)
        stored.create_dataset("zeros", data=zeros, chunks=(500, 28, 28), compression="gzip")
    with pytest.raises(DataError, match="claims 841,813,590,016 bytes, but 0 are stored"):
        array_in(tmp_path / "a.h5", "x")
    assert not np.array(array_in(tmp_path / "a.h5", "zeros")).any()


def test_damage_that_shows_when_a_picture_is_read_names_the_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as stored:
        array = stored.create_dataset("x", data=pixels(3), chunks=(1, 28, 28), compression="gzip")
        place = array.id.get_chunk_info(1).byte_offset
    data = bytearray((tmp_path / "a.h5").read_bytes())
    data[place : place + 8] = b"\xff" * 8
    (tmp_path / "a.h5").write_bytes(data)
    assert ArrayImage(tmp_path / "a.h5", "x", 0).read().size == (28, 28)
    with pytest.raises(DataError, match=r"a\.h5: not readable .*get the file again"):
        ArrayImage(tmp_path / "a.h5", "x", 1).read()
