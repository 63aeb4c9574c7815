"""mmkd: many biomedical CLIP teachers distilled into one student that is better than each of them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmkd.api.model import load as load
    from mmkd.api.runs import open_run as open_run
    from mmkd.api.runs import run as run
    from mmkd.api.runs import stages as stages

__version__ = "0.2.0"
_PLACES = {"load": "mmkd.api.model", **dict.fromkeys(("open_run", "run", "stages"), "mmkd.api.runs")}
__all__ = ("load", "open_run", "run", "stages")


def __getattr__(name: str) -> Any:
    """What mmkd offers from Python, imported at its first use: importing mmkd alone loads nothing."""
    if name not in _PLACES:
        raise AttributeError(f"module 'mmkd' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_PLACES]
