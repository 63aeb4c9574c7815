"""`mmkd evidence`: the stage's command, which also shows what it found."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from mmkd.commands.options import DryRun, Force, Json, Out, RecipeFile, Set, open_run
from mmkd.progress import print_table

LISTED = 20


def evidence(
    recipe: RecipeFile,
    out: Out = None,
    changes: Set = None,
    force: Force = False,
    listed: Annotated[int, typer.Option("--list", min=0, help="Conflicts to print.")] = LISTED,
    as_json: Json = False,
    dry_run: DryRun = False,
) -> None:
    """The stage, and what it found."""
    from mmkd.features.evidence.settings import EvidenceSettings
    from mmkd.pipeline.work import work_one

    work = open_run(recipe, out, changes, force)
    if work.recipe.evidence is None:
        work = replace(work, recipe=work.recipe.model_copy(update={"evidence": EvidenceSettings()}))
    work_one(work, "evidence", dry_run)
    if dry_run:
        return
    show(work.out / "evidence", listed, as_json)
    if not as_json:
        from mmkd.report.evidence import PAGE

        page = work.out / "evidence" / PAGE  # folders made before there was one have none
        print(f"with pictures: {page}" if page.is_file() else f"no {PAGE}: delete {page.parent} to make it anew")


def show(folder: Path, listed: int, as_json: bool = False) -> None:
    """Print what `evidence.json` in a finished folder says."""
    from mmkd.features.evidence.stored import FACTS_FILE

    facts: dict[str, Any] = json.loads((folder / FACTS_FILE).read_text())
    print(json.dumps(facts, indent=1)) if as_json else _print(facts, listed)


def _print(facts: Mapping[str, Any], listed: int) -> None:
    print_table(
        ("teacher", "balanced accuracy", "of rows"),
        [(one["teacher"], f"{one['accuracy']:.2f}", f"{one['rows']:,}") for one in facts["teachers"]],
    )
    print_table(("vote of the teachers", "known rows", "right", "share", "rows with a vote"), _votes(facts))
    print("; ".join(f"{kind} names a modality in {rows:,} rows" for kind, rows in facts["spoken"].items()))
    print_table(
        ("agreement", "rows", "agree", "kappa"),
        [
            (f"{one['one']} - {one['other']}", f"{one['records']:,}", f"{one['share']:.1%}", f"{one['kappa']:.3f}")
            for one in facts["agreement"]
        ],
    )
    print(f"{facts['disputed']:,} pairs with contradicting evidence")
    for one in facts["conflicts"][:listed]:
        print(one["id"], ", ".join(f"{kind}: {modality}" for kind, modality in one["said"].items()))


def _votes(facts: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Of each modality: votes for it on rows whose caption names one, how many are right, how many rows get a vote."""
    lines: list[tuple[str, ...]] = []
    for name in facts["modalities"]:
        cells = [cell for cell in facts["trust"] if cell["modality"] == name]
        rows, right = (sum(cell[count] for cell in cells) for count in ("rows", "right"))
        speak = sum(cell["rows"] for cell in cells if cell["speaks"])
        lines.append((name, f"{rows:,}", f"{right:,}", f"{right / rows:.1%}" if rows else "-", f"{speak:,}"))
    return lines
