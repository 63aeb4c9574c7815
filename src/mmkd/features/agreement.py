"""How far a teacher's vectors agree with stored ones, and what that says of its variants: values only, no files.

Letters: N records, D dimensions of a teacher.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

FITS = 0.999  # cosine that every record must reach on both sides; other roundings stay above, other models do not
Estimate = Literal["fits", "does not fit", "weights missing", "does not load"]


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
        """One sentence."""
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
