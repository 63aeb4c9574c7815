"""The embedded world on disk, in the layouts that users bring their own data in. Equal arguments give equal bytes."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmkd.phantom.difficulty import DEFAULT, Difficulty, modality_in
from mmkd.phantom.sampling import TRAITS, World, draw_pixels, draw_sample, prompts
from mmkd.phantom.table import Finding, Modality, modality_named
from mmkd.randomness import generator

COLUMNS = ("id", "image", "caption", "modality", "group")


def write_pairs(
    folder: Path,
    *,
    modalities: Sequence[str],
    count: int,
    seed: int,
    purpose: str,
    wrong_captions: float = 0.0,
    size: int = 32,
    swapped: Sequence[str] = (),
    difficulty: Difficulty = DEFAULT,
) -> None:
    """Write `images/NNNNN.png` and `pairs.csv`: patients of the given modalities with captions.

    A share `wrong_captions` of the captions names a finding drawn from all of the modality's, the right one included.
    Captions of the modalities `swapped` name another finding than they would, the same one for each.
    `purpose` separates worlds of one seed: images of two purposes share no patient. It also opens every id and group.
    """
    if not 0 <= wrong_captions <= 1:
        raise ValueError(f"wrong_captions is a share between 0 and 1, got {wrong_captions}")
    for name in [*modalities, *swapped]:
        modality_named(name)
    world = World(tuple(modalities), seed, purpose, wrong_captions, size, tuple(swapped), difficulty)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for index in range(count):
            sample = draw_sample(world, index)
            image = f"images/{index:05d}.png"
            _write_png(folder / image, sample.pixels)
            table.writerow((f"{purpose}_{index:05d}", image, sample.caption, sample.modality, sample.group))


def write_classification(
    folder: Path, *, modality: str, per_class: int, seed: int, size: int = 32, difficulty: Difficulty = DEFAULT
) -> None:
    """Write `test/<class>/NNN.png` for each finding of the modality, and the data-set card that names the classes."""
    described = modality_in(modality, difficulty)
    for finding in described.findings:
        class_folder = folder / "test" / slug(finding.name)
        class_folder.mkdir(parents=True, exist_ok=True)
        for index in range(per_class):
            rng = generator(seed, "classification", modality, finding.name, index)
            anatomy = rng.uniform(-1, 1, TRAITS).astype(np.float32)
            _write_png(class_folder / f"{index:03d}.png", draw_pixels(finding, size, rng, anatomy, difficulty.noise))
    (folder / "card.toml").write_text(_classification_card(described), encoding="utf-8")


def write_retrieval(
    folder: Path, *, modalities: Sequence[str], count: int, seed: int, size: int = 32, difficulty: Difficulty = DEFAULT
) -> None:
    """Write held-out pairs whose captions are all right, in the layout of `write_pairs`, and their data-set card."""
    write_pairs(
        folder, modalities=modalities, count=count, seed=seed, purpose="retrieval", size=size, difficulty=difficulty
    )
    card = [*_card_head("phantom_retrieval", "mixed", "retrieval"), 'reader = "table"', 'path = "pairs.csv"']
    (folder / "card.toml").write_text("\n".join(card) + "\n", encoding="utf-8")


def slug(words: str) -> str:
    """The words as a folder name or identifier: lower case, joined by underscores."""
    return "_".join(words.lower().replace("-", " ").split())


def _classification_card(modality: Modality) -> str:
    lines = [*_card_head(f"phantom_{slug(modality.id)}", modality.id, "zero_shot")]
    lines += ['reader = "folders"', 'path = "test"']
    for finding in modality.findings:
        lines += ["[[classes]]", *_class_lines(modality, finding)]
    return "\n".join(lines) + "\n"


def _card_head(name: str, modality: str, task: str) -> list[str]:
    return [f'id = "{name}"', f'modality = "{modality}"', f'tasks = ["{task}"]', 'licence = "Apache-2.0"', "[layout]"]


def _class_lines(modality: Modality, finding: Finding) -> list[str]:
    # a JSON list of plain strings is a TOML array as well
    return [
        f'name = "{finding.name}"',
        f'folder = "{slug(finding.name)}"',
        f"prompts = {json.dumps(prompts(modality, finding))}",
    ]


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    Image.fromarray(pixels).save(path, format="PNG", compress_level=1)
