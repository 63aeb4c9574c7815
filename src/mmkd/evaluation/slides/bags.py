"""Bags: the features of a slide's tiles in HDF5 files that other tools read and write too; n tiles, D features.

The layout is that of CLAM and TRIDENT: `features` (n, D) or (1, n, D), and `coords` (n, 2), the tiles' top left corners
in pixels of level 0, with facts such as `patch_size` as attributes of `coords`. STAMP calls the former `feats`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from mmkd.cards.array_files import explained, own_array
from mmkd.cards.samples import ImageRef, Sample
from mmkd.errors import ConfigError, DataError
from mmkd.folders.atomic import atomic_file
from mmkd.images.slide_tiles import SlideTile
from mmkd.statistics.metrics import Array

FEATURES = ("features", "feats")
COORDS = "coords"


@dataclass(frozen=True, eq=False)
class Bag:
    """feature_ND: float32. coord_N2: whole numbers, x and y, or None where they are unknown. facts: of the coords."""

    feature_ND: Array
    coord_N2: Array | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def read_bag(path: Path) -> Bag:
    """Raises DataError for a file that is missing, no HDF5, damaged, empty, or whose parts do not fit together."""
    h5py = _library()
    if not path.is_file():
        raise DataError(f"{path}: no such file of tile features; check `bags` in the card")
    with explained(path, "make the features again"), h5py.File(path, "r") as stored:
        names = set(stored)  # `in` would follow a link to another file
        features = [own_array(stored, name, path) for name in FEATURES if name in names]
        if not features:
            raise DataError(f"{path}: no array {FEATURES[0]!r}, found {', '.join(stored) or 'nothing'}")
        feature = np.asarray(features[0][()])
        coords = own_array(stored, COORDS, path) if COORDS in names else None
        coord = None if coords is None else coords[()]
        facts = {} if coords is None else {name: _plain(value) for name, value in coords.attrs.items()}
    return checked_bag(Bag(feature[0] if feature.ndim == 3 and len(feature) == 1 else feature, coord, facts), str(path))


def checked_bag(bag: Bag, where: str) -> Bag:
    """The bag with float32 features and int64 coordinates. Raises DataError where shapes or numbers are wrong."""
    feature_ND, coord_N2 = np.asarray(bag.feature_ND), bag.coord_N2
    if feature_ND.ndim != 2 or 0 in feature_ND.shape or feature_ND.dtype.kind not in "fiu":
        found = f"{feature_ND.dtype} {feature_ND.shape}"
        raise DataError(f"{where}: features are {found}, expected numbers (n, D) with n, D > 0")
    feature_ND = feature_ND.astype(np.float32)
    if not np.isfinite(feature_ND).all():
        row = int(np.flatnonzero(~np.isfinite(feature_ND).all(axis=1))[0])
        raise DataError(f"{where}: the features of tile {row} are not finite in float32; make them again")
    if coord_N2 is not None:
        coord_N2 = np.asarray(coord_N2)
        if coord_N2.shape != (len(feature_ND), 2) or coord_N2.dtype.kind not in "iuf":
            found = f"{coord_N2.dtype} {coord_N2.shape}"
            raise DataError(f"{where}: coords are {found}, expected numbers ({len(feature_ND)}, 2), one row a tile")
        coord_N2 = coord_N2.astype(np.int64)
    return Bag(feature_ND, coord_N2, bag.facts)


def write_bag(path: Path, bag: Bag) -> None:
    """Write the file whole or not at all; equal bags make equal bytes. Raises DataError as `read_bag` does."""
    bag = checked_bag(bag, str(path))
    h5py = _library()
    buffer = BytesIO()
    with h5py.File(buffer, "w") as stored:
        stored.create_dataset(FEATURES[0], data=bag.feature_ND)
        if bag.coord_N2 is not None:
            coords = stored.create_dataset(COORDS, data=bag.coord_N2)
            for name, value in sorted(bag.facts.items()):
                coords.attrs[name] = value
    with atomic_file(path) as stream:
        stream.write(buffer.getbuffer())


def write_bags(folder: Path, samples: Sequence[Sample], images: Sequence[ImageRef], image_ID: Array) -> list[Path]:
    """A bag for every sample, `<id>.h5`, from the embeddings of a model; returns the paths in the order of the samples.

    images, image_ID: the distinct images of the data set and their (unit) vectors, as `Embeddings` has them. Tiles of
    slides bring their coordinates; plain images have none. Raises DataError for a sample without images.
    """
    row_of = {image: row for row, image in enumerate(images)}
    paths = []
    for sample in samples:
        if not sample.images:
            raise DataError(f"sample {sample.id!r} has no tiles, so there is no bag to write")
        path = folder / f"{quote(sample.id, safe=' ')}.h5"
        feature_ND = image_ID[[row_of[image] for image in sample.images]]
        write_bag(path, Bag(feature_ND, *_coordinates(sample.images)))
        paths.append(path)
    return paths


def _coordinates(images: Sequence[ImageRef]) -> tuple[Array | None, dict[str, Any]]:
    tiles = [image for image in images if isinstance(image, SlideTile)]
    if len(tiles) < len(images):
        return None, {}
    facts = {"patch_size": tiles[0].side, "patch_size_level0": tiles[0].extent, "name": tiles[0].path.stem}
    return np.array([(tile.x, tile.y) for tile in tiles], np.int64), facts


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's; arrays and texts stay."""
    return value.item() if isinstance(value, np.generic) else value


def _library() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ConfigError(f"bags are read with h5py ({error}); install it with: pip install 'mmkd[wsi]'") from error
    return h5py
