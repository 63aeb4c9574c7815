"""Where on a slide the tissue is.

H x W pixels of an overview, T tiles, four numbers a box: left, top, right, bottom.
"""

import numpy as np
from PIL import Image, ImageFilter

from mmkd.images.hamming import Array

SMOOTHING = 2  # radius in pixels: single coloured pixels are noise of the scanner, holes between nuclei are tissue
FAINTEST, STRONGEST = 12, 40  # chroma, of 255: paper-white glass stays below, stained tissue above


def tissue_mask(overview: Image.Image) -> Array:
    """Whether each pixel shows stained tissue and not glass; boolean (H, W).

    Stain is coloured and glass is grey, so chroma (highest less lowest of red, green and blue) is what is split, by
    Otsu's threshold on the smoothed overview. The threshold is kept within `FAINTEST` and `STRONGEST`: an overview of
    glass alone, or of tissue alone, would be split in two as well. Ink in colour counts as tissue.
    """
    rgb_HW3 = np.asarray(overview.convert("RGB").filter(ImageFilter.BoxBlur(SMOOTHING)))
    chroma_HW: Array = rgb_HW3.max(axis=2) - rgb_HW3.min(axis=2)
    mask_HW: Array = chroma_HW > np.clip(otsu_threshold(chroma_HW), FAINTEST, STRONGEST)
    return mask_HW


def otsu_threshold(value: Array) -> int:
    """The t for which values up to t and values above it differ most: the highest variance between the two classes.

    value: uint8 of any shape. Of equally good ones the lowest; 0 where all values are equal. Otsu, IEEE Transactions
    on Systems, Man, and Cybernetics 9 (1979), 62-66.
    """
    count_256 = np.bincount(value.ravel(), minlength=256).astype(np.float64)
    low_256 = count_256.cumsum()
    low_sum_256 = (count_256 * np.arange(256)).cumsum()
    total, total_sum = low_256[-1], low_sum_256[-1]
    high_256 = total - low_256
    both_256 = low_256 * high_256
    gap_256 = (total_sum * low_256 - total * low_sum_256) ** 2  # (total * low * high * gap of the means) squared
    return int(np.divide(gap_256, both_256, out=np.zeros(256), where=both_256 > 0).argmax())


def covered_shares(mask_HW: Array, box_T4: Array) -> Array:
    """The share of each box that the mask covers, 0..1; (T,). Boxes are in pixels, rounded outwards, cut at the edge.

    One summed-area table serves all boxes, for a slide has tens of thousands.
    """
    height, width = mask_HW.shape
    sum_HW = np.zeros((height + 1, width + 1), np.int64)
    sum_HW[1:, 1:] = mask_HW.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    low_T2 = np.floor(box_T4[:, :2]).astype(np.int64)
    high_T2 = np.ceil(box_T4[:, 2:]).astype(np.int64)
    (left_T, top_T), (right_T, bottom_T) = (np.clip(edge_T2, 0, (width, height)).T for edge_T2 in (low_T2, high_T2))
    inside_T = sum_HW[bottom_T, right_T] - sum_HW[top_T, right_T] - sum_HW[bottom_T, left_T] + sum_HW[top_T, left_T]
    share_T: Array = inside_T / np.maximum((right_T - left_T) * (bottom_T - top_T), 1)
    return share_T
