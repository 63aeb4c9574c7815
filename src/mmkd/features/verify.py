"""Loaded teachers against the vectors that the public MMKD-CLIP data store: which published variant made them?

Letters: N records, D dimensions of a teacher.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkd.errors import ConfigError, DataError, ModelError
from mmkd.features.from_reference import FEATURES, SUFFIX, load_vectors, records
from mmkd.folders.paths import read_inside
from mmkd.images.decode import decode
from mmkd.reasons import BadRecordError
from mmkd.teachers.encoders.teacher import Teacher
from mmkd.teachers.files.locate import TEACHERS, Files, find_weights, places
from mmkd.teachers.load import load_entry
from mmkd.teachers.zoo.entry import ZooEntry
from mmkd.validation import nearest

FITS = 0.999  # cosine that every record must reach on both sides; other roundings stay above, other models do not
Estimate = Literal["fits", "does not fit", "weights missing", "does not load"]
IMAGE_BATCH = 16


@dataclass(frozen=True)
class Agreement:
    """Cosines between a teacher's vectors and the stored ones, one a record."""

    image_N: list[float]
    text_N: list[float]

    @property
    def fits(self) -> bool:
        return min(*self.image_N, *self.text_N) >= FITS

    @property
    def mean(self) -> float:
        return (sum(self.image_N) + sum(self.text_N)) / (len(self.image_N) + len(self.text_N))

    def to_json(self) -> dict[str, Any]:
        sides = {"image": self.image_N, "text": self.text_N}
        return {k: {"min": min(v), "mean": sum(v) / len(v), "cosines": v} for k, v in sides.items()}


def agreement(image_ND: Tensor, text_ND: Tensor, stored_image_ND: Tensor, stored_text_ND: Tensor) -> Agreement:
    """Compare row by row; norms do not count. Raises ValueError for no rows, other shapes or values not finite."""
    pairs = [(image_ND, stored_image_ND), (text_ND, stored_text_ND)]
    for found_ND, stored_ND in pairs:
        if found_ND.shape != stored_ND.shape or not len(found_ND):
            raise ValueError(f"found vectors {tuple(found_ND.shape)}, stored {tuple(stored_ND.shape)}")
        if not (found_ND.isfinite().all() and stored_ND.isfinite().all()):
            raise ValueError("vectors that are not finite")
    cosines = [F.cosine_similarity(found.double(), stored.double(), dim=1).tolist() for found, stored in pairs]
    return Agreement(*cosines)


@dataclass(frozen=True)
class VariantVerdict:
    """variant: "" where there is only one form. message: why there is no agreement, or how it cannot be."""

    variant: str
    verdict: Estimate
    agreement: Agreement | None = None
    revision: str = ""
    message: str = ""


@dataclass(frozen=True)
class TeacherVerdict:
    """records: compared. without: records that lack the teacher, skipped."""

    teacher: str
    title: str
    reference: str
    records: int
    without: int
    variants: list[VariantVerdict] = field(default_factory=list)

    @property
    def fitting(self) -> list[str]:
        """The nearest first; among equals the default, which stands first."""
        found = [(one.variant, one.agreement.mean) for one in self.variants if one.agreement and one.agreement.fits]
        return [variant for variant, _ in sorted(found, key=lambda each: -round(each[1], 6))]

    @property
    def fits(self) -> bool:
        return bool(self.fitting)

    @property
    def summary(self) -> str:
        return f"{self.title}: {self._outcome()}"

    def _outcome(self) -> str:
        if not self.records:
            return f"no record has vectors of {self.reference}"
        if self.fits:
            return _of_fitting(self.fitting, self.variants[0].variant)
        missing = [one.variant for one in self.variants if one.verdict == "weights missing"]
        if len(missing) == len(self.variants):
            return "weights missing"
        if len(self.variants) == 1:
            return self.variants[0].verdict
        return "none of the variants fits" + (f"; weights missing of {', '.join(missing)}" if missing else "")

    def to_json(self) -> dict[str, Any]:
        own = {key: value for key, value in vars(self).items() if key != "variants"}
        rows = [vars(one) | {"agreement": one.agreement.to_json() if one.agreement else None} for one in self.variants]
        return {**own, "summary": self.summary, "fits": self.fits, "variants": rows}


def _of_fitting(names: Sequence[str], default: str) -> str:
    if not default:
        return "fits"
    nearest_one = names[0]
    fits = f"variant {nearest_one} fits" if len(names) == 1 else f"variants {', '.join(names)} fit, {nearest_one} best"
    return fits + (
        "" if nearest_one == default else f'; the default is {default}: set variant = "{nearest_one}" in the recipe'
    )


@dataclass(frozen=True)
class StoredRecord:
    """A record of the public data, its image as encoded bytes; vectors: as in its file."""

    image: bytes
    caption: str
    vectors: Mapping[str, Tensor]


def verify_reference(
    root: Path,
    entries: Mapping[str, ZooEntry],
    names: Sequence[str],
    device: torch.device,
    weights_root: Path | None = None,
    limit: int = 64,
) -> Iterator[TeacherVerdict]:
    """A verdict for each named teacher, without names for every one that the data may have; one model at a time.

    Nothing is downloaded. weights_root: weights lie in its `<name>/<variant>` or `<name>`; otherwise they are where
    `mmkd.teachers.files.locate` looks. limit: records compared of each teacher, the first ones. Raises ConfigError for
    names without stored vectors, and DataError for a layout that is another or records that cannot be read.
    """
    chosen = _chosen(entries, names)
    rows = list(records(root))
    if not rows:
        raise DataError(f"{root}: no usable record in meta.jsonl; expected the public MMKD-CLIP data folder")
    having = {entry.name: [row for row in rows if entry.reference in row["available_clips"]] for entry in chosen}
    stored = _read(root, {row["id"]: row for found in having.values() for row in found[:limit]})
    for entry in chosen:
        found = having[entry.name]
        compared = [stored[row["id"]] for row in found[:limit]]
        _require_vectors(entry.reference, [row["id"] for row in found[:limit]], compared)
        verdicts = [
            _verdict(entry.variant(variant or None), variant, compared, device, weights_root)
            for variant in (entry.variant_names or [""] if compared else [])
        ]
        yield TeacherVerdict(entry.name, entry.title, entry.reference, len(compared), len(rows) - len(found), verdicts)


def _chosen(entries: Mapping[str, ZooEntry], names: Sequence[str]) -> list[ZooEntry]:
    known = {name: entry for name, entry in entries.items() if entry.status == "usable" and entry.reference}
    for name in names:
        if name not in known:
            why = "has no vectors in the public data" if name in entries else "is not in the zoo"
            raise ConfigError(f"teacher {name!r} {why}; {nearest(name, list(known))}")
    return [known[name] for name in names or known]


def _read(root: Path, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, StoredRecord]:
    found, bad = {}, []
    for identity, row in rows.items():
        try:
            image = read_inside(root, row["imgpath"])
            try:
                decode(image)
            except BadRecordError as error:
                raise DataError(f"{row['imgpath']}: image cannot be decoded ({error.detail})") from error
            if not isinstance(row.get("txt"), str):
                raise DataError("no caption (txt)")
            found[identity] = StoredRecord(
                image, row["txt"], load_vectors(root / Path(row["imgpath"]).parent / FEATURES)
            )
        except BadRecordError as error:
            bad.append(f"{identity}: {error.detail}")
        except DataError as error:
            bad.append(f"{identity}: {error}")
    if bad:
        raise DataError(f"{root}: {len(bad)} records cannot be read:\n  " + "\n  ".join(bad))
    return found


def _require_vectors(reference: str, ids: Sequence[str], found: Sequence[StoredRecord]) -> None:
    for suffix in SUFFIX.values():
        shapes = set()
        for identity, record in zip(ids, found, strict=True):
            vector = record.vectors.get(reference + suffix)
            if vector is None or vector.ndim != 1 or not vector.isfinite().all():
                raise DataError(f"record {identity}: {FEATURES} has no finite vector {reference + suffix}")
            shapes.add(len(vector))
        if len(shapes) > 1:
            raise DataError(f"{reference + suffix}: records have {sorted(shapes)} dimensions; expected one number")


def _verdict(
    entry: ZooEntry, variant: str, compared: Sequence[StoredRecord], device: torch.device, weights_root: Path | None
) -> VariantVerdict:
    try:
        files = _weights(entry, variant, weights_root)
    except ModelError:
        looked = ", ".join(places(entry, weights_root and weights_root / entry.name))
        return VariantVerdict(variant, "weights missing", message=f"looked in {looked}")
    try:
        teacher = Teacher(entry.name, entry.licence, load_entry(entry, files.folder), device)
    except ModelError as error:
        return VariantVerdict(variant, "does not load", revision=files.revision, message=str(error))
    stored_ND = {
        side: torch.stack([record.vectors[entry.reference + suffix].float() for record in compared])
        for side, suffix in SUFFIX.items()
    }
    image_ND = _images(teacher, [record.image for record in compared])
    text_ND = teacher.encode_texts([record.caption for record in compared])
    try:
        found = agreement(image_ND, text_ND, stored_ND["image"], stored_ND["text"])
    except ValueError as error:
        return VariantVerdict(variant, "does not fit", revision=files.revision, message=str(error))
    return VariantVerdict(variant, "fits" if found.fits else "does not fit", found, files.revision)


def _weights(entry: ZooEntry, variant: str, root: Path | None) -> Files:
    """Only what is on this machine; variants may have files of the same name, so each may have a folder."""
    base = root or (Path(os.environ[TEACHERS]) if os.environ.get(TEACHERS) else None)
    if base and variant and (base / entry.name / variant).is_dir():
        return find_weights(entry, base / entry.name / variant, download=False)
    return find_weights(entry, root and root / entry.name, download=False)


def _images(teacher: Teacher, encoded: Sequence[bytes]) -> Tensor:
    parts = []
    for start in range(0, len(encoded), IMAGE_BATCH):
        pixels = [teacher.transform.pixels(decode(data)) for data in encoded[start : start + IMAGE_BATCH]]
        parts.append(teacher.encode_images(torch.stack(pixels)))
    return torch.cat(parts)
