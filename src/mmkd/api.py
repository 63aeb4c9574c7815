"""mmkd from Python: a loaded model."""

from mmkd.inference.model import Model, open_model

load = open_model
__all__ = ["Model", "load"]
