"""`mmkd adapt`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmkd.commands.options import Force, Json
from mmkd.commands.source_options import Delimiter, Device, Encoding, ModelName, Quoting, Root, declared_dialect
from mmkd.errors import ConfigError

if TYPE_CHECKING:
    from mmkd.adapt.adapt import Adapted


def adapt(
    model: ModelName,
    labels: Annotated[
        Path,
        typer.Option("--labels", metavar="TABLE", help="Columns of pictures and labels; group and split if known."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The model with its classifier.")],
    classes: Annotated[
        str, typer.Option("--classes", metavar="LIST", help="As for `mmkd label`. [default: the labels of the table]")
    ] = "",
    prompt: Annotated[
        str, typer.Option("--prompt", help="Without --classes: the text of a class, {} stands for its label.")
    ] = "{}",
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column", metavar="OURS=NAME", help="Column of image, label, group or split. [default: guessed]"
        ),
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option("--vectors", metavar="FILE", help="Parquet of `mmkd embed`, instead of the pictures.")
    ] = None,
    root: Root = None,
    encoding: Encoding = "",
    delimiter: Delimiter = "",
    quoting: Quoting = "",
    folds: Annotated[int, typer.Option("--folds", min=2, help="Outer ones, without a split test in the table.")] = 5,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Draws of 1, 4 and 16 labels a class.")] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of folds, draws and intervals.")] = 0,
    lora: Annotated[bool, typer.Option("--lora", help="Also tune the image tower by LoRA; wants a GPU.")] = False,
    lora_epochs: Annotated[int, typer.Option("--lora-epochs", min=1, help="At most.")] = 30,
    lora_rank: Annotated[int, typer.Option("--lora-rank", min=1, help="Of the changes.")] = 4,
    lora_lr: Annotated[float, typer.Option("--lora-lr", min=1e-8, help="Learning rate.")] = 1e-3,
    device: Device = "auto",
    workers: Annotated[int, typer.Option("--workers", min=0, help="Threads that decode. [default: processors]")] = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a classifier of labelled pictures, and say what 1, 4, 16 and all labels a class are worth.

    Seconds on a CPU: a linear classifier on the model's vectors, between the prompts and the labels, chosen on inner
    folds. Where they show no clear gain, zero-shot is published.
    """
    from mmkd.adapt.adapt import Request
    from mmkd.adapt.adapt import adapt as body
    from mmkd.adapt.adapt import as_json as plain
    from mmkd.adapt.lora import LoraSettings
    from mmkd.adapt.measure import Protocol

    protocol = Protocol(folds=folds, seeds=seeds, seed=seed)
    settings = LoraSettings(rank=lora_rank, epochs=lora_epochs, lr=lora_lr) if lora else None
    named = _columns(column or [])
    declared = declared_dialect(encoding=encoding, delimiter=delimiter, quoting=quoting)
    request = Request(
        model, labels, classes, prompt, named, vectors, root, device, workers, protocol, settings, declared
    )
    if not labels.is_file():
        raise ConfigError(f"--labels {labels}: no such file; give a table with a column of pictures and one of labels")
    found = body(request, out, force)
    if found is not None:
        print(json.dumps(plain(found), indent=1)) if as_json else _report(found)


def _columns(given: list[str]) -> dict[str, str]:
    """Our column -> the table's; ours by any name that tables have for it, as `path` for `image`."""
    from mmkd.adapt.table import COLUMNS

    ours_of = {name: ours for ours, names in COLUMNS.items() for name in names}
    found = {}
    for one in given:
        asked, _, name = one.partition("=")
        ours = ours_of.get(asked)
        if ours is None or not name:
            raise ConfigError(f"--column {one}: expected one of {', '.join(COLUMNS)}, =, and the table's column")
        found[ours] = name
    return found


def _report(found: "Adapted") -> None:
    from mmkd.adapt.words import chosen, heads_and_lines, verdict
    from mmkd.progress import print_table

    print(f"balanced accuracy in percent on {found.rows[-1].tested:,} pictures, {found.folds}")
    heads, lines = heads_and_lines(found.rows)
    print_table(heads, lines, texts=heads[-2:])
    for note in found.notes:
        print(f"note: {note}")
    for reason, count in found.rejected.most_common():
        print(f"{count:10,}  not read: {reason}")
    facts = found.classifier.facts
    print(verdict(found.row))
    print(chosen(facts, found.choice.why))
    if facts.temperature_note:
        print(facts.temperature_note)
    print(f"written: {found.folder}")
