"""Which columns of a table hold what, and where the pictures lie that it names: guessed from names and values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmkd.folders.paths import IMAGE_SUFFIXES

NAMES = {  # our field -> what tables call it, in lower case
    "image": ("image", "image_path", "img", "file", "filename", "file_name", "filepath", "path", "image_id"),
    "caption": ("caption", "captions", "text", "report", "findings", "impression", "description"),
    "group": ("group", "patient", "patient_id", "patientid", "subject_id", "case", "case_id", "article", "pmcid"),
    "modality": ("modality",),
    "licence": ("licence", "license"),
}
TYPED = ("image", "caption")  # fields of which values tell as well
SCAN_SUFFIXES = (".dcm", ".nii", ".nii.gz")
Row = Mapping[str, Any]


def guessed(field: str, rows: Sequence[Row], names: Sequence[str]) -> str | None:
    """The column of a known name, images only where some values can be one; else the one whose values look like it."""
    called = [name for known in NAMES[field] for name in names if plain(name) == known]
    if field == "image":
        pictures = [name for name in names if any(_is_picture(row.get(name)) for row in rows)]
        called = [*(name for name in called if name in pictures), *pictures, *called]
    elif field == "caption":
        words = {name: sum(str(row.get(name)).count(" ") for row in rows) for name in names}
        called += [name for name in sorted(names, key=lambda name: -words[name]) if words[name] >= 2 * len(rows)]
    return next(iter(called), None)


def plain(name: str) -> str:
    """`Patient-ID ` is `patient_id`."""
    return "_".join(name.lower().replace("-", " ").replace("_", " ").split())


def _is_picture(value: object) -> bool:
    if isinstance(value, Mapping):
        return bool({"bytes", "path"} & value.keys())
    return isinstance(value, bytes) or str(value).lower().endswith((*IMAGE_SUFFIXES, *SCAN_SUFFIXES))


def guessed_template(folder: Path, value: str) -> str | None:
    """`{}` or `images/{}.png`: which file below the table's folder the value of its image column stands for."""
    within = ["", *sorted(f"{one.name}/" for one in folder.iterdir() if one.is_dir())]
    templates = [f"{before}{{}}{after}" for before in within for after in ("", *IMAGE_SUFFIXES)]
    return next((one for one in templates if (folder / one.replace("{}", value)).is_file()), None)
