"""The map of the packages: what each holds and which others it imports, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "mmkd"

HEAD = """# Architecture

Imports go in one direction: a package imports only packages that stand above it in this table.
`tests/test_imports.py` holds the order and checks every file, also between the folders inside a package.

The rules behind the order:

* A package owns one thing: a format, a stage, or a set of pure functions.
* A stage reads finished folders and writes one folder. Stages do not import each other.
* `pipeline` has the table of stages. `commands` and `cli.py` are the command line.
* No `__init__.py` holds more than a docstring, so importing a package loads nothing else.
"""


def package_page() -> str:
    """A row for each package, in the order in which they may import."""
    rows = [f"| `{name}` | {_purpose(name)} | {_list(_imports(name))} |" for name in _order()]
    return "\n".join([HEAD, "| package | what it holds | imports |", "|---|---|---|", *rows, ""])


def _order() -> Iterator[str]:
    """Packages and files directly below mmkd, as tests/test_imports.py orders them; each name once."""
    tree = ast.parse((ROOT / "tests" / "test_imports.py").read_text())
    (order,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ORDER"
    ]
    for names in order:
        yield from (name for name in names if not name.startswith("__"))


def _file(name: str) -> Path:
    folder = SOURCE / Path(*name.split("."))
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def _purpose(name: str) -> str:
    text = ast.get_docstring(ast.parse(_file(name).read_text())) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def _imports(name: str) -> list[str]:
    """First-level packages that the files of a package import, itself excluded."""
    path = _file(name)
    files = sorted(path.parent.glob("*.py")) if path.name == "__init__.py" else [path]
    found = {
        str(node.module).removeprefix("mmkd").lstrip(".").split(".")[0]
        for one in files
        for node in ast.walk(ast.parse(one.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mmkd"
    }
    return sorted(found - {"", name.split(".")[0]})


def _list(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
