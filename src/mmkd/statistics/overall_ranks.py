"""Models ranked over all settings, a setting being one task on one data set: mean ranks and numbers of firsts.

S settings, D data sets, Q models, B replicates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.statistics.bootstrap import plan_draws, stream
from mmkd.statistics.metrics import Array, checked_numbers

ENOUGH_SETS = 3  # to draw from: half of the replicates of two would hold one only


@dataclass(frozen=True)
class OverallRanks:
    """mean_rank_Q: 1 is best. first_Q: numbers of settings, which sum to S. The replicates of both are (B, Q).

    draws: what a replicate draws, in words.
    """

    mean_rank_Q: Array
    first_Q: Array
    mean_rank_BQ: Array
    first_BQ: Array
    draws: str


def ranks(score_SQ: Array) -> tuple[Array, Array]:
    """Rank of each model in each setting, 1 for the highest score, equal ones share the mean of their places; and the
    share each has of being first: 1, or 1 / k of k equal ones. Both (..., S, Q)."""
    from scipy.stats import rankdata  # where it is needed: recipes are read without scipy

    score_SQ = checked_numbers(score_SQ, "score")
    is_top_SQ = score_SQ == score_SQ.max(axis=-1, keepdims=True)
    return rankdata(-score_SQ, axis=-1), is_top_SQ / is_top_SQ.sum(axis=-1, keepdims=True)


def overall_ranks(
    score_SQ: Array,
    replicates: Sequence[Array],
    data_set_S: Sequence[str],
    seed: Sequence[int],
    family_S: Sequence[str] = (),
) -> OverallRanks:
    """Mean rank and number of firsts, each setting counting once, with replicates of both.

    score_SQ: higher is better. replicates: of each setting, its bootstrap replicates (B, Q), all models on the same
    draws; one in which a score is not finite is not used, and where none is left the setting's own scores are.
    data_set_S: the settings of a data set are drawn together. family_S: data sets that are drawn together, where they
    overlap; "" for one of its own. With three or more of these a replicate draws them with replacement and, for each
    copy, one replicate of each setting; else it draws replicates only. A replicate's number of firsts is its share of
    firsts times S, since data sets have different numbers of settings. Raises ValueError for wrong shapes.
    """
    settings, models = score_SQ.shape
    if len(replicates) != settings or len(data_set_S) != settings or models < 2:
        raise ValueError(
            f"{settings} settings of {models} models, replicates of {len(replicates)} and data sets of "
            f"{len(data_set_S)}; expected two models or more, and as many of each as settings"
        )
    rank_SQ, first_SQ = ranks(score_SQ)
    size = len(replicates[0])
    unit_S = _units(data_set_S, family_S or [""] * settings)
    units = int(unit_S.max()) + 1
    count_BS = np.ones((size, settings), np.int64)
    if is_drawn := units >= ENOUGH_SETS:
        draws = plan_draws([""] * units, None, size, seed)
        count_BS = np.concatenate(list(draws.blocks())).astype(np.int64)[:, unit_S]
    rank_sum_BQ, first_sum_BQ = np.zeros((2, size, models))
    rng = stream(seed, 1)  # the one after that of the draws
    for number, replicate_BQ in enumerate(replicates):
        finite_BQ = replicate_BQ[np.isfinite(replicate_BQ).all(axis=1)]
        ranked_BQ, firsts_BQ = ranks(finite_BQ if len(finite_BQ) else score_SQ[number : number + 1])
        for copy in range(int(count_BS[:, number].max())):  # a data set drawn twice brings two replicates of its own
            taken_B = rng.integers(len(ranked_BQ), size=size)
            counts_B1 = (count_BS[:, number] > copy)[:, None]
            rank_sum_BQ += counts_B1 * ranked_BQ[taken_B]
            first_sum_BQ += counts_B1 * firsts_BQ[taken_B]
    total_B1 = count_BS.sum(axis=1)[:, None]
    words = "families of data sets and their samples" if any(family_S) else "data sets and their samples"
    return OverallRanks(
        mean_rank_Q=rank_SQ.mean(axis=0),
        first_Q=first_SQ.sum(axis=0),
        mean_rank_BQ=rank_sum_BQ / total_B1,
        first_BQ=settings * first_sum_BQ / total_B1,
        draws=words if is_drawn else "the samples of each data set",
    )


def _units(data_set_S: Sequence[str], family_S: Sequence[str]) -> Array:
    """The number, from 0 on, of what each setting is drawn with: its family, else its data set."""
    named = [("family", family) if family else ("set", name) for name, family in zip(data_set_S, family_S, strict=True)]
    place = {name: number for number, name in enumerate(dict.fromkeys(named))}
    return np.array([place[name] for name in named])
