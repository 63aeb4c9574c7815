"""Confirms near copies: similarity of images against that of images which cannot be copies.

N images, O others, D dimensions, V views.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image

from mmkd.evaluation.models.embeddings import normalised
from mmkd.evaluation.models.encoders import Encoder
from mmkd.images.thresholds import LEAKAGE
from mmkd.images.thumbnails import small_grey
from mmkd.statistics.metrics import Array

Describe = Callable[[Sequence[Image.Image]], Array]
"""Images to unit vectors, float (N, D)."""

THUMBNAILS = "thumbnails"
QUANTILE = 0.999
FEWEST_CONTROLS = 20
BATCH = 64


def thumbnails(images: Sequence[Image.Image]) -> Array:
    """Grey images of 32 x 32 pixels without their mean, so that the cosine is their correlation; a flat one is 0."""
    grey_ND = np.stack([np.asarray(small_grey(image), np.float64).ravel() for image in images])
    return normalised(grey_ND - grey_ND.mean(axis=1, keepdims=True))


def described_by(encoder: Encoder) -> Describe:
    """The image embeddings of a model."""

    def describe(images: Sequence[Image.Image]) -> Array:
        parts = [
            encoder.encode_images(torch.stack([encoder.prepare(image) for image in images[start : start + BATCH]]))
            for start in range(0, len(images), BATCH)
        ]
        return normalised(torch.cat(parts).double().cpu().numpy())

    return describe


def threshold(own_NVD: Array, own_domain_N: Sequence[str], other_OD: Array, other_domain_O: Sequence[str]) -> float:
    """What a copy has to exceed: the similarity of almost every image to the nearest one of another modality.

    Such pairs are no copies, however alike they look; taken over all views, as candidates are. 0.95 where fewer than 20
    images have a control. (Similar images of one modality may be other patients: arXiv 2606.10066.)
    """
    if not len(own_NVD) or not len(other_OD):
        return LEAKAGE.correlation
    alike_NO = np.einsum("nvd,od->nvo", own_NVD, other_OD).max(axis=1)
    control_NO = np.asarray(own_domain_N)[:, None] != np.asarray(other_domain_O)
    nearest_N = np.where(control_NO, alike_NO, -np.inf).max(axis=1)
    nearest_N = nearest_N[np.isfinite(nearest_N)]
    return float(np.quantile(nearest_N, QUANTILE)) if len(nearest_N) >= FEWEST_CONTROLS else LEAKAGE.correlation
