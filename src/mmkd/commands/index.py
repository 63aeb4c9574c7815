"""`mmkd index`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmkd.commands.source_options import (
    BurntIn,
    Delimiter,
    Device,
    Encoding,
    Group,
    Image,
    Modality,
    Quoting,
    Root,
    Step,
    source_options,
)
from mmkd.errors import ConfigError

if TYPE_CHECKING:
    from mmkd.archive.index import Indexed, Options

Server = Annotated[
    str,
    typer.Option(
        "--server",
        metavar="URL",
        help="Address of a Qdrant server that keeps the archive as a collection. Its key: QDRANT_API_KEY.",
    ),
]
SHOWN = 5  # pictures that were not read, each with its reason
ARCHIVE_HELP = "The archive's folder, or with --server the name of a collection."


def index(
    source: Annotated[
        Path | None, typer.Argument(metavar="[SOURCE]", help="Pictures: whatever `mmkd embed` reads.")
    ] = None,
    out: Annotated[str, typer.Option("--out", metavar="ARCHIVE", help=ARCHIVE_HELP)] = "archive",
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="A student's export, or any other model by name; int8:FOLDER takes the export's 8-bit ONNX files, "
            "faster on CPUs. [default: the archive's]",
        ),
    ] = "",
    delete: Annotated[
        list[str] | None, typer.Option("--delete", metavar="ID", help="Delete this picture, and index nothing.")
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete the pictures of SOURCE that are no longer in it.")
    ] = False,
    prefix: Annotated[
        str, typer.Option("--prefix", help="Before each id, where two sources have pictures of the same ids.")
    ] = "",
    moved: Annotated[
        bool, typer.Option("--moved", help="SOURCE is one that the archive has, in another place.")
    ] = False,
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails/--no-thumbnails", help="Keep a small copy of each picture for the hits.")
    ] = True,
    device: Device = "auto",
    server: Server = "",
    workers: Annotated[int, typer.Option("--workers", min=0, help="Threads that decode. [default: processors]")] = 0,
    image: Image = "",
    root: Root = None,
    group: Group = "",
    step: Step = None,
    modality: Modality = "",
    burnt_in: BurntIn = "drop",
    encoding: Encoding = "",
    delimiter: Delimiter = "",
    quoting: Quoting = "",
) -> None:
    """Embed pictures and keep them in an archive that `mmkd search` searches by words and by pictures.

    Run again on the same source, it adds what is new and replaces what has changed. Rows are safe as soon as they are
    written: a run that was killed goes on where it was.
    """
    if delete:
        _delete(out, server, delete, source)
        return
    if source is None:
        raise ConfigError("name the SOURCE of the pictures, or --delete ID")
    if not source.exists():
        raise ConfigError(f"{source}: no such file or folder")
    read = source_options(
        image=image, root=root, group=group, step=step, modality=modality, burnt_in=burnt_in, encoding=encoding,
        delimiter=delimiter, quoting=quoting,
    )  # fmt: skip
    from mmkd.archive.index import Options

    workers = workers or len(os.sched_getaffinity(0))
    _index(source, out, model, device, server, Options(prefix, moved, prune, thumbnails, workers, read))


def _delete(out: str, server: str, ids: list[str], source: Path | None) -> None:
    from mmkd.archive.archive import Archive

    if source is not None:
        raise ConfigError(f"--delete deletes pictures by id and indexes nothing; leave out {source}")
    archive = Archive.open(out, server)
    gone = archive.delete(ids)
    archive.store.tidy()
    print(f"deleted {gone:,}; {len(archive):,} pictures are left in {out}")


def _index(source: Path, out: str, model: str, device: str, server: str, options: "Options") -> None:
    from mmkd.archive.archive import Archive
    from mmkd.archive.index import index as body
    from mmkd.archive.rows import facts_of
    from mmkd.inference.model import absolute, open_model

    name = absolute(model or Archive.open(out, server).facts.model)
    opened = open_model(name, device)
    archive = Archive.create(out, facts_of(opened, name), server)
    found = body(source, opened, archive, options)
    notes = archive.finish(opened.encode_texts, found.is_changed)
    _report(found, out, notes, archive.store.unit)


def _report(found: "Indexed", out: str, notes: dict[str, Any], unit: str) -> None:
    added = found.added
    print(f"{out}: {added.new:,} new, {added.changed:,} changed, {added.same:,} as before; {notes['rows']:,} in all")
    for reason, count in found.reasons().items():
        print(f"  {count:,} not read: {reason}")
    for one in found.rejected[:SHOWN]:
        print(f"    {one.where}: {one.detail}")
    for note, count in found.noted.items():
        print(f"  {count:,} noted: {note}")
    if found.pruned:
        print(f"  {found.pruned:,} deleted that are no longer in the source")
    elif found.gone:
        print(f"  {len(found.gone):,} are no longer in the source but still in the archive; --prune deletes them")
    if notes["effort"] is None:
        print("  every search looks at all pictures (exact)")
    else:
        kinds = ", ".join(f"{value:.3f} for {kind} queries" for kind, value in notes["recall"].items())
        print(
            f"  approximate index: recall@10 against exact search {kinds}, with {notes['effort']:,} {unit}; "
            f"{notes['p50_ms']:.0f} ms a query"
        )
