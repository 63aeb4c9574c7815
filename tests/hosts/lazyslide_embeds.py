"""Run by the Python that has LazySlide, without mmkd: vectors of the tiles of a slide, and where they lie, as JSON."""

import json
import sys
from pathlib import Path

import lazyslide
import open_clip
from PIL import Image
from wsidata import open_wsi

export, slide, side, out = sys.argv[1:]
student, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{export}")
student.eval()
wsi = open_wsi(slide)
lazyslide.pp.tile_tissues(wsi, int(side), tissue_key=None)
lazyslide.tl.feature_extraction(
    wsi,
    lambda tile_BCHW: student.encode_image(tile_BCHW, normalize=True),
    model_name="student",
    transform=lambda tile: preprocess(Image.fromarray(tile)),
    device="cpu",
)
bounds = wsi.shapes["tiles"].bounds[["minx", "miny"]].to_numpy().astype(int).tolist()
vectors = wsi.fetch.features_anndata("student").X.tolist()
Path(out).write_text(json.dumps({"places": bounds, "vectors": vectors}))
