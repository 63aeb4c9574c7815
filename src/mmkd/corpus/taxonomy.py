"""The modalities of a corpus as `modalities.toml` defines them, and the many names sources give them."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

OTHER = "other"  # known to be none of them
UNKNOWN = "unknown"  # the source does not say


@dataclass(frozen=True)
class Modality:
    """One modality; the fields are explained at the top of `modalities.toml`."""

    name: str
    parent: str = ""
    evaluated: bool = False
    synonyms: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()


def plain_name(name: str | None) -> str:
    """A name in lower case with single blanks, as names are compared."""
    return " ".join((name or "").lower().replace("_", " ").split())


def _read(entry: dict[str, Any]) -> Modality:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return Modality(**fields)


_FACTS = tomllib.loads(files("mmkd.corpus").joinpath("modalities.toml").read_text())
TAXONOMY = tuple(_read(entry) for entry in _FACTS["modality"])
BY_NAME = {modality.name: modality for modality in TAXONOMY}
MODALITIES = tuple(modality.name for modality in TAXONOMY if modality.evaluated)
"""The nine of the evaluation."""
NONCLINICAL_LABELS = frozenset(_FACTS["nonclinical_labels"])
UNSPECIFIC_LABELS = frozenset(_FACTS["unspecific_labels"])
_NAMES = {
    name: modality.name for modality in TAXONOMY for name in (modality.name, *modality.synonyms, *modality.labels)
}


def fine_modality(name: str | None) -> str:
    """The modality that a source's name means: one of TAXONOMY, `other` for any other name, `unknown` for none."""
    plain = plain_name(name)
    if not plain or plain == UNKNOWN:
        return UNKNOWN
    return _NAMES.get(plain, OTHER)


def evaluated_modality(fine: str) -> str:
    """The one of MODALITIES that a modality is or belongs to, else `other`; `unknown` stays."""
    if fine == UNKNOWN:
        return UNKNOWN
    modality = BY_NAME.get(fine)
    if modality is None:
        return OTHER
    return modality.name if modality.evaluated else modality.parent or OTHER


def canonical_modality(name: str | None) -> str:
    """The canonical id of a modality: one of MODALITIES, `other` for any other name, `unknown` for none."""
    return evaluated_modality(fine_modality(name))


def fine_modality_of_labels(labels: Iterable[str]) -> str:
    """Of an image with several labels: the first that names one of the nine or of their parts, else the first that
    names a modality at all, else `other`; "" without labels."""
    found = [fine_modality(label) for label in labels]
    known = [name for name in found if name in BY_NAME]
    ours = [name for name in known if evaluated_modality(name) != OTHER]
    return next(iter((*ours, *known)), OTHER if found else "")


def modality_of_labels(labels: Iterable[str]) -> str:
    """As `fine_modality_of_labels`, in the evaluation's names: one of MODALITIES, `other`, or "" without labels."""
    fine = fine_modality_of_labels(labels)
    return fine and evaluated_modality(fine)
