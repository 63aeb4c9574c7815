"""The modalities of the embedded world, and how difficult it is: which findings they have, their contrast and noise.

Names and drawing functions stand in `findings.toml`. `four` is that table as it stands. `graded` makes eight of a
modality's four: the first, each other one at two grades, and two of the others at once. A grade is a share of the way
from the modality's first finding to the other one, both drawn of the same patient, so no new drawing is needed.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import Literal

from mmkd.phantom import colour, layers, radiology
from mmkd.phantom.primitives import Array, Canvas

Findings = Literal["four", "graded"]
GRADES: dict[float, tuple[str, ...]] = {
    0.5: ("early", "mild", "subtle", "slight"),
    1.0: ("advanced", "severe", "marked", "extensive"),
}
COMBINED = 0.8  # share of each of two findings in one image
JOINTS = ("with", "and", "together with", "plus")
DRAWN_IN = {"colour": colour, "layers": layers, "radiology": radiology}


@dataclass(frozen=True)
class Finding:
    """What an image shows, in several wordings, and the function that draws it."""

    names: tuple[str, ...]
    draw: Callable[[Canvas], Array]

    @property
    def name(self) -> str:
        return self.names[0]


@dataclass(frozen=True)
class Modality:
    """How an image was taken, in several wordings, and its findings."""

    id: str
    names: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def name(self) -> str:
        return self.names[0]


def _finding(drawn_by: str, *names: str) -> Finding:
    module, _, function = drawn_by.partition(".")
    return Finding(names, getattr(DRAWN_IN[module], function))


MODALITIES: dict[str, Modality] = {
    name: Modality(name, tuple(facts["names"]), tuple(_finding(*one) for one in facts["findings"]))
    for name, facts in tomllib.loads(files("mmkd.phantom").joinpath("findings.toml").read_text()).items()
}


def modality_named(name: str) -> Modality:
    """The modality of that id; ValueError with the known ids otherwise."""
    if name not in MODALITIES:
        raise ValueError(f"the embedded world has no modality '{name}'; it has {', '.join(MODALITIES)}")
    return MODALITIES[name]


@dataclass(frozen=True)
class Difficulty:
    """contrast: of every finding to the modality's first one, 1 as drawn. noise: factor of the acquisition noise."""

    findings: Findings = "four"
    contrast: float = 1.0
    noise: float = 1.0


DEFAULT = Difficulty()


@lru_cache(maxsize=64)
def modality_in(name: str, difficulty: Difficulty) -> Modality:
    """The modality with the findings of that difficulty. ValueError for a name that is none."""
    modality = modality_named(name)
    first, *others = modality.findings
    if difficulty.findings == "graded":
        combined = Finding(
            _combined_names(others[0], others[1]), _mixed(first, {others[0]: COMBINED, others[1]: COMBINED}, difficulty)
        )
        graded = [_graded(first, other, grade, difficulty) for other in others for grade in GRADES]
        return replace(modality, findings=(first, *graded, combined))
    drawn = [replace(other, draw=_mixed(first, {other: 1.0}, difficulty)) for other in others]
    return replace(modality, findings=(first, *drawn))


def contradicted(modality: Modality, finding: Finding) -> Finding:
    """The finding half the list further on: another one for each, and none for two."""
    place = modality.findings.index(finding)
    return modality.findings[(place + len(modality.findings) // 2) % len(modality.findings)]


def _graded(first: Finding, other: Finding, grade: float, difficulty: Difficulty) -> Finding:
    words = GRADES[grade]
    names = [f"{words[(k + turn) % len(words)]} {name}" for turn in (0, 1) for k, name in enumerate(other.names)]
    return Finding(tuple(names), _mixed(first, {other: grade}, difficulty))


def _combined_names(one: Finding, other: Finding) -> tuple[str, ...]:
    return tuple(
        f"{a} {JOINTS[k % len(JOINTS)]} {b}" for k, (a, b) in enumerate(zip(one.names, other.names, strict=True))
    )


def _mixed(first: Finding, share: dict[Finding, float], difficulty: Difficulty) -> Callable[[Canvas], Array]:
    """first + contrast x sum of share x (finding - first); a single finding at full contrast is drawn unchanged."""
    [*findings], [*shares] = share, [difficulty.contrast * part for part in share.values()]
    if shares == [1.0]:
        return findings[0].draw

    def draw(canvas: Canvas) -> Array:
        image = plain = first.draw(canvas)
        for finding, part in zip(findings, shares, strict=True):
            image = (image + part * (finding.draw(canvas) - plain)).astype(plain.dtype)
        return image

    return draw
