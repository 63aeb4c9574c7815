"""What can be said of a recipe's teachers, without or with loading them."""

from collections.abc import Sequence
from typing import Any

from mmkd.errors import ConfigError, ModelError
from mmkd.progress import table_width
from mmkd.teachers.settings import TeacherSpec


def describe(specs: Sequence[TeacherSpec], names: Sequence[str], check: bool) -> list[dict[str, Any]]:
    """One row a teacher; `check` adds dimension and a self-test, or the error. Raises ConfigError for unknown names."""
    known = {spec.name: spec for spec in specs}
    for name in names:
        if name not in known:
            raise ConfigError(f"no teacher {name!r} in the recipe; it has {', '.join(known)}")
    chosen = [known[name] for name in names] if names else list(specs)
    rows = [{**spec.model_dump(exclude_none=True)} for spec in chosen]
    return [row | _check(spec) for row, spec in zip(rows, chosen, strict=True)] if check else rows


def _check(spec: TeacherSpec) -> dict[str, Any]:
    """Load the teacher and embed a black and a white image: their vectors must be finite, of norm 1 and different."""
    import torch
    from PIL import Image

    from mmkd.teachers.load import load_teacher

    try:
        teacher = load_teacher(spec, torch.device("cpu"))
    except ModelError as error:
        return {"error": str(error)}
    images = torch.stack([teacher.transform(Image.new("RGB", (64, 64), colour)) for colour in ("black", "white")])
    vectors = teacher.encode_images(images)
    norms = vectors.norm(dim=1)
    if not torch.allclose(norms, torch.ones(2), atol=1e-4) or torch.equal(vectors[0], vectors[1]):
        return {"dim": teacher.dim, "error": "self-test failed: two different images have equal or non-unit vectors"}
    return {"dim": teacher.dim, "self_test": "passed"}


def print_teachers(rows: Sequence[dict[str, Any]]) -> None:
    """The rows as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("teacher", "library", "model", "licence", "dimension", "state")
    for row in rows:
        state = row.get("error") or row.get("self_test") or "not loaded; use --check"
        table.add_row(row["name"], row["library"], row["model"], row["licence"], str(row.get("dim", "")), state)
    Console(width=table_width(8)).print(table)
