"""A picture at one severity of one family, always the same one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mmkd.cards.samples import ImageRef
from mmkd.evaluation.corruptions import artefacts, blur, light, noise, storage
from mmkd.evaluation.corruptions.families import SEVERITIES, Family
from mmkd.evaluation.corruptions.scale import Picture, to_image, to_picture
from mmkd.folders.digests import json_digest
from mmkd.randomness import Purpose, generator

VERSION = 1  # of what the families do: another one makes embeddings anew
Corruption = Callable[[Picture, int, np.random.Generator], Picture]

CORRUPTIONS: dict[Family, Corruption] = {
    "pixelate": storage.pixelate,
    "jpeg_compression": storage.jpeg_compression,
    "gaussian_noise": noise.gaussian_noise,
    "speckle_noise": noise.speckle_noise,
    "impulse_noise": noise.impulse_noise,
    "shot_noise": noise.shot_noise,
    "gaussian_blur": blur.gaussian_blur,
    "defocus_blur": blur.defocus_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "brightness_up": light.brightness_up,
    "brightness_down": light.brightness_down,
    "contrast_up": light.contrast_up,
    "contrast_down": light.contrast_down,
    "gamma_up": light.gamma_up,
    "gamma_down": light.gamma_down,
    "saturate": light.saturate,
    "stain_deposit": artefacts.stain_deposit,
    "bubble": artefacts.bubble,
    "black_corner": artefacts.black_corner,
    "characters": artefacts.characters,
}


def corrupt(image: Image.Image, family: Family, severity: int, name: str) -> Image.Image:
    """An RGB image made worse; a short side above 448 pixels is reduced to that.

    severity: 1..5. name: of the picture. It decides every draw, together with the family: not the run's seed, so that
    all runs are tested on the same pictures, and not the severity, so that the same noise only grows. Raises ValueError
    for another severity.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"severity {severity}, expected one of {SEVERITIES}")
    rng = generator(0, Purpose.CORRUPTION, family, name)
    return to_image(CORRUPTIONS[family](to_picture(image), severity, rng))


@dataclass(frozen=True)
class CorruptedImage:
    """Implements the protocol `ImageRef`. name: of the picture, see `corrupt`."""

    original: ImageRef
    family: Family
    severity: int
    name: str

    def read(self) -> Image.Image:
        return self.of(self.original.read())

    def of(self, original: Image.Image) -> Image.Image:
        return corrupt(original, self.family, self.severity, self.name)

    def digest(self) -> str:
        return json_digest([self.original.digest(), self.family, self.severity, self.name, VERSION])

    def __str__(self) -> str:
        return f"{self.original} ({self.family} {self.severity})"
