"""`mmkd search`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmkd.commands.index import ARCHIVE_HELP, Server
from mmkd.commands.options import Json
from mmkd.commands.source_options import BurntIn, Device, Group, Modality, source_options
from mmkd.errors import ConfigError

if TYPE_CHECKING:
    from mmkd.archive.archive import Archive
    from mmkd.inference.pictures import SourceOptions
    from mmkd.statistics.metrics import Array

WHERE_HELP = (
    "Only pictures that meet a condition of SQL, as in \"modality = 'ct' AND caption LIKE '%effusion%'\". Columns: id, "
    "source, path, caption, modality, patient, series, slice."
)


def search(
    archive: Annotated[str, typer.Argument(metavar="ARCHIVE", help=ARCHIVE_HELP)],
    text: Annotated[str, typer.Argument(metavar="[TEXT]", help="What to search for, in words.")] = "",
    image: Annotated[Path | None, typer.Option("--image", help="Search for pictures like this one.")] = None,
    like: Annotated[str, typer.Option("--like", metavar="ID", help="Search for pictures like this one of it.")] = "",
    k: Annotated[int, typer.Option("-k", min=1, max=10_000, help="How many hits.")] = 10,
    where: Annotated[str, typer.Option("--where", help=WHERE_HELP)] = "",
    by: Annotated[
        str,
        typer.Option(
            "--by", help="picture, series or patient: of each only the picture or slice that matches best is a hit."
        ),
    ] = "picture",
    not_same_patient: Annotated[
        bool, typer.Option("--not-same-patient", help="Leave out pictures of the patient of --image or --like.")
    ] = False,
    patient: Annotated[
        str, typer.Option("--patient", help="That patient, where the picture's file does not name one.")
    ] = "",
    exact: Annotated[bool, typer.Option("--exact", help="Look at every picture also where there is an index.")] = False,
    model: Annotated[str, typer.Option("--model", help="The archive's model. [default: where it was then]")] = "",
    as_json: Json = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the hits to this CSV file, too.")] = None,
    page: Annotated[
        Path | None, typer.Option("--html", help="Write a page with the hits' thumbnails to this file, too.")
    ] = None,
    device: Device = "auto",
    server: Server = "",
    group: Group = "",
    modality: Modality = "",
    burnt_in: BurntIn = "drop",
) -> None:
    """Search an archive by words or by a picture. The score of a hit is the cosine.

    --group, --modality and --burnt-in say how the file of --image is read.
    """
    from mmkd.archive.archive import Archive
    from mmkd.archive.hits import plain, print_hits, write_csv, write_html
    from mmkd.folders.atomic import remove_drafts

    opened = Archive.open(archive, server)
    read = source_options(group=group, modality=modality, burnt_in=burnt_in)
    query = _query(opened, text, image, like, (model, device), read)
    excluded = _excluded(query, patient, not_same_patient)
    hits = opened.search(query.vector_D, k, where, excluded, by, exact)
    print(json.dumps([plain(hit) for hit in hits], indent=1)) if as_json else print_hits(hits)
    about = opened.about(where, excluded, by) if page or not as_json else ""
    if not as_json:
        print(about)
    remove_drafts(*filter(None, (out, page)))
    if out:
        write_csv(out, hits)
    if page:
        write_html(page, hits, query.shown, about, query.jpeg)


@dataclass(frozen=True)
class Query:
    """patient: "" where it is not known. jpeg: of a picture."""

    vector_D: "Array"
    shown: str
    patient: str = ""
    jpeg: bytes = b""


def _query(
    archive: "Archive", text: str, image: Path | None, like: str, model: tuple[str, str], read: "SourceOptions"
) -> Query:
    given = [name for name, value in {"TEXT": text, "--image": image, "--like": like}.items() if value]
    if len(given) != 1:
        raise ConfigError(f"give one of TEXT, --image and --like; given: {' and '.join(given) or 'none'}")
    if like:
        vector_D, row = archive.row(like)
        return Query(vector_D, f"pictures like {like}", row["patient"], row["thumbnail"])
    return _by_image(archive, image, model, read) if image else _by_text(archive, text, model)


def _by_text(archive: "Archive", text: str, model: tuple[str, str]) -> Query:
    return Query(archive.model(*model).encode_texts([text])[0], text)


def _by_image(archive: "Archive", image: Path, model: tuple[str, str], read: "SourceOptions") -> Query:
    from mmkd.archive.index import jpeg, one_picture

    picture, decoded = one_picture(image, read)
    vector_D = archive.model(*model).encode_images([decoded])[0]
    return Query(vector_D, f"pictures like {picture.path}", picture.group, jpeg(decoded))


def _excluded(query: Query, patient: str, wanted: bool) -> str:
    if not wanted:
        return ""
    if not (patient or query.patient):
        raise ConfigError(f"--not-same-patient: the patient of {query.shown!r} is not known; give --patient ID")
    return patient or query.patient
