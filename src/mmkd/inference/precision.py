"""What 8-bit weights cost: the figures that an export states of its ONNX files, and whether they are taken unasked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

FIGURES = "agreement.json"
INT8 = "onnx, int8"
"""Their name among the programs of FIGURES."""
ALIKE = 0.99  # of the pictures have the same text first; what is below is said at export, too
ENOUGH = 100  # pictures that say something of the next ones


class _Agreement(BaseModel):
    probabilities: float
    top1: int
    pictures: int


class _Row(BaseModel):
    dataset: str
    metric: str
    value: float


class _Figures(BaseModel):
    sample: str
    programs: dict[str, Any] = {}
    int8: list[_Row] = Field([], description="Results of the run's test sets.")


@dataclass(frozen=True)
class EightBits:
    """The ONNX files with 8-bit weights beside the student. same: on how many of the pictures the same text is the most
    probable. probabilities: their largest difference. sample: what pictures, in words. results: of the run's test sets,
    (data set, metric, value).
    """

    same: int
    pictures: int
    probabilities: float
    sample: str
    results: list[tuple[str, str, float]]

    @property
    def is_close(self) -> bool:
        """Whether it was measured on enough pictures that they answer as the student does."""
        return self.pictures >= ENOUGH and self.same >= ALIKE * self.pictures

    def told(self) -> str:
        """In words."""
        found = f"the same text first on {self.same:,} of {self.pictures:,} ({self.sample})"
        found += f", probabilities differ by {self.probabilities:.3f} at most"
        results = [f"{name}: {metric} {value:.3f}" for name, metric, value in self.results]
        return f"{found}; {', '.join(results)}" if results else found


def eight_bits(folder: Path) -> EightBits | None:
    """What the export in the folder states; None where it states nothing."""
    try:
        figures = _Figures.model_validate_json((folder / FIGURES).read_bytes())
        found = _Agreement.model_validate(figures.programs.get(INT8))
    except (OSError, ValidationError):
        return None
    results = [(row.dataset, row.metric, row.value) for row in figures.int8]
    return EightBits(found.top1, found.pictures, found.probabilities, figures.sample, results)
