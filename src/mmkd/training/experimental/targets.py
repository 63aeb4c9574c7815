"""What is done to a teacher's vectors before heads are compared with them: fitted once on training rows, then frozen.

Found by docs/results/ablations.md: the kinds cannot be distinguished by three seeds, and heads alone do not work.
Letters: N rows, D dimension of the teacher, E dimension of the targets.

`none`; `centre`: minus the mean of the side; `standardise`: and each dimension divided by its deviation; `phi-s`: and
turned so that every dimension has the same variance, then one scale for all (arXiv 2410.01680); `autoencoder` and
`linear`: the maps of `projections`. An image and a text have means of their own but one map between them: a teacher
compares the two, and after different maps its cosines would mean nothing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mmkd.errors import ConfigError, DataError
from mmkd.folders.atomic import atomic_file
from mmkd.reliability.geometry import dispersion

SAMPLE = 200_000  # rows that a target is fitted on, at most
TENSORS, DISPERSIONS = (("image_mean_D", "text_mean_D", "map_DE", "offset_E"), ("image_dispersion", "text_dispersion"))
BLOCK = 16_384  # rows at a time in double precision


class Target(nn.Module):
    """(x - mean of the side) @ map + offset, float32; None stands for no change. dispersions: radian^2, of targets.

    It goes to the device of the objective that holds it, and is no part of checkpoints: the stage keeps the file.
    """

    image_mean_D: Tensor
    text_mean_D: Tensor
    map_DE: Tensor | None
    offset_E: Tensor | None

    def __init__(
        self,
        image_mean_D: Tensor,
        text_mean_D: Tensor,
        map_DE: Tensor | None,
        offset_E: Tensor | None,
        image_dispersion: float = 1.0,
        text_dispersion: float = 1.0,
    ) -> None:
        super().__init__()
        self.image_dispersion, self.text_dispersion = image_dispersion, text_dispersion
        for name, value in zip(TENSORS, (image_mean_D, text_mean_D, map_DE, offset_E), strict=True):
            self.register_buffer(name, value, persistent=False)

    @property
    def width(self) -> int:
        """E."""
        return len(self.image_mean_D) if self.map_DE is None else self.map_DE.shape[1]

    def image(self, image_ND: Tensor) -> Tensor:
        """Targets of images (N, E)."""
        return self._of(image_ND - self.image_mean_D)

    def text(self, text_ND: Tensor) -> Tensor:
        """Targets of captions (N, E)."""
        return self._of(text_ND - self.text_mean_D)

    def _of(self, centred_ND: Tensor) -> Tensor:
        target_NE = centred_ND if self.map_DE is None else centred_ND @ self.map_DE
        return target_NE if self.offset_E is None else target_NE + self.offset_E


def fit_target(kind: str, image_ND: np.ndarray, text_ND: np.ndarray, generator: np.random.Generator) -> Target:
    """The target of one of the kinds `none`, `centre`, `standardise`, `phi-s`, from a sample of rows that have both.

    Fewer than two rows, of a teacher that knows next to nothing of the corpus, leave vectors as they are: there is no
    variance to measure. Raises ConfigError on another kind.
    """
    if len(image_ND) < 2:
        width = image_ND.shape[1]
        return Target(torch.zeros(width), torch.zeros(width), None, None)
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
    parts = (image_mean_D, text_mean_D, map_DE, offset_E)
    target = Target(*(None if part is None else torch.from_numpy(part).float() for part in parts))  # type: ignore[arg-type]
    image_NE, text_NE = (torch.from_numpy(side_ND[:BLOCK].astype(np.float32)) for side_ND in (image_ND, text_ND))
    target.image_dispersion = dispersion(nn.functional.normalize(target.image(image_NE), dim=1).numpy())
    target.text_dispersion = dispersion(nn.functional.normalize(target.text(text_NE), dim=1).numpy())
    return target


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


def save_targets(targets: Mapping[str, Target], path: Path) -> None:
    tensors = {}
    for name, target in targets.items():
        for part in (*TENSORS, *DISPERSIONS):
            if (value := getattr(target, part)) is not None:
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
    means = (tensors[f"{name}.{part}"] for part in TENSORS[:2])
    rest = (tensors.get(f"{name}.{part}") for part in TENSORS[2:])
    return Target(*means, *rest, *(float(tensors[f"{name}.{part}"]) for part in DISPERSIONS))  # type: ignore[arg-type]
