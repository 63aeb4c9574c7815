"""Run by the Python that has FiftyOne, without mmkd: vectors and labels of the pictures of a folder, as JSON."""

import json
import sys
from pathlib import Path

import fiftyone.zoo as zoo
import numpy as np
from PIL import Image

export, out, classes, *images = sys.argv[1:]
model = zoo.load_zoo_model(
    "open-clip-torch", clip_model=f"local-dir:{export}", pretrained="", text_prompt="", classes=classes.split(",")
)
pictures = [np.asarray(Image.open(path)) for path in images]
labels = [found.label for found in model.predict_all(pictures)]
model.store_logits = False
vectors = [model.embed_prompt("a line").tolist()]
Path(out).write_text(json.dumps({"labels": labels, "texts": vectors}))
