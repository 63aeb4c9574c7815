"""A tiny world of coloured squares and models that see colours more or less well."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mmkd.images.transform import ImageTransform
from mmkd.settings import Machine
from mmkd.teachers.zoo.settings import TeacherSpec

COLOURS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}
MACHINE = Machine(device="cpu", workers=2)
TEACHERS = ["blind-red", "blind-blue"]


class ColourModel:
    """Implements the protocol `Teacher`: the mean colour, seen through noise that depends on the image alone.

    The noise and what it is blind to stand in the spec's model name: `colours:<noise>[:<blind colour>]`.
    """

    licence = "CC0"
    dim = 3
    loaded: list[str] = []

    def __init__(self, spec: TeacherSpec, device: torch.device) -> None:
        self.name = spec.name
        _, noise, *blind = spec.model.split(":")
        self.noise, self.blind = float(noise), blind
        ColourModel.loaded.append(spec.name)
        self.transform = ImageTransform(lambda image: image, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def encode_images(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        colour_BC = image_BCHW.float().mean(dim=(2, 3)) / 255
        jitter_BC = torch.sin(1e4 * (colour_BC + 3 * self.noise))
        seen_BC = colour_BC + self.noise * jitter_BC
        seen_BC[:, [list(COLOURS).index(name) for name in self.blind]] = 0.1
        return seen_BC

    def encode_texts(self, captions: Sequence[str]) -> torch.Tensor:
        named = [np.sum([colour for name, colour in COLOURS.items() if name in text], axis=0) for text in captions]
        return torch.from_numpy(np.stack(named).astype(np.float32) + 0.01)


def write_squares(folder: Path, modality: str, per_class: int, seed: int) -> Path:
    """A folder per colour and the card beside it; returns the card's path."""
    rng = np.random.default_rng(seed)
    classes = ""
    for name, colour in COLOURS.items():
        (folder / "test" / name).mkdir(parents=True)
        for number in range(per_class):
            pixel = np.clip(np.array(colour) * 100 + rng.uniform(0, 120, 3), 0, 255).astype(np.uint8)
            Image.new("RGB", (8, 8), tuple(pixel.tolist())).save(folder / "test" / name / f"{number:03d}.png")
        classes += f'[[classes]]\nname = "{name}"\nprompts = ["a {name} square", "{name}"]\n'
    head = f'id = "squares_{modality}"\nmodality = "{modality}"\ntasks = ["zero_shot"]\nlicence = "CC0"\n'
    (folder / "card.toml").write_text(f'{head}[layout]\nreader = "folders"\npath = "test"\n{classes}')
    return folder / "card.toml"


def write_pairs(folder: Path, squares: Path) -> Path:
    """A caption for each square of a folder; returns the card's path."""
    rows = ["id,image,caption"]
    for path in sorted(squares.parent.rglob("*.png")):
        rows.append(f"{path.parent.name}_{path.stem},{path.relative_to(squares.parent)},a {path.parent.name} square")
    (squares.parent / "pairs.csv").write_text("\n".join(rows) + "\n")
    card = 'id = "pairs"\nmodality = "mixed"\ntasks = ["retrieval"]\nlicence = "CC0"\nwarning = "few captions"\n'
    folder.mkdir()
    (folder / "card.toml").write_text(f'{card}[layout]\nreader = "table"\npath = "{squares.parent / "pairs.csv"}"\n')
    return folder / "card.toml"
