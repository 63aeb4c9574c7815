"""An export, pictures, and the vectors that mmkd computes of them; they are what every host has to give."""

from pathlib import Path

import pytest

from mmkd.inference.model import Model, open_model
from tiny import save_tiny, write_noise


@pytest.fixture(scope="session")
def host_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hosts") / "export"
    return save_tiny(folder)


@pytest.fixture(scope="session")
def host_model(host_export: Path) -> Model:
    return open_model(str(host_export), "cpu")


@pytest.fixture(scope="session")
def host_images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_noise(tmp_path_factory.mktemp("pictures"), 4, 1)
