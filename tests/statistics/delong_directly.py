"""DeLong's own formulas, as an oracle."""

import numpy as np

from mmkd.statistics.metrics import Array


def direct(score_QN: Array, positive_N: Array) -> tuple[Array, Array]:
    """DeLong's own formulas: every pair of a positive and a negative, O(P M)."""
    positive_QP, negative_QM = score_QN[:, positive_N], score_QN[:, ~positive_N]
    win_QPM = (positive_QP[:, :, None] > negative_QM[:, None]) + 0.5 * (positive_QP[:, :, None] == negative_QM[:, None])
    auc_Q = win_QPM.mean(axis=(1, 2))
    covariance = np.zeros((len(auc_Q),) * 2)
    for side_QK in (win_QPM.mean(axis=2), win_QPM.mean(axis=1)):
        off_QK = side_QK - auc_Q[:, None]
        covariance += off_QK @ off_QK.T / (off_QK.shape[1] - 1) / off_QK.shape[1]
    return auc_Q, covariance
