"""The reference page of what `mmkd` offers from Python: signatures and docstrings, as the source has them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import mmkd
from mmkd.pipeline.table import STAGES

API = Path(__file__).parents[2] / "src" / "mmkd" / "api"
CLASSES = {"model.py": ("LoadedModel", "Adaptation"), "runs.py": ("RunFolder",)}
WIDEST = 100  # of a signature in one line
HEAD = """# Python API

[From Python](../how-to/python.md) is the guide; the notebooks in `examples/` show it at work.

N pictures, T texts, D dimensions. An `ImageLike` is a path (also of a DICOM or NIfTI file), the bytes of a file, a
Pillow image, or an array of uint8 of shape (H, W) or (H, W, 3). Wrong input raises a `ConfigError` or `DataError` of
`mmkd.errors`, which says what was found, what was expected and what to do.
"""


def api_page() -> str:
    """The functions, the classes that they return with their methods, and the stages."""
    trees = {path.name: ast.parse(path.read_text()) for path in sorted(API.glob("*.py"))}
    functions = {node.name: node for tree in trees.values() for node in tree.body if isinstance(node, ast.FunctionDef)}
    exported = [name for name in mmkd.__all__ if name in functions]
    lines = [HEAD]
    for name in exported:
        lines += [f"## mmkd.{name}", "", *_described(functions[name])]
    lines += [*_stages(), ""]
    for file, names in CLASSES.items():
        classes = {node.name: node for node in trees[file].body if isinstance(node, ast.ClassDef)}
        for name in names:
            lines += _class(classes[name])
    return "\n".join(lines)


def _class(node: ast.ClassDef) -> Iterator[str]:
    yield from (f"## {node.name}", "", ast.get_docstring(node) or "", "")
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and not one.name.startswith("_"):
            yield from (f"### {node.name}.{one.name}", "", *_described(one))


def _described(node: ast.FunctionDef) -> Iterator[str]:
    yield from ("```py", _signature(node), "```", "", ast.get_docstring(node) or "", "")


def _signature(node: ast.FunctionDef) -> str:
    """As it is called: without self, and the names of types without quotes."""
    arguments = list(_arguments(node.args))
    returns = f" -> {_type(node.returns)}" if node.returns else ""
    line = f"{node.name}({', '.join(arguments)}){returns}"
    inner = "".join(f"    {part},\n" for part in arguments)
    return line if len(line) <= WIDEST else f"{node.name}(\n{inner}){returns}"


def _arguments(given: ast.arguments) -> Iterator[str]:
    """By their place, then `*` and those by name; `**` last."""
    without = len(given.args) - len(given.defaults)
    for place, one in enumerate(given.args):
        if one.arg != "self":
            yield _argument(one, given.defaults[place - without] if place >= without else None)
    if given.kwonlyargs:
        yield "*"
    for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _argument(one, default)
    if given.kwarg:
        yield f"**{_argument(given.kwarg, None)}"


def _argument(one: ast.arg, default: ast.expr | None) -> str:
    kind = f": {_type(one.annotation)}" if one.annotation else ""
    return f"{one.arg}{kind}" if default is None else f"{one.arg}{kind} = {ast.unparse(default)}"


def _type(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) and node.value is not None else ast.unparse(node)


def _stages() -> Iterator[str]:
    yield "## mmkd.stages\n"
    yield 'Each stage as a function with the arguments of `mmkd.run`: `mmkd.stages.curate("my.toml")`.\n'
    yield "| stage | what it does |\n|---|---|"
    yield from (f"| `{name}` | {' '.join(spec.help.split())} |" for name, spec in STAGES.items())
