"""Patients of a survival data set: one row each, however many slides they have; N patients, D features."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmkd.cards.card import Card
from mmkd.cards.samples import Sample, Split
from mmkd.errors import DataError
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.outcomes import Outcomes
from mmkd.statistics.survival.patients import means_per_patient, number_patients, outcomes_per_patient


@dataclass(frozen=True)
class Cohort:
    """The patients that count. samples: all of theirs; patient: of each sample. names, outcomes, test_N: of each
    patient; test_N is all true where the data set has no training patients. left_out: in words, or ""."""

    samples: list[Sample]
    patient: list[str]
    names: tuple[str, ...]
    outcomes: Outcomes
    test_N: Array
    left_out: str

    def pooled(self, value: Array) -> Array:
        """Rows of the samples -> the mean of each patient's, float64 (N, D)."""
        return means_per_patient(value, self.patient)

    def test_rows(self) -> list[Sample]:
        """The first sample of every test patient, named like the patient."""
        first = {name: sample for sample, name in zip(reversed(self.samples), reversed(self.patient), strict=True)}
        tested = [name for name, test in zip(self.names, self.test_N, strict=True) if test]
        return [replace(first[name], id=name, group="") for name in tested]


def cohort_of(card: Card, samples: Sequence[Sample]) -> Cohort:
    """Patients with an outcome and, for all predictors of the card, every covariate: all models get the same rows.

    A sample without a group is a patient of its own. Raises DataError where more than half of the patients would be
    left out, rows of one patient disagree, or a patient is in training and test.
    """
    covariates = sorted({column for columns in card.covariates.values() for column in columns})
    everybody = {patient_of(sample) for sample in samples}
    unseen = {patient_of(sample) for sample in samples if sample.survival is None}
    unknown = {patient_of(sample) for sample in samples if not _complete(sample, covariates)} - unseen
    kept = [sample for sample in samples if patient_of(sample) not in unseen | unknown]
    left_out = _in_words(len(everybody), len(unseen), len(unknown))
    if len(unseen | unknown) > len(everybody) / 2:
        raise DataError(f"{left_out}; that is more than half: complete the table or take columns out of [covariates]")
    patient = [patient_of(sample) for sample in kept]
    seen = [sample.survival for sample in kept if sample.survival is not None]
    outcomes = Outcomes.of(np.array([one.event for one in seen]), np.array([one.time for one in seen]))
    return Cohort(
        samples=kept,
        patient=patient,
        names=number_patients(patient)[0],
        outcomes=outcomes_per_patient(outcomes, patient),
        test_N=_in_test(kept, patient),
        left_out=left_out if unseen | unknown else "",
    )


def patient_of(sample: Sample) -> str:
    return sample.group or sample.id


def _complete(sample: Sample, covariates: Sequence[str]) -> bool:
    return all(np.isfinite(sample.covariates.get(column, np.nan)) for column in covariates)


def _in_test(samples: Sequence[Sample], patient: Sequence[str]) -> Array:
    splits: dict[str, set[Split]] = {}
    for sample, name in zip(samples, patient, strict=True):
        splits.setdefault(name, set()).add(sample.split)
    for name, found in splits.items():
        if "test" in found and len(found) > 1:
            raise DataError(f"patient {name!r} is in {' and '.join(sorted(found))}; a patient belongs to one split")
    return np.array(["test" in found for found in splits.values()])


def _in_words(everybody: int, unseen: int, unknown: int) -> str:
    reasons = ((unseen, "without follow-up"), (unknown, "with missing covariates"))
    found = [f"{count} {reason}" for count, reason in reasons if count]
    return f"of {everybody} patients left out: {', '.join(found)}"
