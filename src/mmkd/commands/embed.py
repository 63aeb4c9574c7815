"""`mmkd embed`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mmkd.commands.executor_options import ExecutorSet, executor_for, takes_executor
from mmkd.commands.source_options import (
    BurntIn,
    Delimiter,
    Encoding,
    Group,
    Image,
    Modality,
    ModelName,
    Quoting,
    Root,
    Source,
    Step,
    WorkersOrThreads,
    source_options,
)


@takes_executor
def embed(
    source: Source,
    model: ModelName,
    out: Annotated[
        str,
        typer.Option("--out", metavar="FILE|ARCHIVE", help="Ends in .parquet or .npy; else the folder of an archive."),
    ],
    devices: Annotated[
        str, typer.Option("--devices", metavar="LIST", help="A process for each: auto, cpu, 0,1 or cpu,cpu.")
    ] = "auto",
    workers: WorkersOrThreads = 0,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Pictures that the model sees at once.")] = 32,
    image: Image = "",
    root: Root = None,
    group: Group = "",
    step: Step = None,
    modality: Modality = "",
    burnt_in: BurntIn = "drop",
    encoding: Encoding = "",
    delimiter: Delimiter = "",
    quoting: Quoting = "",
    changes: ExecutorSet = None,
    executor: Sequence[str] = (),
) -> None:
    """Write the vector of every picture, with its path, caption, patient, series and slice where they are known.

    Into a file, or into an archive for `mmkd search`, without thumbnails. A run that was killed goes on where it was.
    What cannot be read is listed beside the file, each with its reason. With --executor, workers share the pictures.
    """
    options = source_options(
        image=image, root=root, group=group, step=step, modality=modality, burnt_in=burnt_in, encoding=encoding,
        delimiter=delimiter, quoting=quoting,
    )  # fmt: skip
    chosen = executor_for([*executor, *(changes or [])])
    if is_archive(out):
        from mmkd.archive.embed import embed_into

        stored = embed_into(source, model, Path(out), options, device_names(devices), workers, batch, chosen)
        print(f"{stored.embedded.told}{stored.embedded.listed}")
        added = f"{stored.added.new:,} new, {stored.added.changed:,} changed, {stored.added.same:,} as before"
        print(f"{out}: {added}; {stored.rows:,} in all")
        return
    from mmkd.inference.embed import embed as body

    found = body(source, model, Path(out), options, device_names(devices), workers, batch, chosen)
    if found.embedded or found.rejected:  # under torchrun the first process speaks
        print(found)


def is_archive(out: str) -> bool:
    """A folder that is there, or a name that ends in `/` or has no suffix."""
    return out.endswith("/") or Path(out).is_dir() or not Path(out).suffix


def device_names(text: str) -> list[str]:
    """`0,1` are GPUs by their numbers."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return [f"cuda:{name}" if name.isdecimal() else name for name in names] or ["auto"]
