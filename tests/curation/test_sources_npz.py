import io
from pathlib import Path

import numpy as np
import pytest
from corpus_samples import everything, noise, reasons, records
from PIL import Image

from mmkd.curation.settings.sources import NpzSource
from mmkd.curation.sources import npz
from mmkd.curation.sources.npz import NpzReader
from mmkd.errors import ConfigError, DataError

IMAGES = np.stack([noise(i, 20, 24) for i in range(5)])
LABELS = np.array([[0], [1], [1], [0], [1]], np.uint8)


def reader(path: Path, **options: object) -> NpzReader:
    classes = options.pop("classes", ["normal", "tumour"])
    return NpzReader(
        NpzSource.model_validate({"kind": "npz", "name": "n", "path": path, "classes": classes, **options})
    )


def saved(folder: Path, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, split: str = "train") -> Path:
    np.savez_compressed(folder / "x.npz", **{f"{split}_images": images, f"{split}_labels": labels})
    return folder / "x.npz"


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("images", [IMAGES, IMAGES[..., 0].copy()], ids=["rgb", "grey"])
def test_images_become_png_and_labels_captions(tmp_path: Path, images: np.ndarray) -> None:
    found = records(reader(saved(tmp_path, images), splits=["train"], templates=["a {name}", "{name}?"]).shards())
    assert [record.caption for record in found] == ["a normal", "tumour?", "a tumour", "normal?", "a tumour"]
    assert [record.id for record in found] == [f"n/train/{i:08d}" for i in range(5)]
    assert [record.group for record in found] == [record.id for record in found]
    for record, image in zip(found, images, strict=True):
        np.testing.assert_array_equal(pixels(record.image), image)


def test_parts_give_the_same_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = reader(saved(tmp_path), splits=["train"])
    whole = records(source.shards())
    monkeypatch.setattr(npz, "MIN_ROWS", 2)
    assert len(source.shards()) == 3
    assert records(source.shards()) == whole


def test_flags_name_all_classes_that_apply(tmp_path: Path) -> None:
    flags = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], np.uint8)
    source = reader(saved(tmp_path, IMAGES[:3], flags), classes=["mass", "nodule", "oedema"], splits=["train"])
    assert [record.caption for record in records(source.shards())] == ["mass, oedema", "nodule"]
    assert reasons(source.shards()) == [("x.npz:train_images[1]", "empty_caption")]


def test_only_selects_by_class_and_split(tmp_path: Path) -> None:
    source = reader(saved(tmp_path), splits=["train"], include={"class": ["normal"]})
    assert [record.id for record in records(source.shards())] == ["n/train/00000000", "n/train/00000003"]
    with pytest.raises(ConfigError, match="include selects by class, split"):
        reader(tmp_path / "x.npz", include={"label": ["0"]}).shards()


def test_an_unknown_label_is_rejected(tmp_path: Path) -> None:
    source = reader(saved(tmp_path), classes=["normal"], splits=["train"])
    assert [reason for _, reason in reasons(source.shards())] == ["unreadable_row"] * 3


def test_damage_costs_the_images_after_it(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 64, 64), np.uint8)
    path = tmp_path / "x.npz"
    np.savez(path, train_labels=np.zeros((40, 1), np.uint8), train_images=images)
    raw = path.read_bytes()
    broken = bytearray(raw)
    broken[raw.index(images[30].tobytes())] ^= 255  # the checksum fails at the end of the member
    path.write_bytes(broken)
    found = everything(reader(path, splits=["train"]).shards())
    assert found[-1].reason == "damaged_file"
    assert len(found) >= 30


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.astype(np.float32), LABELS, "found float32"),
        (np.zeros((5, 4, 4, 4), np.uint8), LABELS, "expected uint8"),
        (np.array([{}], object), LABELS, "not readable"),
        (IMAGES, LABELS[:4], "5 train_images but 4 train_labels"),
        (IMAGES, np.zeros((5, 3), np.uint8), "3 flags a row but 2 classes"),
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        reader(saved(tmp_path, images, labels), splits=["train"]).shards()


def test_missing_splits_and_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="val_images"):
        reader(saved(tmp_path), splits=["val"]).shards()
    with pytest.raises(DataError, match="no such file"):
        reader(tmp_path / "gone.npz").shards()
    with pytest.raises(DataError, match="no such file"):
        reader(tmp_path / "gone.npz").fingerprint()


def test_the_fingerprint_follows_the_size(tmp_path: Path) -> None:
    before = reader(saved(tmp_path)).fingerprint()
    assert reader(saved(tmp_path, IMAGES[:4], LABELS[:4])).fingerprint() != before
