"""Where in a picture a model finds a text: by occlusion, for any model (Zeiler and Fergus, arXiv 1311.2901).

A window of the picture is covered with its mean colour; where the cosine falls, the text was. W windows, T texts, D
dimensions, G x G cells, C x H x W pixels.
"""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from mmkd.statistics.metrics import Array

GRID = 8
BATCH = 16


def occlusion(
    encode: Callable[[np.ndarray], Array], pixel_CHW: np.ndarray, text_TD: Array, grid: int = GRID
) -> np.ndarray:
    """How much of each text is lost where a cell is covered: (T, G, G); larger than 0 where the cell speaks for it.

    encode: prepared pictures to unit vectors, as `Model.encode_prepared`. text_TD: unit vectors. Of several texts the
    cosine is taken relative to the mean of all: what a softmax among them sees. Windows are 2 x 2 cells large, one
    cell apart; a cell has the mean of the windows that cover it.
    """
    windows = list(product(range(grid - 1), range(grid - 1)))
    score_VT = _scores(np.concatenate(list(_encoded(encode, pixel_CHW, windows, grid))), text_TD)
    loss_WT = score_VT[0] - score_VT[1:]
    total_TGG, count_GG = np.zeros((len(text_TD), grid, grid)), np.zeros((grid, grid))
    for loss_T, (top, left) in zip(loss_WT, windows, strict=True):
        cells = slice(top, top + 2), slice(left, left + 2)
        total_TGG[:, *cells] += loss_T[:, None, None]
        count_GG[cells] += 1
    return total_TGG / count_GG


def _encoded(
    encode: Callable[[np.ndarray], Array], pixel_CHW: np.ndarray, windows: list[tuple[int, int]], grid: int
) -> Iterator[Array]:
    """Vectors of the whole picture and of each with a window covered, BATCH at a time."""
    mean_C = pixel_CHW.mean(axis=(1, 2)).round().astype(pixel_CHW.dtype)
    rows, columns = (np.linspace(0, size, grid + 1).round().astype(int) for size in pixel_CHW.shape[1:])
    for first in range(-1, len(windows), BATCH):
        views_BCHW = []
        for number in range(first, min(first + BATCH, len(windows))):
            view_CHW = pixel_CHW.copy()
            if number >= 0:
                top, left = windows[number]
                view_CHW[:, rows[top] : rows[top + 2], columns[left] : columns[left + 2]] = mean_C[:, None, None]
            views_BCHW.append(view_CHW)
        yield encode(np.stack(views_BCHW))


def _scores(vector_VD: Array, text_TD: Array) -> np.ndarray:
    cosine_VT = vector_VD.astype(np.float64) @ text_TD.T.astype(np.float64)
    return cosine_VT - cosine_VT.mean(axis=1, keepdims=True) if len(text_TD) > 1 else cosine_VT
