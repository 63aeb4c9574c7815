"""Options of the commands that read pictures out of any source."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mmkd.errors import ConfigError

if TYPE_CHECKING:
    from mmkd.inference.pictures import SourceOptions
    from mmkd.settings import Settings
    from mmkd.tables.dialect import Declared

Source = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        help="A folder of pictures, DICOM files, NIfTI volumes and tars; a table (CSV, TSV, JSON lines, Parquet, "
        "Arrow); a tar, an npz, a corpus or a run of mmkd; or a single file.",
    ),
]
ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="M",
        help="A student's export, or any other model by folder or name. int8:FOLDER takes the export's 8-bit ONNX "
        "files, faster on CPUs.",
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
WorkersOrThreads = Annotated[
    int,
    typer.Option(
        "--workers",
        min=0,
        help="Threads that decode, of as many as there are processors; with --executor, its workers at a time.",
    ),
]
Image = Annotated[str, typer.Option("--image", metavar="COLUMN", help="Of a table: the pictures. [default: guessed]")]
Root = Annotated[
    Path | None, typer.Option("--root", metavar="FOLDER", help="Pictures that a table or a link names may lie below.")
]
Group = Annotated[
    str, typer.Option("--group", metavar="PATTERN", help="Finds the patient in a picture's path: '^(patient-[0-9]+)'.")
]
Step = Annotated[
    int | None,
    typer.Option(
        "--step",
        min=0,
        help="Every so many slices and frames, 0 for the middle one. [default: all; of a volume in a table the middle]",
    ),
]
Modality = Annotated[
    str, typer.Option("--modality", help="Of pictures that do not state theirs; CT decides what is padding in NIfTI.")
]
BurntIn = Annotated[
    str, typer.Option("--burnt-in", help="DICOM files whose header says that text is burnt in: drop or keep.")
]
Encoding = Annotated[str, typer.Option("--encoding", metavar="NAME", help="Of a text table, such as cp1252.")]
Delimiter = Annotated[
    str, typer.Option("--delimiter", metavar="CHARACTER", help="Of a text table. [default: by its header line]")
]
Quoting = Annotated[
    str, typer.Option("--quoting", help="Of a text table: csv, or none where quotation marks are letters.")
]


def source_options(**given: Any) -> "SourceOptions":
    """Raises ConfigError that names the option."""
    from mmkd.inference.pictures import SourceOptions

    return _checked(SourceOptions, given)


def declared_dialect(**given: Any) -> "Declared":
    """Of a text table: encoding, delimiter, quoting. Raises ConfigError that names the option."""
    from mmkd.tables.dialect import TextTable

    return _checked(TextTable, given).declared


Checked = TypeVar("Checked", bound="Settings")


def _checked(kind: type[Checked], given: Mapping[str, Any]) -> Checked:
    from pydantic import ValidationError

    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0] if first["loc"] else "").replace("_", "-")
        raise ConfigError(f"--{option} {first['input']!r}: {first['msg'].removeprefix('Value error, ')}") from None
