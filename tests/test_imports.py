"""Imports go one way along the flow, and importing what `--help` needs loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "mmkd"

# a module may import from its own line and from the lines above
LAYERS = (
    ("atomic", "errors", "progress", "__init__"),
    ("settings", "interpolate", "licences", "locks", "validation"),
    ("stage",),
    ("arrow_folder", "device", "distributed", "doctor", "processes", "together"),
    ("corpus",),
    ("image_transform", "open_clip_folder"),
    ("features",),
    ("teachers",),
    ("calibrate",),
    ("student",),
    ("training",),
    ("evaluation",),
    ("report",),
    ("recipe",),
    ("run",),
    ("flow", "import_reference", "preflight"),
    ("ablate",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(SOURCE.rglob("*.py"))


def part_of(module: str) -> str:
    """`mmkd.corpus.clean` -> `corpus`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mmkd":
            names = [f"mmkd.{alias.name}" for alias in node.names] if node.module == "mmkd" else [node.module]
            found |= {part_of(name) for name in names if part_of(name) in LEVEL}
        elif isinstance(node, ast.Import):
            found |= {part_of(alias.name) for alias in node.names if alias.name.split(".")[0] == "mmkd"}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path) -> None:
    own = path.relative_to(SOURCE).with_suffix("").parts[0]
    assert own in LEVEL, f"{own} is not in LAYERS: give it its place in the flow"
    backwards = {name for name in imported(path) if LEVEL[name] > LEVEL[own]}
    siblings = {name for name in imported(path) if LEVEL[name] == LEVEL[own] and name != own and LEVEL[own] > 3}
    assert not backwards | siblings


@pytest.mark.parametrize("path", SOURCE.rglob("__init__.py"), ids=lambda path: path.parent.name)
def test_package_files_hold_a_docstring_at_most(path: Path) -> None:
    body = ast.parse(path.read_text()).body
    allowed = 2 if path.parent == SOURCE else 1  # the top one also holds the version
    assert len(body) <= allowed
    assert isinstance(body[0], ast.Expr)


def test_the_command_line_loads_no_heavy_library() -> None:
    code = "import sys, mmkd.cli; print([m for m in ('torch','datasets','open_clip','plotly') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
