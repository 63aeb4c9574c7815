"""Labels as pre-annotations: tasks with predictions and the labelling interface, both for import into Label Studio."""

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mmkd.folders.atomic import atomic_file, write_json
from mmkd.labels.label import Labelled

SHOWN = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")  # what a browser shows
ADDRESS = "/data/local-files/?d="  # of a file below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT
CHOICES, IMAGE = "label", "image"  # names in the interface


def write_label_studio(path: Path, source: Path, found: Labelled, classes: Sequence[str], version: str) -> int:
    """Tasks in `path`, the interface beside it as XML; a picture without a label has a prediction without result.

    version: of the model, as Label Studio shows it. Returns the number of pictures that are left out: those that no
    browser shows, or that are not a file of their own below the folder.
    """
    folder = folder_of(source)
    tasks = [_task(row, folder.name, version) for row in _rows(found) if _is_shown(folder, row["path"])]
    write_json(path, tasks)
    with atomic_file(path.with_suffix(".xml")) as stream:
        stream.write(interface(classes))
    return sum(int(table.num_rows) for table in found.tables) - len(tasks)


def folder_of(source: Path) -> Path:
    """Of the pictures. Label Studio's document root is the folder above: it takes only what lies below its root."""
    return (source if source.is_dir() else source.parent).resolve()


def interface(classes: Sequence[str]) -> bytes:
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name=IMAGE, value=f"${IMAGE}")
    choices = ElementTree.SubElement(view, "Choices", name=CHOICES, toName=IMAGE, choice="single", showInLine="true")
    for name in classes:
        ElementTree.SubElement(choices, "Choice", value=name)
    return ElementTree.tostring(view)


def _rows(found: Labelled) -> Iterator[Mapping[str, Any]]:
    for table in found.tables:
        yield from table.select(["id", "path", "label", "probability"]).to_pylist()


def _is_shown(folder: Path, name: str) -> bool:
    file = os.path.normpath(folder / name)
    return name.lower().endswith(SHOWN) and Path(file).is_relative_to(folder) and os.path.isfile(file)


def _task(row: Mapping[str, Any], folder: str, version: str) -> Mapping[str, Any]:
    score = float(row["probability"])
    choice = {"type": "choices", "from_name": CHOICES, "to_name": IMAGE, "score": score}
    result = [{**choice, "value": {"choices": [row["label"]]}}] if row["label"] else []
    return {
        "data": {IMAGE: ADDRESS + quote(f"{folder}/{row['path']}"), "id": row["id"]},
        "predictions": [{"model_version": version, "score": score, "result": result}],
    }
