"""Harrell's C by number of patients: one weighting beside lifelines and scikit-survival, and a bootstrap.

    python bench/concordance.py [--patients 1000 10000 100000]

Half of the times are censored, and times and risks are tied. Processor time of one thread, the least of three runs; the
greatest difference of the index. A column is empty where a package is not installed, or where it would take more than a
minute (scikit-survival's time grows with the square).
"""

import argparse
import importlib
import time
from collections.abc import Callable

import numpy as np

from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.concordance import by_pairs, by_ranks, harrell_c
from mmkd.statistics.survival.outcomes import Outcomes

REPLICATES, RUNS = 100, 3
SQUARE_UP_TO = 20_000  # patients, for methods whose time grows with the square


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, nargs="+", default=[300, 1_000, 10_000, 100_000])
    heads = ("one weighting", "all pairs", "lifelines", "scikit-survival", f"{REPLICATES} replicates")
    print("| patients | " + " | ".join(f"{head}, ms" for head in heads) + " | largest difference |")
    print("|---:|" + "---:|" * (len(heads) + 1))
    for patients in parser.parse_args().patients:
        print(f"| {patients:,} | " + " | ".join(_row(patients)) + " |", flush=True)


def _row(patients: int) -> list[str]:
    rng = np.random.default_rng(0)
    outcomes = Outcomes.of(rng.random(patients) < 0.5, np.ceil(rng.exponential(1000, patients)))
    risk_N = rng.normal(size=patients).round(3) - outcomes.time_N / 2000
    once_1N, drawn_BN = np.ones((1, patients)), rng.multinomial(patients, np.full(patients, 1 / patients), REPLICATES)
    given = risk_N, outcomes, outcomes.event_N.astype(float), once_1N, np.zeros(patients, int)
    small = patients <= SQUARE_UP_TO
    methods: list[Callable[[], float] | None] = [
        lambda: float(harrell_c(risk_N, outcomes, once_1N)[0]),
        (lambda: _share(by_pairs(*given))) if small else None,
        _lifelines(risk_N, outcomes),
        _scikit_survival(risk_N, outcomes) if small else None,
        lambda: float(harrell_c(risk_N, outcomes, drawn_BN).mean()),
    ]
    timed = [None if method is None else _timed(method) for method in methods]
    found = [one[1] for one in timed[:-1] if one is not None] + [_share(by_ranks(*given))]
    return ["–" if one is None else f"{one[0] * 1000:,.2f}" for one in timed] + [f"{max(found) - min(found):.1e}"]


def _share(counted: tuple[Array, Array, int]) -> float:
    return float(counted[0][0] / counted[1][0])


def _lifelines(risk_N: Array, outcomes: Outcomes) -> Callable[[], float] | None:
    try:
        concordance_index = importlib.import_module("lifelines.utils").concordance_index
    except ImportError:
        return None
    return lambda: float(concordance_index(outcomes.time_N, -risk_N, outcomes.event_N))


def _scikit_survival(risk_N: Array, outcomes: Outcomes) -> Callable[[], float] | None:
    try:
        index = importlib.import_module("sksurv.metrics").concordance_index_censored
    except ImportError:
        return None
    return lambda: float(index(outcomes.event_N, outcomes.time_N, risk_N, tied_tol=0)[0])


def _timed(run: Callable[[], float]) -> tuple[float, float]:
    took = []
    for _ in range(RUNS):
        start = time.process_time()
        value = run()
        took.append(time.process_time() - start)
    return min(took), value


if __name__ == "__main__":
    main()
