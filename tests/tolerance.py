"""Equality up to rounding: the tolerance comes from the type and the size of what is compared.

Other processors add the same numbers in another order. A fixed absolute tolerance suits the processor it was found on.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

ROUNDINGS = 256.0  # of one operation each; sums of a few thousand terms stay far below


def assert_rounding(
    found: Any,
    expected: Any,
    *,
    roundings: float = ROUNDINGS,
    size: float | None = None,
    dtype: Any = None,
    name: str = "",
) -> None:
    """Each value differs by at most `roundings` units of rounding of the largest expected one.

    size: of the terms that were summed, where the sum is smaller or zero. dtype: the type of the computation, where
    its result was stored as another one.
    """
    found_X, expected_X = _array(found), _array(expected)
    unit = np.finfo(dtype).eps if dtype is not None else max(_eps(found), _eps(expected))
    finite_X = np.abs(expected_X[np.isfinite(expected_X)])
    largest = size if size is not None else float(finite_X.max(initial=0.0))
    np.testing.assert_allclose(found_X, expected_X, rtol=0, atol=roundings * float(unit) * largest, err_msg=name)


def assert_rounding_of_all(
    found: Mapping[str, Any], expected: Mapping[str, Any], *, roundings: float = ROUNDINGS
) -> None:
    """As `assert_rounding` for gradients or weights by name; the size is that of the largest of all of them.

    A gradient that is zero on paper, as that of a key's bias, is a difference of others that are not.
    """
    assert found.keys() == expected.keys()
    largest = max(float(np.abs(_array(value)).max(initial=0.0)) for value in expected.values())
    for name, value in expected.items():
        assert_rounding(found[name], value, roundings=roundings, size=largest, name=name)


def _array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().double().numpy()
    return np.asarray(value, dtype=np.float64)


def _eps(value: Any) -> float:
    if isinstance(value, torch.Tensor):
        return torch.finfo(value.dtype).eps if value.is_floating_point() else 0.0
    array = np.asarray(value)
    return float(np.finfo(array.dtype).eps) if np.issubdtype(array.dtype, np.floating) else 0.0
