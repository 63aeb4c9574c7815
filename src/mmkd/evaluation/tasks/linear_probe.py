"""Linear classifiers on frozen embeddings, on parts of the training labels; N samples, C classes, B replicates."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from mmkd.cards.card import Card
from mmkd.cards.samples import Sample
from mmkd.errors import DataError
from mmkd.evaluation.format.predictions import Predicted
from mmkd.evaluation.gallery.examples import wrong_classes
from mmkd.evaluation.heads.folds import nested_draws
from mmkd.evaluation.heads.logistic import Logistic, choose_and_fit
from mmkd.evaluation.models.embeddings import EmbeddedDataSet
from mmkd.evaluation.tasks import classes
from mmkd.evaluation.tasks.task import Columns, Task
from mmkd.randomness import Purpose, seed_of
from mmkd.settings import Settings
from mmkd.statistics.bootstrap import group_numbers, stream
from mmkd.statistics.metrics import Array, one_vs_rest

AT_SHARE = re.compile(r"(?P<metric>.+)_at_(?P<percent>[0-9.]+)%")  # metrics of classifiers on a part of the labels
WHOLE = f"{classes.SCORE}1:0:"  # the scores of the classifier that saw all training labels


class ProbeSettings(Settings):
    """Linear classifiers on frozen features. fractions: shares of the training labels, nested draws.

    draws: with seeds of their own, for each share below one; their metrics are averaged. penalties: inverse strengths
    (C of the logistic regression) to choose from, on the val split or by `folds`-fold cross-validation by groups.
    folds: of the cross-validation by groups, where there is no val split.
    """

    fractions: list[float] = [0.01, 0.1, 1.0]
    draws: PositiveInt = 3
    penalties: list[PositiveFloat] = Field([0.01, 0.1, 1.0, 10.0, 100.0], min_length=1)
    folds: int = Field(3, ge=2)

    @model_validator(mode="after")
    def _shares(self) -> "ProbeSettings":
        if not self.fractions or sorted(set(self.fractions)) != self.fractions or not self.fractions[0] > 0:
            raise ValueError(f"fractions must rise from above 0 to 1, found {self.fractions}")
        if self.fractions[-1] != 1.0:
            raise ValueError(f"the last fraction must be 1.0, found {self.fractions[-1]}")
        return self


@dataclass(frozen=True)
class Draw:
    """The training samples of one classifier, booleans (N,). number: which of the draws of this fraction."""

    fraction: float
    number: int
    taken_N: Array
    rng: np.random.Generator

    @property
    def prefix(self) -> str:
        return f"{classes.SCORE}{self.fraction:g}:{self.number}:"


def draws(
    truth: Array, count: int, group_N: Sequence[str], fractions: Sequence[float], repeats: int, seed: Sequence[int]
) -> Iterator[Draw]:
    """`repeats` draws of every fraction below one, nested within a repeat, and all samples once."""
    member_NC = one_vs_rest(truth, count) if truth.ndim == 1 else truth
    parts = [fraction for fraction in fractions if fraction < 1]
    for repeat in range(repeats):
        rng = stream(seed, repeat)
        nested = nested_draws(member_NC, group_numbers(group_N), parts, rng)
        for fraction, taken_N in zip(parts, nested, strict=True):
            yield Draw(fraction, repeat, taken_N, rng)
    yield Draw(1.0, 0, np.ones(len(truth), np.bool_), stream(seed, repeats))


def _complaint(card: Card) -> str:
    return "" if len(card.classes) > 1 else f"needs at least two [[classes]], found {len(card.classes)}"


def _catalogue_complaints(card: Card) -> Iterator[str]:
    layout = card.layout
    splits = {*card.counts, *getattr(layout, "splits", {}), *getattr(layout, "split_values", {})}
    described = "split" in getattr(layout, "columns", {}) or "split" in card.preparation
    if not ("train" in splits or getattr(layout, "hashed", None) or described):
        yield "linear_probe has nothing to learn from: no train split in counts, layout or hashed"


def _check(card: Card, samples: Sequence[Sample], settings: ProbeSettings, seed: int) -> None:
    classes.check_classified(samples, card)
    train = [sample for sample in samples if sample.split == "train"]
    _check_training(card, train)
    if not any(sample.labels for sample in train):
        raise DataError(f"{card.id}: no training sample has any class; expected one or more")


def _check_training(card: Card, train: Sequence[Sample]) -> None:
    if not train:
        raise DataError(f"{card.id}: no training sample for the linear probe; give the card a train split")


def _predict(embedded: EmbeddedDataSet[ProbeSettings]) -> Predicted:
    """Labels of test samples are written down and not looked at."""
    card, chosen = embedded.card, embedded.settings
    train, val, test = (embedded.split(split) for split in ("train", "val", "test"))
    _check_training(card, train)
    train_ND, truth, test_ND = embedded.of_images(train), classes.truth_of(card, train), embedded.of_images(test)
    to_choose_on = (embedded.of_images(val), classes.truth_of(card, val)) if val else None
    groups = [sample.group for sample in train]
    seed = (seed_of(embedded.seed, Purpose.LINEAR_PROBE, card.id),)
    columns, fitted = classes.truth_columns(card, test), []
    for draw in draws(truth, len(card.classes), groups, chosen.fractions, chosen.draws, seed):
        model = choose_and_fit(
            train_ND[draw.taken_N],
            truth[draw.taken_N],
            [group for group, taken in zip(groups, draw.taken_N, strict=True) if taken],
            chosen.penalties,
            chosen.folds,
            draw.rng,
            classes=len(card.classes),
            val=to_choose_on,
        )
        columns |= classes.score_columns(card, model.scores(test_ND), draw.prefix)
        fitted.append(model)
    return Predicted.of(test, columns, note=_note(card, fitted))


def _note(card: Card, fitted: Sequence[Logistic]) -> str:
    """What a reader should know: classes that nothing was learnt of, fits that ended early."""
    unseen = [entry.name for entry, seen in zip(card.classes, fitted[-1].seen_C, strict=True) if not seen]
    early, fits = (sum(getattr(model, name) for model in fitted) for name in ("unconverged", "fits"))
    found = [f"no training sample of {', '.join(unseen)}: scored below all others"] if unseen else []
    found += [f"{early} of {fits} fits did not converge"] if early else []
    return "; ".join(found)


def _measure(columns: Columns, weight_BN: Array) -> dict[str, Array]:
    truth, whole_NC = classes.truth_in(columns), classes.side_by_side(columns, WHOLE)
    measured = classes.class_metrics(whole_NC, truth, weight_BN)
    if truth.ndim == 1:
        measured |= classes.calibration_metrics(np.exp(whole_NC), truth, weight_BN)
    for fraction, prefixes in _parts(columns).items():
        each = [
            classes.top_class_accuracy(
                classes.top_class_correct(classes.side_by_side(columns, prefix), truth), truth, weight_BN
            )
            for prefix in prefixes
        ]
        measured[f"accuracy_at_{100 * float(fraction):g}%"] = np.mean(each, axis=0)
    return measured


def _parts(columns: Columns) -> dict[str, list[str]]:
    """Fraction below one -> the prefixes of its draws' columns."""
    found: dict[str, dict[str, None]] = {}
    for name in columns:
        if name.startswith(classes.SCORE) and not name.startswith(WHOLE):
            _, fraction, number, _ = name.split(":", maxsplit=3)
            found.setdefault(fraction, {})[f"{classes.SCORE}{fraction}:{number}:"] = None
    return {fraction: list(prefixes) for fraction, prefixes in found.items()}


TASK = Task(
    title="Linear probe",
    section="probe",
    settings=ProbeSettings,
    complaint=_complaint,
    check=_check,
    labels=classes.labels_of,
    class_scores=lambda columns: classes.class_scores(columns, WHOLE),
    gallery=wrong_classes,
    details=("label_efficiency", "confusion_matrix"),
    catalogue_complaints=_catalogue_complaints,
    predict=_predict,
    measure=_measure,
    primary="accuracy",
    needs_texts=False,
    lower_is_better=classes.CALIBRATION_METRICS,
    protocol="logistic regression on frozen unit embeddings, standardised on the training rows; penalty by log-loss on "
    f"val, else by inner folds that cut no group; {classes.PROTOCOL}; {classes.CALIBRATION}; "
    "accuracy_at_x% = mean over nested, stratified draws of x% of the training labels, one sample a class at least",
)
