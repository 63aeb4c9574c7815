"""The folder of the stage `reliability`: what was measured of every teacher, and the weights that follow from it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from mmkd.corpus.schema import Corpus
from mmkd.errors import DataError
from mmkd.folders.atomic import atomic_file, write_json
from mmkd.folders.stage import digest_of
from mmkd.reliability.part_files import PartsOfRows, load_parts, save_parts

TABLE = "reliability.json"
MEANS = "means.safetensors"
CLUSTERS = "clusters.safetensors"
MODALITIES = "modalities.safetensors"


@dataclass(frozen=True)
class TeacherGeometry:
    """A teacher's embeddings in numbers.

    scale: the logit scale of its softmax. dispersions in radian^2. means: of unit vectors, (D,).
    """

    name: str
    dim: int
    licence: str
    scale: float
    image_dispersion: float
    text_dispersion: float
    image_mean: np.ndarray
    text_mean: np.ndarray


@dataclass(frozen=True)
class GroupReliability:
    """One cell of the table: a teacher on a modality or cluster. weight: 0..1, the best teacher of the group has 1.

    Under method "stacking" also: slope multiplies the teacher's raw cosine in the stack's logits, with the 95 %
    interval slope_low..slope_high; z_weight is the same weight per standard deviation of the teacher's cosines along a
    row of the group, so that teachers can be compared. All 0 under method "rank".
    """

    group: str
    teacher: str
    n: int
    percentile: float
    se: float
    weight: float
    slope: float = 0.0
    slope_low: float = 0.0
    slope_high: float = 0.0
    z_weight: float = 0.0


@dataclass(frozen=True)
class GroupStack:
    """The stack of all teachers on one modality or cluster, see `stacking.py`.

    n: pairs it was fitted on. wrong_captions: the share of wrong captions 0..1, with its 95 % interval
    wrong_low..wrong_high. gain: held-out nats a pair over guessing uniformly, the mean of both directions; gain_best:
    that of the best single teacher. whole: the modality that the group is a part of, "" where it is none; gain_whole:
    then the gain with the ratio of the modality's weights, sharpness and level fitted in the part.
    """

    group: str
    n: int
    wrong_captions: float
    wrong_low: float
    wrong_high: float
    gain: float
    gain_best: float
    whole: str = ""
    gain_whole: float = 0.0


@dataclass(frozen=True)
class ReliabilityTable:
    """Teachers in the order of their names; `cells` has every (group, teacher).

    by: what the groups are, "modality", "cluster" or "nested"; cluster_N: then the cluster of each row of the corpus,
    int32; parts: of "nested". modality_N: the modality of each row, strings, where it is not the corpus's own. stacks:
    one of each group under method "stacking", none under "rank".
    """

    teachers: list[TeacherGeometry]
    cells: list[GroupReliability]
    by: str = "modality"
    cluster_N: np.ndarray | None = None
    digest: str = ""
    modality_N: np.ndarray | None = None
    stacks: list[GroupStack] = field(default_factory=list)
    parts: PartsOfRows | None = None

    @property
    def group_names(self) -> list[str]:
        return list(dict.fromkeys(cell.group for cell in self.cells))

    def untrusted(self, group_N: np.ndarray) -> dict[str, int]:
        """The groups of these rows in which no teacher has a weight -> number of their rows."""
        trusted = {cell.group for cell in self.cells if cell.weight > 0}
        name_G, count_G = np.unique(group_N, return_counts=True)
        found = dict(zip(name_G.tolist(), count_G.tolist(), strict=True))
        return {name: count for name, count in found.items() if name not in trusted}

    @property
    def why_untrusted(self) -> str:
        """What `untrusted` groups lack, for a sentence that goes on with "on" and their names."""
        return "no stack of teachers is above guessing" if self.stacks else "no teacher passes the rank test"

    def groups(self, corpus: Corpus) -> np.ndarray:
        """The group of each row of the corpus, an array of strings. Raises DataError for another corpus."""
        return groups_of(corpus, self.cluster_N, self.modality_N, self.parts)

    @property
    def group_word(self) -> str:
        """What a group is, for the head of a table."""
        return "group" if self.by == "nested" else self.by

    def weights(self, group_N: np.ndarray) -> np.ndarray:
        """The weight of each teacher (K) for rows of the given groups (N,) -> (N, K) float32.

        Groups that were not measured get 0 from every teacher.
        """
        return self._of_cells("weight", group_N)

    def slopes(self, group_N: np.ndarray) -> np.ndarray:
        """The slope of each teacher (K) in the stack's logits for rows of the given groups (N,) -> (N, K) float32.

        Row n's logit of a caption is sum_k slope[n, k] * cosine of teacher k. Groups that were not measured, and all
        groups under method "rank", get 0 from every teacher.
        """
        return self._of_cells("slope", group_N)

    def wrong_captions(self, group_N: np.ndarray) -> np.ndarray:
        """The fitted share of wrong captions 0..1 for rows of the given groups (N,) -> (N,) float32.

        Groups without a stack get 1: nothing there says that a caption is right.
        """
        share = {stack.group: stack.wrong_captions for stack in self.stacks}
        name_G, of_N = np.unique(group_N, return_inverse=True)
        return np.array([share.get(name, 1.0) for name in name_G.tolist()], dtype=np.float32)[of_N]

    def _of_cells(self, value: str, group_N: np.ndarray) -> np.ndarray:
        known = {name: m for m, name in enumerate(self.group_names)}
        table_MK = np.zeros((len(known) + 1, len(self.teachers)), dtype=np.float32)
        column = {teacher.name: k for k, teacher in enumerate(self.teachers)}
        for cell in self.cells:
            table_MK[known[cell.group], column[cell.teacher]] = getattr(cell, value)
        name_G, of_N = np.unique(group_N, return_inverse=True)
        return np.asarray(table_MK[[known.get(name, len(known)) for name in name_G.tolist()]][of_N])


def counted(pairs: Mapping[str, int]) -> str:
    """`ct (1,200 pairs), oct (1 pair)`."""
    return ", ".join(f"{name} ({count:,} pair{'' if count == 1 else 's'})" for name, count in pairs.items())


def groups_of(
    corpus: Corpus,
    cluster_N: np.ndarray | None,
    modality_N: np.ndarray | None = None,
    parts: PartsOfRows | None = None,
) -> np.ndarray:
    """The name of each row's cluster or part where there are such; else its modality, the corpus's without others."""
    part_N = parts.group_N if parts else None
    for what, value_N in (("clusters", cluster_N), ("modalities", modality_N), ("parts", part_N)):
        if value_N is not None and len(value_N) != len(corpus):
            raise DataError(
                f"the reliability table has {what} of {len(value_N)} rows, but {corpus.folder} has {len(corpus)}; "
                "run 'mmkd reliability' again"
            )
    if part_N is not None:
        return part_N
    if cluster_N is None:
        return corpus.modalities if modality_N is None else modality_N
    names_K = np.array([f"cluster {k:02d}" for k in range(int(cluster_N.max()) + 1)])
    return np.asarray(names_K[cluster_N])


def save_reliability(reliability: ReliabilityTable, folder: Path) -> None:
    """Write the table as JSON; means, clusters and modalities as safetensors."""
    means = {}
    rows = []
    for teacher in reliability.teachers:
        facts = asdict(teacher)
        means[f"{teacher.name}.image"] = facts.pop("image_mean")
        means[f"{teacher.name}.text"] = facts.pop("text_mean")
        rows.append(facts)
    with atomic_file(folder / MEANS) as stream:
        stream.write(save(means))
    if reliability.cluster_N is not None:
        with atomic_file(folder / CLUSTERS) as stream:
            stream.write(save({"cluster": reliability.cluster_N}))
    named: dict[str, Any] = {}
    if reliability.modality_N is not None:
        name_G, of_N = np.unique(reliability.modality_N, return_inverse=True)
        named["modalities"] = name_G.tolist()
        with atomic_file(folder / MODALITIES) as stream:
            stream.write(save({"modality": of_N.astype(np.int16)}))
    if reliability.parts is not None:
        named["parts"] = save_parts(reliability.parts, folder)
    measured = {
        "reliability": [asdict(cell) for cell in reliability.cells],
        "stacks": [asdict(stack) for stack in reliability.stacks],
    }
    write_json(folder / TABLE, {"by": reliability.by, **named, "teachers": rows, **measured})


def load_reliability(folder: Path) -> ReliabilityTable:
    """Read a reliability folder. Raises DataError when it is not one."""
    try:
        digest = digest_of(folder)
        table = json.loads((folder / TABLE).read_text())
        means = load_file(folder / MEANS)
        teachers = [
            TeacherGeometry(
                **facts, image_mean=means[f"{facts['name']}.image"], text_mean=means[f"{facts['name']}.text"]
            )
            for facts in table["teachers"]
        ]
        cells = [GroupReliability(**cell) for cell in table["reliability"]]
        stacks = [GroupStack(**stack) for stack in table.get("stacks", [])]  # releases before had none
        cluster_N = load_file(folder / CLUSTERS)["cluster"] if table["by"] == "cluster" else None
        modality_N = None
        if "modalities" in table:
            modality_N = np.array(table["modalities"])[load_file(folder / MODALITIES)["modality"]]
        parts = load_parts(folder, table["parts"]) if "parts" in table else None
        return ReliabilityTable(teachers, cells, table["by"], cluster_N, digest, modality_N, stacks, parts)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{folder}: not a reliability folder ({error!r}); run 'mmkd reliability' again") from error
