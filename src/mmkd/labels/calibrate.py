"""How probabilities are calibrated: from labelled pictures, or as a run did it; N pictures, C classes."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from mmkd.errors import DataError
from mmkd.inference.model import named_folder
from mmkd.labels.classes import Classes, key_of
from mmkd.labels.classify import PROBABILITY, probabilities
from mmkd.labels.conformal import Coverage, measured_coverage
from mmkd.randomness import Purpose, generator
from mmkd.statistics.calibration import bounded_temperature, fit_temperature
from mmkd.statistics.conformal import fewest_groups, threshold
from mmkd.statistics.metrics import Array

SCORE = "score:"
FEWEST = 20  # labelled groups for a temperature
LEAST = 1e-6  # probabilities below it have lost their digits in a file of 32 bits


@dataclass(frozen=True)
class Calibration:
    """temperature: softmax(cosine / temperature). origin: where it is from, in words. least: probability that a class
    needs to be in the set, None where there are no sets. coverage: of the sets, measured."""

    temperature: float
    origin: str
    calibrated: bool
    least: float | None = None
    coverage: Coverage | None = None
    asked: float = 0.0

    def __str__(self) -> str:
        if self.coverage is None:
            return self.origin
        found = self.coverage
        return (
            f"{self.origin}; sets that have the true class in at least {self.asked:.0%}: measured on held-out folds "
            f"{found.value:.1%} (95% interval {found.low:.1%} to {found.high:.1%}), {found.size:.2f} classes a set"
        )


def uncalibrated(scale: float) -> Calibration:
    """With the model's own scale."""
    origin = (
        f"not calibrated: the model's own scale of {scale:.4g} is used, whose probabilities may be too high or "
        "too low; --calibrate TABLE with labelled pictures calibrates them"
    )
    return Calibration(1 / scale, origin, False)


def of_labelled(score_NC: Array, label_N: Array, group_N: Sequence[str], coverage: float, seed: int) -> Calibration:
    """A third of the groups gives the temperature, the others the sets; coverage 0 wants no sets, and all give it.

    group_N: of each picture. Where all of a third are right no temperature is best: it is then bounded, and the
    calibration says so. Raises DataError where there are too few, or scores say nothing of the labels.
    """
    names, number_N = np.unique(np.array(group_N, dtype=object).astype(str), return_inverse=True)
    _check_enough(len(label_N), len(names), coverage)
    place_G = generator(seed, Purpose.CALIBRATION_SPLIT).permutation(len(names))
    first_N = (place_G < max(FEWEST, len(names) // 3))[number_N] if coverage else np.ones(len(label_N), bool)
    if len(np.unique(label_N[first_N])) < 2:
        raise DataError("the labelled pictures for the temperature are all of one class; label pictures of others, too")
    temperature, origin, is_best = _temperature(score_NC[first_N], label_N[first_N], len(np.unique(number_N[first_N])))
    if not coverage:
        return Calibration(temperature, origin, is_best)
    probability_NC, label_N, number_N = (
        probabilities(score_NC[~first_N], temperature),
        label_N[~first_N],
        number_N[~first_N],
    )
    least = threshold(probability_NC[np.arange(len(label_N)), label_N], number_N, coverage)
    found = measured_coverage(probability_NC, label_N, number_N, coverage, seed)
    origin += f", sets from {len(label_N):,} others"
    if len(names) < len(group_N):
        origin += f" ({len(names):,} groups, none of them in both)"
    return Calibration(temperature, origin, is_best, least, found, coverage)


def _temperature(score_NC: Array, label_N: Array, groups: int) -> tuple[float, str, bool]:
    """The temperature, whence it is, and whether it is the one that fits best."""
    origin = f"from {len(label_N):,} labelled pictures"
    fitted = fit_temperature(score_NC, label_N)
    if not fitted.at_bound:
        return fitted.value, f"temperature {fitted.value:.4g} {origin}", True
    if fitted.value > 1:
        raise DataError(
            "no temperature fits best: scores say nothing of the labels; label more pictures, or check labels and "
            "prompts"
        )
    found = bounded_temperature(score_NC, label_N, groups).value
    return found, f"temperature {found:.4g} {origin}, {all_right(groups)}", False


def all_right(groups: int) -> str:
    """What is said of a temperature of `bounded_temperature`."""
    return (
        f"of which all are right, so that no temperature fits best: this one fits if the next of {groups + 2:,} were "
        "wrong, and probabilities may be too low; harder labelled pictures calibrate them"
    )


def _check_enough(pictures: int, groups: int, coverage: float) -> None:
    needed = FEWEST
    if coverage:
        needed = max(fewest_groups(coverage) + FEWEST, int(np.ceil(1.5 * fewest_groups(coverage))))
    if groups < needed:
        grouped = f" of {groups:,} groups (patients)" if groups < pictures else ""
        cure = "; or --coverage 0 for calibrated probabilities without sets" if coverage and groups >= FEWEST else ""
        what = f"sets with {coverage:.0%} coverage need {needed}" if coverage else f"a temperature needs {needed}"
        each = " groups" if grouped else ""
        raise DataError(f"{pictures:,} labelled pictures{grouped} found, {what}{each}; label more of them{cure}")


def places_of(labels: Sequence[str], classes: Classes) -> Array:
    """The class of each label, -1 for empty ones; by its name, upper and lower case alike. Raises DataError."""
    known = {key_of(name): place for place, name in enumerate(classes.names)}
    unknown = Counter(label for label in labels if label.strip() and key_of(label) not in known)
    if unknown:
        found = ", ".join(f"{label!r} ({count:,})" for label, count in unknown.most_common(5))
        raise DataError(f"labels that are no class: {found}; the classes are {', '.join(classes.names)}")
    return np.array([known.get(key_of(label), -1) for label in labels], np.int64)


def of_run(run: Path | None, card: str) -> Calibration | None:
    """As the evaluation of the run did on the val split of this card; None where it did not."""
    path = (run or Path()) / "evaluate" / "predictions" / "zero_shot" / card / "student.parquet"
    if run is None or not card or not path.is_file():
        return None
    table = pq.read_table(path)
    if not any(name.startswith(PROBABILITY) for name in table.column_names):
        return None
    score_NC, share_NC = (
        np.stack([table[name].to_numpy() for name in table.column_names if name.startswith(prefix)], axis=1)
        for prefix in (SCORE, PROBABILITY)
    )
    temperature = _recovered(score_NC.astype(np.float64), share_NC.astype(np.float64))
    if temperature is None:
        return None
    return Calibration(
        temperature, f"temperature {temperature:.4g}, fitted by the run on the val split of {card}", True
    )


def _recovered(score_NC: Array, share_NC: Array) -> float | None:
    """The temperature in softmax(score / temperature), by least squares over pairs with the likeliest class; None where
    all probabilities are too close to 0 and 1 to tell."""
    top_N1 = share_NC.argmax(axis=1)[:, None]
    score_NC = score_NC - np.take_along_axis(score_NC, top_N1, axis=1)
    with np.errstate(divide="ignore"):
        log_NC = np.log(share_NC) - np.log(np.take_along_axis(share_NC, top_N1, axis=1))
    known = (share_NC > LEAST) & (log_NC < 0)
    if not known.any():
        return None
    found = float((score_NC[known] * log_NC[known]).sum() / (log_NC[known] ** 2).sum())
    return found if 0 < found < np.inf else None


def run_of(model: str) -> Path | None:
    """The run whose export this is, where its evaluation is the one that the export was made with."""
    _, folder = named_folder(model)
    if folder is None:
        return None
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        evaluated = json.loads((folder.parent / "evaluate" / "manifest.json").read_text())
        same = manifest["inputs"]["evaluate"] == evaluated["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return folder.parent if same else None
