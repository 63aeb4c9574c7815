"""The average of the student's weights as one more teacher: what it makes of a step's pairs (arXiv 1703.01780).

Letters: B pairs of this process, L tokens, D student dimension.
"""

import numpy as np
import torch
from torch import Tensor, nn

from mmkd.training.data.view import Embedded
from mmkd.training.engine import Engine
from mmkd.training.experimental.average import MovingAverage


@torch.no_grad()
def embed_by_average(
    average: MovingAverage,
    network: nn.Module,
    engine: Engine,
    image_BCHW: Tensor,
    token_BL: Tensor,
    length_B: np.ndarray,
) -> Embedded:
    """Unit vectors (B, D) and scale of the averaged weights, without dropout and without a gradient.

    image_BCHW: normalised and not augmented. The other teachers' features are of the plain picture, so both parts of
    the target answer for the same one, and the student learns to answer alike for its augmented view.

    The weights are put into the network and taken out again, so it has to be called before the student's own forward
    pass, whose graph would hold them. There are no gradients then, so the copy adds nothing to the most memory held.
    """
    count = len(image_BCHW)
    micro = engine.machine.micro_batch or count
    parts = [slice(first, first + micro) for first in range(0, count, micro)]
    with average.in_place(network):
        network.eval()
        with engine.autocast():
            found = [engine.plain(image_BCHW[part], token_BL[part], length_B[part]) for part in parts]
        network.train()
        engine.reshard()
    image, text, scale, _ = zip(*found, strict=True)  # in evaluation the towers give no patches
    return Embedded(torch.cat(image).float(), torch.cat(text).float(), scale[0].float().clone())
