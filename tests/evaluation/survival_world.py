"""Made-up patients that the survival tests share: tied times, tied risks, a third censored."""

import numpy as np
from sksurv.util import Surv

from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.outcomes import Outcomes


def patients(count: int = 60, seed: int = 0) -> Outcomes:
    """Whole times 1..15, so many are tied. The last to be seen has the event, so censoring is known up to the end:
    scikit-survival asks for it at every event, ours only where it is used."""
    rng = np.random.default_rng(seed)
    time_N = rng.integers(1, 16, count).astype(float)
    event_N = rng.random(count) < 0.65
    time_N[0], event_N[0] = 20.0, True
    return Outcomes.of(event_N, time_N)


def risks(outcomes: Outcomes, seed: int = 1) -> Array:
    """Higher for those who go early, with noise, rounded so that some are equal."""
    noise_N = np.random.default_rng(seed).normal(0, 4, len(outcomes))
    return np.round((noise_N - outcomes.time_N) / 4)


def covariates(outcomes: Outcomes, columns: int = 3, seed: int = 2) -> Array:
    value_ND = np.random.default_rng(seed).normal(size=(len(outcomes), columns))
    value_ND[:, 0] -= 0.1 * outcomes.time_N
    return value_ND


def counts(outcomes: Outcomes, replicates: int = 12, seed: int = 3) -> Array:
    size = len(outcomes)
    return np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=replicates).astype(np.uint16)


def once(outcomes: Outcomes) -> Array:
    return np.ones((1, len(outcomes)), np.uint16)


def drawn(count_BN: Array) -> list[Array]:
    """The rows of each resample, copies included."""
    return [np.repeat(np.arange(len(count_N)), count_N) for count_N in count_BN]


def structured(outcomes: Outcomes) -> Array:
    """Outcomes as scikit-survival wants them."""
    return Surv.from_arrays(outcomes.event_N, outcomes.time_N)
