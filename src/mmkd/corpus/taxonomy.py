"""The nine modalities of the field, and the many names sources give them."""

from collections.abc import Iterable

MODALITIES = (
    "x-ray",
    "fundus",
    "histopathology",
    "endoscopy",
    "ct",
    "mri",
    "ultrasound",
    "dermatology",
    "oct",
)
OTHER = "other"  # known to be none of the nine
UNKNOWN = "unknown"  # the source does not say

_ALIASES = {
    "xray": "x-ray",
    "x ray": "x-ray",
    "chest x-ray": "x-ray",
    "radiograph": "x-ray",
    "radiography": "x-ray",
    "x-ray radiography": "x-ray",
    "cxr": "x-ray",
    "mammography": "x-ray",
    "fundus photography": "fundus",
    "color fundus photography": "fundus",
    "retina": "fundus",
    "pathology": "histopathology",
    "histology": "histopathology",
    "light microscopy": "histopathology",
    "immunohistochemistry": "histopathology",
    "computed tomography": "ct",
    "computerized tomography": "ct",
    "mr": "mri",
    "magnetic resonance": "mri",
    "magnetic resonance imaging": "mri",
    "functional magnetic resonance": "mri",
    "us": "ultrasound",
    "sonography": "ultrasound",
    "skin": "dermatology",
    "skin lesion": "dermatology",
    "dermoscopy": "dermatology",
    "dermatoscopy": "dermatology",
    "optical coherence tomography": "oct",
    "laryngoscopy": "endoscopy",
    "colonoscopy": "endoscopy",
}


def canonical_modality(name: str | None) -> str:
    """The canonical id of a modality: one of MODALITIES, `other` for any other name, `unknown` for none."""
    plain = " ".join((name or "").lower().replace("_", " ").split())
    if not plain or plain == UNKNOWN:
        return UNKNOWN
    if plain in MODALITIES:
        return plain
    return _ALIASES.get(plain, OTHER)


def modality_of_labels(labels: Iterable[str]) -> str:
    """Of an image with several labels: the first that names one of MODALITIES, else `other`; "" without labels."""
    found = [canonical_modality(label) for label in labels]
    return next((name for name in found if name in MODALITIES), OTHER if found else "")
