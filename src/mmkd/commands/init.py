"""`mmkd init`: a commented recipe for a table of one's own, and a card for its held-out pairs."""

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmkd.commands.source_options import Encoding, declared_dialect
from mmkd.errors import ConfigError, DataError

if TYPE_CHECKING:
    from mmkd.tables.dialect import Declared

JOINED = ". Where scans and reports share a number, see docs/how-to/reports.md"
ROWS = 50  # that are looked at
EVIDENCE = 'modality.by = "evidence"                        # the table does not state it: captions tell\n'
TOML = """\
# Written by `mmkd {command}`. `mmkd curate {file} --dry-run` tries the pairs, `mmkd run {file}` does everything.
# docs/reference/recipe.md lists all keys. Paths are relative to this file.
name = "{name}"
teachers = ["biomedclip", "quiltnet", "plip"]   # names of `mmkd teachers list`, or models of your own
# seed = 0                                      # of every random choice

[curate]
val = 0.1                                       # share of the groups (patients, articles) that is held out
{modality}
[[curate.sources]]
kind = "{kind}"
path = {path}
{source}

[student]
model = "ViT-B-16"                              # an architecture of open_clip

[evaluate]
variables = {{ out = "${{out}}" }}
cards = [{card}]   # retrieval on the held-out pairs; add cards of your own test sets
"""
CARD = """\
# Written by mmkd: captions are found for images and images for captions, among the held-out pairs of the corpus.
id = "{id}"
modality = "mixed"
tasks = ["retrieval"]
licence = "per record, see the corpus"
[layout]
reader = "corpus"
path = "${{out}}/corpus"
split = "val"
"""
NO_TABLE = "folders and tars are named in a recipe, kind = dicom, nifti, folders or webdataset: docs/how-to/curate.md"
Column = Annotated[str | None, typer.Option(metavar="COLUMN", help="Which it is, where the guess is wrong.")]


def init(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="Images and captions, a row each: CSV, TSV, JSON lines, Parquet.")
    ] = Path("pairs.csv"),
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="The file to write.")] = Path("my.toml"),
    image: Column = None,
    caption: Column = None,
    encoding: Encoding = "",
) -> None:
    """Write a commented recipe for a table of your own, and a card that evaluates on its held-out pairs.

    The columns of images and captions are guessed from their names and values. No file is overwritten.
    """
    if taken := [str(path) for path in (recipe, card_of(recipe)) if path.exists()]:
        raise ConfigError(f"{' and '.join(taken)} exist already; move them, or give another name: --recipe FILE")
    declared = declared_dialect(encoding=encoding)
    rows = _first_rows(table, declared)
    columns = _columns(table, rows, {"image": image, "caption": caption})
    source = [f"encoding = {_toml(encoding)}"] * bool(encoding) + _source(table, rows, columns)
    modality = "" if "modality" in columns else EVIDENCE
    write_recipe(recipe, "init", "table", os.path.relpath(table, recipe.parent), source, modality)
    for field, column in columns.items():
        print(f"{field:9s}column {column!r}")
    print(f"written: {recipe}, {card_of(recipe)}\nnext:    mmkd curate {shlex.quote(str(recipe))} --dry-run")


def write_recipe(
    recipe: Path, command: str, kind: str, path: str, source: Sequence[str] = (), modality: str = ""
) -> None:
    """The card, then a recipe with one source, in place of what stands there. source: further keys; modality: a line of
    [curate]."""
    from mmkd.folders.atomic import atomic_file

    name, card = safe_name(recipe.stem), card_of(recipe)
    with atomic_file(card) as stream:
        stream.write(CARD.format(id=f"{name.lower()}-held-out").encode())
    keys = {"command": command, "kind": kind, "path": _toml(path), "source": "\n".join(source), "modality": modality}
    with atomic_file(recipe) as stream:
        stream.write(TOML.format(file=recipe.name, name=name, card=_toml(card.name), **keys).encode())


def safe_name(text: str) -> str:
    """Of a run, like the text."""
    return re.sub(r"[^A-Za-z0-9._-]+|^[._-]+", "-", text).strip("-") or "mine"


def card_of(recipe: Path) -> Path:
    """The file of its held-out pairs."""
    return recipe.with_name(f"{recipe.stem}-held-out.toml")


def _first_rows(table: Path, declared: "Declared") -> list[Mapping[str, Any]]:
    from itertools import islice

    from mmkd.reasons import BadRecordError
    from mmkd.tables.formats import dialect_of, format_of, not_decodable, unknown_table

    if table.is_dir():
        raise ConfigError(f"{table}: a folder, expected a table; {NO_TABLE}")
    if not table.is_file():
        raise ConfigError(f"{table}: no such file; give your table: mmkd init TABLE")
    if (found := format_of(table, dialect_of(table, declared))) is None:
        raise ConfigError(f"{unknown_table(table)}; {NO_TABLE}")
    read = [row for _, row in islice(found.all_rows(table), ROWS)]
    if not declared.encoding and (lost := not_decodable(table, declared)):
        raise DataError(f"{lost}; or --encoding utf-8 to leave them out")
    if rows := [row for row in read if isinstance(row, Mapping)]:
        return rows
    unread = [row.detail for row in read if isinstance(row, BadRecordError)]
    raise DataError(f"{table}: no row can be read{''.join(f'; the first: {why}' for why in unread[:1])}")


def _columns(table: Path, rows: Sequence[Mapping[str, Any]], told: Mapping[str, str | None]) -> dict[str, str]:
    """Our field -> the table's column. Raises ConfigError where images or captions are in none that is known."""
    from mmkd.tables.guess import NAMES, TYPED, guessed

    names = list(dict.fromkeys(name for row in rows for name in row))
    found: dict[str, str] = {}
    for field in NAMES:
        column = told.get(field) or guessed(field, rows, [name for name in names if name not in found.values()])
        if column is not None and column in names:
            found[field] = column
        elif field in TYPED:
            problem = f"no column {column!r}" if column else f"no column looks like {field}s"
            raise ConfigError(
                f"{table}: {problem} among {', '.join(names)}; name it: --{field} COLUMN{JOINED * (field == 'image')}"
            )
    return found


def _source(table: Path, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> list[str]:
    """The other keys of the source, with comments."""
    from mmkd.tables.values import caption_cell

    named = ", ".join(f"{field} = {_toml(column)}" for field, column in columns.items() if field != column)
    lines = [f"columns = {{ {named} }}   # our field = the table's column"] if named else []
    files = [str(row[columns["image"]]) for row in rows if isinstance(row.get(columns["image"]), str)]
    if any(isinstance(caption_cell(row.get(columns["caption"])), list) for row in rows):
        lines.append('captions = "all"                                # of a list of captions; or "first"')
    lines += _places(table.parent, files)
    if "modality" not in columns:
        lines.append('# modality = "x-ray"                            # of all rows; else their captions tell')
    if "group" not in columns:
        lines.append("# group = '^(patient-[0-9]+)'                   # finds the patient in the name of an image")
    if "licence" not in columns:
        lines.append('# licence = "CC BY 4.0"                         # of all rows')
    return lines


def _places(folder: Path, files: Sequence[str]) -> list[str]:
    """Keys that lead from the image column's values to files."""
    from mmkd.tables.guess import guessed_template

    if not files or (folder / files[0]).is_file():
        outside = [file for file in files if not os.path.realpath(folder / file).startswith(f"{folder.resolve()}/")]
        parents = [os.path.dirname(os.path.realpath(folder / file)) for file in outside]
        return [f"root = {_toml(os.path.commonpath(parents))}   # images lie there"] if outside else []
    fits = guessed_template(folder, files[0])
    if fits is None:
        return [f'# images = "images/{{}}.png"   # no file {files[0]} beside the table: say where images lie']
    return [f"images = {_toml(fits)}   # {{}} stands for the image column's value"]


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
