"""FiftyOne's open_clip loader opens the export. It has an environment of its own, since it needs another starlette."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmkd.inference.model import Model

PYTHON = Path(os.environ.get("MMKD_HOSTS_PYTHON", Path(__file__).parents[2] / ".venv-hosts" / "bin" / "python"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.is_file(), reason=f"no FiftyOne: {PYTHON} not found; see docs/how-to/hosts.md"),
]


def test_it_labels_as_mmkd_does(host_export: Path, host_model: Model, host_images: list[Path], tmp_path: Path) -> None:
    names, out = ["a round shadow", "a bright line"], tmp_path / "found.json"
    own = {"FIFTYONE_DO_NOT_TRACK": "1", "HOME": str(tmp_path), "FIFTYONE_DATABASE_DIR": str(tmp_path / "db")}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | own
    script = Path(__file__).with_name("fiftyone_embeds.py")
    command = [PYTHON, script, host_export, out, ",".join(names), *host_images]
    subprocess.run(command, check=True, env=environment, timeout=300)
    found = json.loads(out.read_text())
    text_TD = np.array(found["texts"])
    text_TD /= np.linalg.norm(text_TD, axis=1, keepdims=True)
    np.testing.assert_allclose(text_TD, host_model.encode_texts([" a line"]), atol=1e-5)
    image_ND = host_model.encode_images([Image.open(path).convert("RGB") for path in host_images])
    best_N = (image_ND @ host_model.encode_texts([f" {name}" for name in names]).T).argmax(axis=1)
    assert found["labels"] == [names[place] for place in best_N]
