"""FiftyOne's open_clip loader opens the export. It has an environment of its own, since it needs another starlette."""

import json
from pathlib import Path

import numpy as np
import pytest
from hosts_python import needs_hosts, run_in_hosts
from PIL import Image

from mmkd.inference.model import Model

pytestmark = [pytest.mark.slow, needs_hosts]


def test_it_labels_as_mmkd_does(host_export: Path, host_model: Model, host_images: list[Path], tmp_path: Path) -> None:
    names, out = ["a round shadow", "a bright line"], tmp_path / "found.json"
    run_in_hosts(tmp_path, "fiftyone_embeds.py", host_export, out, ",".join(names), *host_images)
    found = json.loads(out.read_text())
    text_TD = np.array(found["texts"])
    text_TD /= np.linalg.norm(text_TD, axis=1, keepdims=True)
    np.testing.assert_allclose(text_TD, host_model.encode_texts([" a line"]), atol=1e-5)
    image_ND = host_model.encode_images([Image.open(path).convert("RGB") for path in host_images])
    best_N = (image_ND @ host_model.encode_texts([f" {name}" for name in names]).T).argmax(axis=1)
    assert found["labels"] == [names[place] for place in best_N]
