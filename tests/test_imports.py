"""Imports go down one list of folders, and importing what `--help` needs loads nothing heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "mmkd"

# A file may import from its own folder and from the lines above. Files directly below mmkd stand for themselves.
ORDER = (
    ("__init__", "errors", "output"),
    ("notebook",),
    ("progress", "reasons", "licences", "markdown", "distributed", "renamed", "randomness"),
    ("settings", "interpolate", "validation", "processes"),
    ("device",),
    ("folders",),
    ("executors",),
    ("images",),
    ("tables",),
    ("statistics",),
    ("statistics.survival",),
    ("modalities",),
    ("corpus",),
    ("corpus.export",),
    ("cards.catalog",),
    ("cards",),
    ("cards.readers",),
    ("curation.captions",),
    ("curation.settings",),
    ("curation.records",),
    ("curation.modality",),
    ("curation.panels",),
    ("curation.facts",),
    ("curation.filters",),
    ("curation.sources",),
    ("curation.ledger",),
    ("curation",),
    ("phantom",),
    ("teachers.zoo",),
    ("teachers.files",),
    ("teachers.encoders",),
    ("teachers.adapters",),
    ("teachers",),
    ("features",),
    ("features.evidence",),
    ("reliability",),
    ("student",),
    ("training.settings",),
    ("training.losses",),
    ("training.data",),
    ("training.experimental",),
    ("training.records",),
    ("training.targets",),
    ("training.objectives",),
    ("training",),
    ("evaluation.format",),
    ("evaluation.corruptions",),
    ("evaluation.models",),
    ("inference",),
    ("evaluation.heads",),
    ("evaluation.gallery",),
    ("evaluation.slides",),
    ("evaluation.survival",),
    ("evaluation.tasks",),
    ("evaluation.data_sets",),
    ("evaluation.leakage",),
    ("evaluation.summary",),
    ("evaluation",),
    ("report",),
    ("labels",),
    ("export",),
    ("archive",),
    ("adapt",),
    ("pipeline",),
    ("ablate",),
    ("api",),
    ("serve.engine",),
    ("serve.page",),
    ("serve",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
FILES = sorted(SOURCE.rglob("*.py"))


def module_of(path: Path) -> str:
    """`.../mmkd/corpus/schema.py` -> `corpus.schema`; of a package, the package."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {module_of(path) for path in FILES}


def folder_of(module: str) -> str:
    """`corpus.schema` -> `corpus`; a file directly below mmkd stands for itself."""
    if module in MODULES and (SOURCE / Path(*module.split(".")) / "__init__.py").is_file():
        return module
    return module.rpartition(".")[0] or module


def imported(path: Path) -> Iterator[str]:
    """The modules of mmkd that a file imports, wherever in it: inside functions and for types alone, too.

    Of the package itself none: it imports `api` at first use only, which a test of `api` looks at.
    """
    if path == SOURCE / "__init__.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mmkd":
            base = str(node.module).removeprefix("mmkd").lstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                yield inner if inner in MODULES else base or "__init__"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "mmkd":
                    yield alias.name.removeprefix("mmkd").lstrip(".") or "__init__"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down_the_list(path: Path) -> None:
    own = folder_of(module_of(path))
    assert own in LEVEL, f"{own} is not in ORDER: give it its place"
    backwards = {name for name in imported(path) if LEVEL[folder_of(name)] > LEVEL[own]}
    assert not backwards


def test_folders_form_no_cycle() -> None:
    """Follows from the list, and is looked at by itself: a list with two folders on one line could hide one."""
    arrows: dict[str, set[str]] = {}
    for path in FILES:
        own = folder_of(module_of(path))
        arrows.setdefault(own, set()).update(folder_of(name) for name in imported(path))
    while leaves := {name for name, targets in arrows.items() if not (targets & arrows.keys()) - {name}}:
        arrows = {name: targets for name, targets in arrows.items() if name not in leaves}
    assert not arrows


@pytest.mark.parametrize("path", SOURCE.rglob("__init__.py"), ids=lambda path: module_of(path))
def test_package_files_hold_a_docstring_at_most(path: Path) -> None:
    """Only the top one holds more: the version, and what it imports at first use."""
    body = ast.parse(path.read_text()).body
    assert len(body) == 1 or path.parent == SOURCE
    assert isinstance(body[0], ast.Expr)


def test_the_command_line_loads_no_heavy_library() -> None:
    code = "import sys, mmkd.cli; print([m for m in ('torch','datasets','open_clip','jinja2') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
