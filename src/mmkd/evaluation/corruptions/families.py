"""The families of corruptions, and which of them occur in which modality.

The choice by modality is that of MedMNIST-C (Di Salvo et al., arXiv 2406.17536), whose data sets stand for theirs:
PathMNIST for histopathology, DermaMNIST for dermatology, RetinaMNIST for fundus, OCTMNIST for oct, BreastMNIST for
ultrasound, ChestMNIST for x-ray, OrganMNIST for ct. It has no MRI, no endoscopy and no mixed set: `GREY` and `COLOUR`
are our own choice for them.
"""

from typing import Literal, get_args

Family = Literal[
    "pixelate",
    "jpeg_compression",
    "gaussian_noise",
    "speckle_noise",
    "impulse_noise",
    "shot_noise",
    "gaussian_blur",
    "defocus_blur",
    "motion_blur",
    "zoom_blur",
    "brightness_up",
    "brightness_down",
    "contrast_up",
    "contrast_down",
    "gamma_up",
    "gamma_down",
    "saturate",
    "stain_deposit",
    "bubble",
    "black_corner",
    "characters",
]
FAMILIES: tuple[Family, ...] = get_args(Family)
SEVERITIES = (1, 2, 3, 4, 5)

STORED: tuple[Family, ...] = ("pixelate", "jpeg_compression")
NOISE: tuple[Family, ...] = ("gaussian_noise", "speckle_noise", "impulse_noise", "shot_noise")
LIGHT: tuple[Family, ...] = ("brightness_up", "brightness_down", "contrast_up", "contrast_down")
GREY: tuple[Family, ...] = (*STORED, *NOISE, "gaussian_blur", *LIGHT, "gamma_up", "gamma_down")
COLOUR: tuple[Family, ...] = (*STORED, "gaussian_noise", "defocus_blur", "motion_blur", *LIGHT, "saturate")

OF_MODALITY: dict[str, tuple[Family, ...]] = {
    "x-ray": GREY,
    "ct": GREY,
    "mri": GREY,
    "ultrasound": (*STORED, "speckle_noise", "motion_blur", "brightness_up", "brightness_down", "contrast_down"),
    "oct": (*STORED, "speckle_noise", "defocus_blur", "motion_blur", "contrast_down"),
    "fundus": (
        *STORED,
        "gaussian_noise",
        "speckle_noise",
        "defocus_blur",
        "motion_blur",
        "brightness_down",
        "contrast_down",
    ),
    "histopathology": (*STORED, "defocus_blur", "motion_blur", *LIGHT, "saturate", "stain_deposit", "bubble"),
    "dermatology": (
        *STORED,
        *NOISE,
        "defocus_blur",
        "motion_blur",
        "zoom_blur",
        *LIGHT,
        "black_corner",
        "characters",
    ),
}


def families_of(modality: str, asked: bool | list[Family]) -> list[Family]:
    """Of a data set of this modality: its own with True, `COLOUR` where the modality is none of the table; with a list
    those of the list, each once in the order of `FAMILIES`; none with False."""
    if isinstance(asked, bool):
        return list(OF_MODALITY.get(modality, COLOUR)) if asked else []
    return [family for family in FAMILIES if family in asked]
