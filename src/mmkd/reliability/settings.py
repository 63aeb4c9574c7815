"""The recipe section `[reliability]`."""

from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from mmkd.reliability.rank_test import Correction
from mmkd.reliability.trained_lists import list_digests
from mmkd.settings import RecipePath, Settings


class ReliabilitySettings(Settings):
    """The recipe section `[reliability]`.

    by: groups within which teachers are tested and weighted: the corpus's modalities, or clusters of the teachers'
    features, which need no label. "nested", with method "stacking" only: modalities, and within them parts with
    questions of their own (organs), found from the captions where the likelihood of held-out pairs says so. clusters:
    how many (0: as many as the teachers' differences need).
    modality: that of each row as the `corpus` has it, or as the verdict of all `evidence`, teachers' votes included.
    rows: at most so many rows of a group are tested. rivals: captions that each row's own caption must beat.
    power: weights grow with this power of the advantage over chance. z_min: an advantage of fewer standard errors
    counts as none. correction: of that level for the number of teachers and groups; "holm" asks for about 3.3 standard
    errors among fifty, "none" lets one in forty guessing cells pass. spread: standard deviation of every teacher's
    logits along a row, from which its scale follows (measured on `batch` pairs); scale: use this one for every teacher
    instead.

    trained_on: teacher -> a text file with the sha256, the id or the group of a pair on each line: those that it was
    trained on. By them and others of their patients it is not judged: the rank test leaves them out for this teacher,
    and stacks are fitted on pairs that no teacher was trained on, where there are a hundred. The gap is printed.

    batch: pairs on which the spread of the logits is measured.

    method: what weighs the teachers. "stacking": weights of all teachers and the share of wrong captions, fitted
    together in each group by the likelihood of its own captions; the rank test is shown beside it. "rank": the rank
    test alone, with `power`. The other keys are of "stacking". stack_rows: at most so many pairs of a group are fitted.
    folds: parts of a group, cutting no patient or article, of which each is held out once. bootstrap: replicates of
    the 95 % intervals.
    """

    by: Literal["modality", "cluster", "nested"] = "modality"
    modality: Literal["corpus", "evidence"] = "corpus"
    clusters: NonNegativeInt = 0
    rows: PositiveInt = 20_000
    rivals: PositiveInt = 128
    power: PositiveFloat = 4.0
    z_min: float = Field(2.0, ge=0.0)
    correction: Correction = "holm"
    spread: PositiveFloat = 7.5
    scale: float | None = Field(None, gt=0.0)
    trained_on: dict[str, RecipePath] = {}
    batch: PositiveInt = 256
    method: Literal["rank", "stacking"] = "stacking"
    stack_rows: int = Field(2_048, ge=2)
    folds: int = Field(5, ge=2)
    bootstrap: PositiveInt = 1_000

    @model_validator(mode="after")
    def _modality_is_read(self) -> "ReliabilitySettings":
        if self.by == "cluster" and self.modality == "evidence":
            raise ValueError('by = "cluster" reads no modality; leave out modality = "evidence" or by = "cluster"')
        return self

    @model_validator(mode="after")
    def _parts_are_stacked(self) -> "ReliabilitySettings":
        if self.by == "nested" and self.method != "stacking":
            raise ValueError(
                'by = "nested" finds parts by the likelihood of stacks; set method = "stacking", or by = "modality"'
            )
        return self

    @property
    def measured_with(self) -> dict[str, Any]:
        """The keys that the result depends on; folders of releases without `method` are those of "rank"."""
        plain = self.model_dump(mode="json")
        unused = {"method", "stack_rows", "folds", "bootstrap"} if self.method == "rank" else set()
        if self.trained_on:
            plain["trained_on"] = list_digests(self.trained_on)
        else:
            unused = {*unused, "trained_on"}
        return {name: value for name, value in plain.items() if name not in unused}

    @property
    def needs_evidence(self) -> bool:
        return self.modality == "evidence"
