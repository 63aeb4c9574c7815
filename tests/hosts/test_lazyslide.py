"""LazySlide embeds the tiles of a slide with the export: its vectors are mmkd's."""

import json
from pathlib import Path

import numpy as np
import pytest
from hosts_python import needs_hosts, run_in_hosts
from PIL import Image
from slide_world import write_tiled_tiff

from mmkd.inference.model import Model

pytestmark = [pytest.mark.slow, needs_hosts]
SIDE = 48


def test_its_tiles_have_the_vectors_of_mmkd(host_export: Path, host_model: Model, tmp_path: Path) -> None:
    pixel_HW3 = np.random.default_rng(2).integers(0, 256, (300, 400, 3), np.uint8)
    slide = write_tiled_tiff(tmp_path / "slide.tiff", pixel_HW3)
    run_in_hosts(tmp_path, "lazyslide_embeds.py", host_export, slide, SIDE, tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    tiles = [Image.fromarray(pixel_HW3[y : y + SIDE, x : x + SIDE]) for x, y in found["places"]]
    assert len(tiles) == (300 // SIDE) * (400 // SIDE)
    assert {tile.size for tile in tiles} == {(SIDE, SIDE)}
    np.testing.assert_allclose(found["vectors"], host_model.encode_images(tiles), atol=1e-5)
