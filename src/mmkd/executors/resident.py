"""What a worker keeps loaded from unit to unit: one thing, as a model may fill a GPU."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_held: dict[str, Any] = {}


def resident(key: str, make: Callable[[], T]) -> T:
    """What `make` returned when it was last called for this key, unless another key came between.

    The old one is let go before the new one is made, so that both are never in memory.
    """
    if key not in _held:
        _held.clear()
        _held[key] = make()
    held: T = _held[key]
    return held


def release() -> None:
    """Let it go."""
    _held.clear()
