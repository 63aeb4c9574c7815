"""An export, pictures, and the vectors that mmkd computes of them; they are what every host has to give."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmkd.inference.model import Model, open_model
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import save
from tiny import tiny_config


@pytest.fixture(scope="session")
def host_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hosts") / "export"
    save(build_student(StudentSettings(config=tiny_config()), 0), folder)
    return folder


@pytest.fixture(scope="session")
def host_model(host_export: Path) -> Model:
    return open_model(str(host_export), "cpu")


@pytest.fixture(scope="session")
def host_images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(1)
    paths = [folder / f"{place}.png" for place in range(4)]
    for path in paths:
        Image.fromarray(draw.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    return paths
