"""The TCGA tables: what age alone tells of survival, against scikit-survival, to nine decimals (three are printed)."""

from pathlib import Path

import numpy as np
import pytest
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.metrics import concordance_index_censored
from survival_world import once, structured

from mmkd.cards.card import Card
from mmkd.cards.readers.read import read_samples
from mmkd.cards.samples import Sample
from mmkd.evaluation.data_sets.choose import load_card
from mmkd.evaluation.heads.settings import SurvivalSettings
from mmkd.evaluation.models.embeddings import EmbeddedDataSet
from mmkd.evaluation.survival.cohort import Cohort, cohort_of
from mmkd.evaluation.tasks.survival import TASK
from mmkd.evaluation.tasks.table import TASKS
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.concordance import harrell_c
from mmkd.statistics.survival.cox import fit_cox

CARDS = Path(__file__).parents[2] / "recipes" / "real-mini"
COHORTS = {  # patients with a known age, events, C-index of age
    "tcga_blca": (359, 156, 0.613),
    "tcga_brca": (871, 102, 0.640),
    "tcga_coadread": (298, 58, 0.607),
    "tcga_luad": (443, 155, 0.535),
    "tcga_ucec": (478, 75, 0.569),
}


@pytest.fixture(params=COHORTS)
def opened(
    request: pytest.FixtureRequest, realdata: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Card, list[Sample], Cohort]:
    monkeypatch.setitem(TASKS, "survival", TASK)
    card = load_card(CARDS / f"{request.param}.toml", {"MMKD_REALDATA": str(realdata)})
    samples = read_samples(card)
    return card, samples, cohort_of(card, samples)


def age_of(cohort: Cohort) -> Array:
    return cohort.pooled(np.array([[sample.covariates["age"]] for sample in cohort.samples]))


def test_age_alone_as_scikit_survival_has_it(opened: tuple[Card, list[Sample], Cohort]) -> None:
    card, _, cohort = opened
    count, events, shown = COHORTS[card.id]
    outcomes, age_N1 = cohort.outcomes, age_of(cohort)
    assert (len(outcomes), outcomes.event_N.sum()) == (count, events)
    mine = harrell_c(age_N1[:, 0], outcomes, once(outcomes))[0]
    expected = concordance_index_censored(outcomes.event_N, outcomes.time_N, age_N1[:, 0])[0]
    np.testing.assert_allclose(mine, expected, rtol=1e-9)
    assert round(float(mine), 3) == shown
    theirs = CoxPHSurvivalAnalysis(ties="efron").fit(age_N1, structured(outcomes))
    model = fit_cox(age_N1, outcomes)
    np.testing.assert_allclose(model.coefficient_D, theirs.coef_, rtol=1e-6)
    risk_N = model.log_hazards(age_N1)
    expected = concordance_index_censored(outcomes.event_N, outcomes.time_N, theirs.predict(age_N1))[0]
    np.testing.assert_allclose(harrell_c(risk_N, outcomes, once(outcomes))[0], expected, rtol=1e-9)


def test_out_of_fold_age_as_scikit_survival_has_it(opened: tuple[Card, list[Sample], Cohort]) -> None:
    """One covariate is ordered alike whatever the penalty, so the task agrees with unpenalised models of its folds."""
    card, samples, cohort = opened
    predicted = TASK.predict(EmbeddedDataSet("age", card, samples, [], [], SurvivalSettings(), seed=0))
    outcomes, age_N1, fold_N = cohort.outcomes, age_of(cohort), predicted.columns["fold"]
    won = pairs = 0.0
    for fold in np.unique(fold_N):
        held_N = fold_N == fold
        model = CoxPHSurvivalAnalysis(ties="efron").fit(age_N1[~held_N], structured(outcomes.take(~held_N)))
        held = outcomes.take(held_N)
        found = concordance_index_censored(held.event_N, held.time_N, model.predict(age_N1[held_N]))
        won += found[1] + found[3] / 2
        pairs += found[1] + found[2] + found[3]
    measured = TASK.measure(predicted.columns, once(outcomes))
    np.testing.assert_allclose(measured["harrell_c"][0], won / pairs, rtol=1e-9)
    assert all(np.isfinite(value_1).all() for value_1 in measured.values())
