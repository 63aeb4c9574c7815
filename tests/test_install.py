"""The package as it is installed: every file of the source is in it, and it works away from the repository."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import mmkd

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "mmkd"
REPORT = """
import sys, mmkd
from pathlib import Path
from mmkd.pipeline.recipe import load_recipe
from mmkd.pipeline.shipped import recipe_file
from mmkd.report.curation import sample_page
print(Path(mmkd.__file__).parent)
print(load_recipe(recipe_file(Path("demo")), Path("out")).name)
print("<h1>A sample</h1>" in sample_page("A sample", []))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the source, unpacked by pip."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(SOURCE, folder / "clone/src/mmkd", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "clone")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    alone = ["--no-index", "--no-deps", "--quiet"]
    made = [*pip, "wheel", *alone, "--no-build-isolation", "--wheel-dir", folder / "dist", folder / "clone"]
    subprocess.run(made, check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    subprocess.run([*pip, "install", *alone, "--target", folder / "site", wheel], check=True)
    return folder


def run(installed: Path, *arguments: str) -> str:
    away = {**os.environ, "PYTHONPATH": str(installed / "site")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=installed, env=away, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_source(installed: Path) -> None:
    (wheel,) = (installed / "dist").glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("mmkd/")}
    files = (path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert held == {path.relative_to(SOURCE.parent).as_posix() for path in files}


@pytest.mark.slow
def test_it_works_away_from_the_repository(installed: Path) -> None:
    assert run(installed, "-m", "mmkd", "--version") == f"mmkd {mmkd.__version__}\n"
    assert run(installed, "-c", REPORT).split("\n") == [str(installed / "site" / "mmkd"), "demo", "True", ""]
    assert "to do" in run(installed, "-m", "mmkd", "run", "demo", "--dry-run")
    assert len(run(installed, "-m", "mmkd", "datasets", "list", "--markdown").splitlines()) > 100


def test_extras_are_called_as_in_the_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *SOURCE.rglob("*.py")]
    named = {
        name
        for page in pages
        for found in re.findall(r"mmkd\[([\w,]+)\]|extras? (?:`\[?|\[)([\w,]+)[\]`]", page.read_text())
        for name in "".join(found).split(",")
    }
    assert {"dicom", "nifti", "track", "wsi"} <= named <= extras
    table = (ROOT / "docs/how-to/install.md").read_text().partition("| extra |")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == extras
