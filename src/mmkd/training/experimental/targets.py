"""What is done to a teacher's vectors before heads are compared with them: fitted once on training rows, then frozen.

Found by docs/recipe.md: the kinds cannot be distinguished by three seeds, and heads do not work by themselves.
Letters: N rows, D dimension of the teacher, E dimension of the targets.

`none`; `centre`: minus the mean of the side; `standardise`: and each dimension divided by its deviation; `phi-s`: and
turned so that every dimension has the same variance, then one scale for all (arXiv 2410.01680); `autoencoder` and
`linear`: the maps of `projections`. An image and a text have means of their own but one map between them: a teacher
compares the two, and after different maps its cosines would mean nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mmkd.errors import ConfigError, DataError
from mmkd.folders.atomic import atomic_file
from mmkd.reliability.geometry import dispersion

SAMPLE = 200_000  # rows that a target is fitted on, at most
BLOCK = 16_384  # rows at a time in double precision


@dataclass(frozen=True)
class Target:
    """(x - mean of the side) @ map + offset, float32; None stands for no change. dispersions: radian^2, of targets."""

    image_mean_D: Tensor
    text_mean_D: Tensor
    map_DE: Tensor | None
    offset_E: Tensor | None
    image_dispersion: float
    text_dispersion: float

    @property
    def width(self) -> int:
        """E."""
        return len(self.image_mean_D) if self.map_DE is None else self.map_DE.shape[1]


def apply(vector_ND: Tensor, mean_D: Tensor, map_DE: Tensor | None, offset_E: Tensor | None) -> Tensor:
    """The targets (N, E) of one side's vectors."""
    centred_ND = vector_ND - mean_D
    target_NE = centred_ND if map_DE is None else centred_ND @ map_DE
    return target_NE if offset_E is None else target_NE + offset_E


def fit_target(kind: str, image_ND: np.ndarray, text_ND: np.ndarray, generator: np.random.Generator) -> Target:
    """The target of one of the kinds `none`, `centre`, `standardise`, `phi-s`, from a sample of rows that have both.

    Fewer than two rows, of a teacher that knows next to nothing of the corpus, leave vectors as they are: there is no
    variance to measure. Raises ConfigError on another kind.
    """
    if len(image_ND) < 2:
        width = image_ND.shape[1]
        return Target(torch.zeros(width), torch.zeros(width), None, None, 1.0, 1.0)
    if kind == "none":
        return frozen(np.zeros(image_ND.shape[1]), np.zeros(image_ND.shape[1]), None, None, image_ND, text_ND)
    means = [side_ND.mean(axis=0, dtype=np.float64) for side_ND in (image_ND, text_ND)]
    if kind == "centre":
        return frozen(means[0], means[1], None, None, image_ND, text_ND)
    if kind not in ("standardise", "phi-s"):
        raise ConfigError(f"unknown targets {kind!r}; known are none, centre, standardise, phi-s and autoencoder")
    covariance_DD = (_covariance(image_ND, means[0]) + _covariance(text_ND, means[1])) / 2
    if kind == "standardise":
        map_DD = np.diag(1.0 / np.sqrt(np.diag(covariance_DD).clip(min=1e-12)))
    else:
        map_DD = phi_s(covariance_DD, generator)
    return frozen(means[0], means[1], map_DD, None, image_ND, text_ND)


def frozen(
    image_mean_D: np.ndarray,
    text_mean_D: np.ndarray,
    map_DE: np.ndarray | None,
    offset_E: np.ndarray | None,
    image_ND: np.ndarray,
    text_ND: np.ndarray,
) -> Target:
    """A target from its parts; its dispersions are measured on the sample."""
    means = [torch.from_numpy(mean_D).float() for mean_D in (image_mean_D, text_mean_D)]
    rest = [None if part is None else torch.from_numpy(part).float() for part in (map_DE, offset_E)]
    spreads = []
    for side_ND, mean_D in ((image_ND, means[0]), (text_ND, means[1])):
        target_NE = apply(torch.from_numpy(side_ND[:BLOCK].astype(np.float32)), mean_D, rest[0], rest[1])
        spreads.append(dispersion(nn.functional.normalize(target_NE, dim=1).numpy()))
    return Target(means[0], means[1], rest[0], rest[1], spreads[0], spreads[1])


def phi_s(covariance_DD: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The map (D, D) after which every dimension has variance 1 and distances keep their ratios.

    Principal axes, a rotation that spreads them evenly, one scale. Where D is a power of two that is Hadamard's, as in
    the paper. Elsewhere it is a random one followed by D - 1 plane rotations, each of which brings one dimension to the
    mean variance: equal variances as exactly, each axis spread evenly only on average.
    """
    from scipy.linalg import hadamard

    dim = len(covariance_DD)
    variance_D, axis_DD = np.linalg.eigh(covariance_DD)
    if dim & (dim - 1) == 0:
        rotation_DD = axis_DD @ (hadamard(dim) / np.sqrt(dim))
    else:
        rotation_DD = levelled(covariance_DD, axis_DD @ random_rotation(dim, generator))
    return np.asarray(rotation_DD / np.sqrt(max(float(variance_D.clip(min=0).mean()), 1e-12)))


def random_rotation(dim: int, generator: np.random.Generator) -> np.ndarray:
    """An orthonormal (D, D), uniform among them."""
    basis_DD, triangle_DD = np.linalg.qr(generator.normal(size=(dim, dim)))
    return np.asarray(basis_DD * np.sign(np.diag(triangle_DD)))


def levelled(covariance_DD: np.ndarray, rotation_DD: np.ndarray) -> np.ndarray:
    """The rotation, turned further until all variances along its columns are their mean (Schur-Horn)."""
    rotation_DD = rotation_DD.copy()
    rotated_DD = rotation_DD.T @ covariance_DD @ rotation_DD
    mean = float(np.trace(rotated_DD)) / len(rotated_DD)
    for _ in range(len(rotated_DD) - 1):
        above, below = int(np.diag(rotated_DD).argmax()), int(np.diag(rotated_DD).argmin())
        a, b, c = rotated_DD[above, above] - mean, rotated_DD[below, below] - mean, rotated_DD[above, below]
        if a <= 1e-12 * mean or b >= -1e-12 * mean:
            break
        # the angle's tangent t solves b t^2 + 2 c t + a = 0: the dimension `above` then has the mean variance
        tangent = (-c - np.sqrt(c * c - a * b)) / b
        cosine = 1.0 / np.sqrt(1.0 + tangent * tangent)
        turn = cosine * np.array([[1.0, -tangent], [tangent, 1.0]])
        pair = [above, below]
        rotation_DD[:, pair] = rotation_DD[:, pair] @ turn
        rotated_DD[:, pair] = rotated_DD[:, pair] @ turn
        rotated_DD[pair] = turn.T @ rotated_DD[pair]
    return rotation_DD


def _covariance(side_ND: np.ndarray, mean_D: np.ndarray) -> np.ndarray:
    total_DD = np.zeros((len(mean_D), len(mean_D)))
    for start in range(0, len(side_ND), BLOCK):
        centred_ND = side_ND[start : start + BLOCK].astype(np.float64) - mean_D
        total_DD += centred_ND.T @ centred_ND
    return np.asarray(total_DD / len(side_ND))


class TargetMap(nn.Module):
    """A target on the device of the objective that holds it; no part of checkpoints, since the stage keeps the file."""

    map_DE: Tensor | None
    offset_E: Tensor | None

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.image_dispersion, self.text_dispersion = target.image_dispersion, target.text_dispersion
        for name in ("image_mean_D", "text_mean_D", "map_DE", "offset_E"):
            self.register_buffer(name, getattr(target, name), persistent=False)

    def image(self, image_ND: Tensor) -> Tensor:
        """Targets of images (N, E)."""
        return apply(image_ND, self.get_buffer("image_mean_D"), self.map_DE, self.offset_E)

    def text(self, text_ND: Tensor) -> Tensor:
        """Targets of captions (N, E)."""
        return apply(text_ND, self.get_buffer("text_mean_D"), self.map_DE, self.offset_E)


def save_targets(targets: Mapping[str, Target], path: Path) -> None:
    """Write the targets of the named teachers, whole or not at all."""
    tensors = {}
    for name, target in targets.items():
        for part, value in vars(target).items():
            if value is not None:
                tensors[f"{name}.{part}"] = torch.as_tensor(value, dtype=torch.float32).contiguous()
    with atomic_file(path) as stream:
        stream.write(save(tensors))


def load_targets(path: Path, teachers: Sequence[str]) -> list[Target]:
    """The targets of the named teachers. Raises DataError when the file lacks one or is none."""
    try:
        tensors = load_file(path)
        return [_target(tensors, name) for name in teachers]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: not the targets of {', '.join(teachers)} ({error!r}); run with --force") from error


def _target(tensors: Mapping[str, Tensor], name: str) -> Target:
    return Target(
        tensors[f"{name}.image_mean_D"],
        tensors[f"{name}.text_mean_D"],
        tensors.get(f"{name}.map_DE"),
        tensors.get(f"{name}.offset_E"),
        float(tensors[f"{name}.image_dispersion"]),
        float(tensors[f"{name}.text_dispersion"]),
    )
