"""Image i of a world: its patient, modality, finding, pixels and caption, as pure functions of (seed, purpose, i).

Every draw comes from a generator of its own, keyed by what it is for, so that image i is the same however many images
are asked for, in any order and in any process.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mmkd.phantom.primitives import Canvas
from mmkd.phantom.table import DEFAULT, Difficulty, Finding, Modality, contradicted, modality_in
from mmkd.randomness import generator

BLOCK = 12  # images whose patients are drawn together; no patient crosses a block
LARGEST_PATIENT = 4
TRAITS = 6

TEMPLATES = (
    "{modality} showing {finding}",
    "{finding} on {modality}",
    "{modality} with {finding}",
    "{finding} seen in a {modality}",
    "this {modality} demonstrates {finding}",
    "{modality}: {finding}",
    "a {modality}, findings suggest {finding}",
    "impression: {finding}, {modality}",
)
PROMPTS = ("{modality} showing {finding}", "{finding} on {modality}", "a {modality}, findings suggest {finding}")


@dataclass(frozen=True)
class World:
    """What images of one purpose are drawn from; those of two purposes share no patient.

    wrong_captions: share of the captions that name a finding drawn from all of the modality's, the right one included.
    swapped: modalities whose captions name a `contradicted` finding.
    """

    modalities: tuple[str, ...]
    seed: int
    purpose: str
    wrong_captions: float = 0.0
    size: int = 32
    swapped: tuple[str, ...] = ()
    difficulty: Difficulty = DEFAULT


@dataclass(frozen=True)
class Sample:
    """One image with its caption. `finding` is the truth and never leaves this package."""

    pixels: NDArray[np.uint8]
    caption: str
    modality: str
    group: str
    finding: str
    caption_is_right: bool


def draw_sample(world: World, index: int) -> Sample:
    patient, modality = patient_of(world, index)
    rng = generator(world.seed, world.purpose, "image", index)
    finding = modality.findings[int(rng.integers(len(modality.findings)))]
    pixels = draw_pixels(finding, world.size, rng, _anatomy(world.seed, world.purpose, patient), world.difficulty.noise)
    named = finding
    if rng.random() < world.wrong_captions:
        named = modality.findings[int(rng.integers(len(modality.findings)))]
    if modality.id in world.swapped:
        named = contradicted(modality, named)
    return Sample(
        pixels=pixels,
        caption=word_caption(modality, named, rng),
        modality=modality.id,
        group=f"{world.purpose}_patient_{patient:05d}",
        finding=finding.name,
        caption_is_right=named is finding,
    )


def draw_pixels(
    finding: Finding, size: int, rng: np.random.Generator, anatomy: NDArray[np.float32], noisy: float = 1.0
) -> NDArray[np.uint8]:
    """The finding as an RGB image, with the exposure, tint and (times `noisy`) noise of one acquisition."""
    image = finding.draw(Canvas(size, rng, anatomy))
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.97, 1.03, 3)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    grain = np.float32(noisy * rng.uniform(0.02, 0.08)) * noise
    image = image * gain.astype(np.float32) + (grain + rng.uniform(-0.05, 0.05))
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def word_caption(modality: Modality, finding: Finding, rng: np.random.Generator) -> str:
    template = TEMPLATES[int(rng.integers(len(TEMPLATES)))]
    return template.format(
        modality=modality.names[int(rng.integers(len(modality.names)))],
        finding=finding.names[int(rng.integers(len(finding.names)))],
    )


def prompts(modality: Modality, finding: Finding) -> list[str]:
    """The phrasings under which zero-shot classification asks for a finding."""
    return [template.format(modality=modality.name, finding=name) for name in finding.names for template in PROMPTS]


def patient_of(world: World, index: int) -> tuple[int, Modality]:
    """The number of the patient whom image `index` shows, and the modality all images of that patient have."""
    block, place = divmod(index, BLOCK)
    sizes, modalities = _patients(world.modalities, world.seed, world.purpose, block)
    within = int(np.searchsorted(np.cumsum(sizes), place, side="right"))
    return block * BLOCK + within, modality_in(modalities[within], world.difficulty)


@lru_cache(maxsize=64)
def _patients(modalities: Sequence[str], seed: int, purpose: str, block: int) -> tuple[list[int], list[str]]:
    rng = generator(seed, purpose, "patients", block)
    sizes = [int(size) for size in rng.integers(1, LARGEST_PATIENT + 1, BLOCK)]
    return sizes, [modalities[int(choice)] for choice in rng.integers(len(modalities), size=BLOCK)]


@lru_cache(maxsize=256)
def _anatomy(seed: int, purpose: str, patient: int) -> NDArray[np.float32]:
    anatomy = generator(seed, purpose, "anatomy", patient).uniform(-1, 1, TRAITS).astype(np.float32)
    anatomy.setflags(write=False)
    return anatomy
