"""Folds of slides: no patient is cut, every slide is tested once, official splits are kept."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd.cards.samples import Sample, Split
from mmkd.errors import DataError
from mmkd.evaluation.slides.folds import Fold, slide_folds

NAMES = ["benign", "cancer"]


def slides(rows: Sequence[tuple[int, str, Split]]) -> list[Sample]:
    return [Sample(f"s{n}", labels=(label,), group=group, split=split) for n, (label, group, split) in enumerate(rows)]


def folds(samples: Sequence[Sample], count: int = 3, seed: int = 0) -> tuple[list[Fold], str]:
    return slide_folds(samples, NAMES, count, np.random.default_rng(seed))


def parts(fold: Fold) -> list[list[int]]:
    return [part.tolist() for part in (fold.train, fold.val, fold.test) if part is not None]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=2, max_size=12), st.integers(1, 3), st.integers(2, 5), st.integers(0, 9))
def test_no_patient_is_cut_and_every_slide_is_tested_once(
    of_patient: list[int], slides_each: int, count: int, seed: int
) -> None:
    labels = [*of_patient, 0, 0, 0, 1, 1, 1]
    rows: list[tuple[int, str, Split]] = [(one, f"p{n}", "test") for n, one in enumerate(labels)]
    samples = slides(rows * slides_each)
    made, words = folds(samples, count, seed)
    assert words == f"{len(made)} folds by patient"
    assert sorted(n for fold in made for n in fold.test.tolist()) == list(range(len(samples)))
    for fold in made:
        found = [{samples[n].group for n in part} for part in parts(fold)]
        assert sum(map(len, found)) == len(labels)  # no patient in two parts
        for part in parts(fold)[:-1]:
            assert {samples[n].label for n in part} == {0, 1}


def test_folds_depend_on_the_generator_and_the_samples() -> None:
    samples = slides([(n % 2, "", "test") for n in range(20)])
    one, again, other = (folds(samples, seed=seed)[0] for seed in (1, 1, 2))
    assert [parts(fold) for fold in one] == [parts(fold) for fold in again] != [parts(fold) for fold in other]


def test_an_official_split_is_kept() -> None:
    rows: list[tuple[int, str, Split]] = [(0, "a", "train"), (1, "b", "train"), (0, "c", "val"), (1, "d", "val")]
    (fold,), words = folds(slides([*rows, (0, "e", "test"), (1, "f", "test")]))
    assert words == "official split"
    assert parts(fold) == [[0, 1], [2, 3], [4, 5]]


def test_without_an_official_val_split_training_patients_are_spared() -> None:
    rows: list[tuple[int, str, Split]] = [(n % 2, f"p{n}", "train") for n in range(20)]
    (fold,), _ = folds(slides([*rows, (0, "x", "test"), (1, "y", "test")]))
    train, val, test = parts(fold)
    assert test == [20, 21]
    assert len(val) == 4
    assert sorted(train + val) == list(range(20))


def test_too_few_patients_to_spare_any() -> None:
    rows: list[tuple[int, str, Split]] = [(0, "a", "train"), (1, "b", "train"), (0, "c", "test"), (1, "d", "test")]
    (fold,), _ = folds(slides(rows))
    assert fold.val is None


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(DataError, match=r"class 'cancer' has slides to test but none to train on"):
        folds(slides([(0, "a", "test"), (0, "b", "test"), (0, "c", "test"), (1, "d", "test"), (1, "d", "test")]))
    rows: list[tuple[int, str, Split]] = [(0, "a", "train"), (1, "b", "train"), (0, "a", "test"), (1, "c", "test")]
    with pytest.raises(DataError, match="1 groups lie in train and in test, such as 'a'"):
        folds(slides(rows))
