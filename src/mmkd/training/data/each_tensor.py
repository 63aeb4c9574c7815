"""One change for every tensor of a batch."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor


def each_tensor(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A copy of the value in which every tensor is changed, in dataclasses and lists too; the rest is kept as it is."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list):
        return [each_tensor(one, change) for one in value]
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: each_tensor(getattr(value, f.name), change) for f in fields(value)})
    return value
