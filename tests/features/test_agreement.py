"""Two sets of vectors agree when every row does, on both sides."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mmkd.features.verify import agreement


def test_agreement_is_the_cosine_of_each_row() -> None:
    found = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    stored = torch.tensor([[6.0, 8.0], [1.0, 1.0]])
    one = agreement(found, stored, stored, stored)
    np.testing.assert_allclose(one.image_N, [1.0, 0.5**0.5], rtol=1e-12)
    np.testing.assert_allclose(one.text_N, [1.0, 1.0], rtol=1e-12)
    sides = one.to_json()
    assert sides["image"]["min"] == pytest.approx(0.5**0.5)
    assert sides["image"]["mean"] == pytest.approx((1 + 0.5**0.5) / 2)
    assert not one.fits


@pytest.mark.parametrize(("cosine", "fits"), [(0.99899, False), (0.99901, True)])
@pytest.mark.parametrize("side", [0, 1])
def test_a_single_record_below_the_threshold_on_either_side_does_not_fit(side: int, cosine: float, fits: bool) -> None:
    exact = torch.tensor([[1.0, 0.0]] * 3)
    off = exact.clone()
    off[1] = torch.tensor([cosine, (1 - cosine**2) ** 0.5])
    one = agreement(*((off, exact) if side == 0 else (exact, off)), exact, exact)
    assert one.fits is fits


@pytest.mark.parametrize(
    ("found", "stored", "message"),
    [
        (torch.ones(2, 3), torch.ones(2, 4), r"found vectors \(2, 3\), stored \(2, 4\)"),
        (torch.ones(0, 3), torch.ones(0, 3), r"found vectors \(0, 3\)"),
        (torch.full((2, 3), torch.nan), torch.ones(2, 3), "not finite"),
    ],
)
def test_what_cannot_be_compared_is_no_agreement(found: Tensor, stored: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agreement(stored, found, stored, stored)
