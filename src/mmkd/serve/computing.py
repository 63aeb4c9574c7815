"""How the models of a service compute, and with how many bits where nobody says so."""

from dataclasses import dataclass

from mmkd.adapt.classifier import Classifier
from mmkd.inference.model import Backend, named_folder, suits_onnx
from mmkd.inference.onnx import has_onnx
from mmkd.inference.precision import ALIKE, ENOUGH, eight_bits


@dataclass(frozen=True)
class Computing:
    """How models compute, as `open_model` takes it. precision `auto`: of the student, see `chosen_precision`."""

    device: str = "auto"
    backend: Backend = "auto"
    precision: str = "auto"


def chosen_precision(text: str, computing: Computing, has_archive: bool) -> tuple[str, str]:
    """Of a student, and why, in words that may be empty: `int8` where it computes in ONNX Runtime, its export measured
    that the 8-bit weights answer alike, and nothing was made with the vectors of the others; else `fp32`.
    """
    _, folder = named_folder(text)
    if folder is None or not has_onnx(folder, "int8"):
        return "fp32", ""
    if computing.backend == "torch" or (computing.backend == "auto" and not suits_onnx(folder, computing.device)):
        return "fp32", ""
    if has_archive or Classifier.is_in(folder):
        other = "archive" if has_archive else "classifier"
        return "fp32", f"precision: fp32, with whose vectors the {other} was made"
    found = eight_bits(folder)
    if found is None or not found.is_close:
        told = found.told() if found else "nothing was measured"
        wanted = f"{ALIKE:.0%} of {ENOUGH} pictures or more are asked for"
        return "fp32", f"precision: fp32; of 8-bit weights: {told}, and {wanted}. --precision int8 takes them"
    return "int8", f"precision: int8; beside fp32: {found.told()}. --precision fp32 is slower and exact"
