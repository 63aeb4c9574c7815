"""A world of vectors without images: hidden modalities, findings, captions partly wrong, teachers of known skill.

A teacher sees the modality of everything. In the modalities of its skill it also sees the finding, `wrong` where the
skill says so: its captions then name the next one, always. Elsewhere its vectors hold noise instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmkd.corpus.schema import Corpus, caption_group, corpus_features
from mmkd.features.store import (
    TeacherFacts,
    TeacherFeatures,
    feature_columns,
    feature_table,
    open_features,
    write_facts,
)
from mmkd.folders.arrow import arrow_schema, finish, write_shard
from mmkd.folders.stage import Stage, complete

DIM = 48
SHARD = "data-00000-of-00001.arrow"


@dataclass(frozen=True)
class FeatureWorld:
    """Its folders, and what is hidden from the code: the modality of each pair, and whether its caption was kept."""

    folder: Path
    modality_N: np.ndarray
    kept_N: np.ndarray
    teachers: list[str]

    @property
    def corpus(self) -> Corpus:
        return Corpus(self.folder / "corpus")

    @property
    def features(self) -> list[TeacherFeatures]:
        return open_features(self.folder / "features", self.corpus, self.teachers)


def make_feature_world(
    folder: Path,
    skills: Mapping[str, Mapping[str, str]],
    sizes: Mapping[str, int],
    labelled: bool = False,
    wrong: float = 0.5,
    findings: int = 6,
    seed: int = 0,
    captionless: float = 0.0,
) -> FeatureWorld:
    """skills: teacher -> modality -> "right" or "wrong". sizes: modality -> pairs, of which each tenth is held out.
    captionless: share of pictures without a caption; the others are as without such.
    """
    rng = np.random.default_rng(seed)
    modality_N = rng.permutation(np.repeat(list(sizes), list(sizes.values())))
    finding_N = rng.integers(0, findings, len(modality_N))
    kept_N = rng.random(len(modality_N)) >= wrong
    caption_N = np.where(kept_N, finding_N, rng.integers(0, findings, len(modality_N)))
    captions = [f"{m} {c}" if labelled else f"finding {c}" for m, c in zip(modality_N, caption_N, strict=True)]
    named_N = modality_N if labelled else np.full(len(modality_N), "unknown")
    told_N = np.random.default_rng([seed, 1]).random(len(modality_N)) >= captionless
    captions = [caption if told else "" for caption, told in zip(captions, told_N, strict=True)]
    write_corpus(folder / "corpus", {"caption": captions, "modality": named_N.tolist()})
    corpus = Corpus(folder / "corpus")
    for name, skill in skills.items():
        sides = _vectors(skill, list(sizes), modality_N, finding_N, caption_N, findings, rng)
        sides["text"][~told_N] = np.nan
        write_features(folder / "features" / name, corpus, sides)
    return FeatureWorld(folder, modality_N, kept_N, list(skills))


def _vectors(
    skill: Mapping[str, str],
    modalities: list[str],
    modality_N: np.ndarray,
    finding_N: np.ndarray,
    caption_N: np.ndarray,
    findings: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    where = {name: m for m, name in enumerate(modalities)}
    of_N = np.array([where[name] for name in modality_N])
    modality_MD = rng.normal(size=(len(where), DIM))
    across_MDD = np.linalg.qr(rng.normal(size=(len(where), DIM, DIM)))[
        0
    ]  # findings at right angles: none is like another
    finding_MFD = across_MDD[:, :findings] * DIM**0.5
    told_N = np.array([skill.get(name, "") for name in modality_N])
    named_N = np.where(told_N == "wrong", (caption_N + 1) % findings, caption_N)
    sides = {}
    for side, shown_N in (("image", finding_N), ("text", named_N)):
        seen_ND = np.where((told_N != "")[:, None], finding_MFD[of_N, shown_N], rng.normal(size=(len(of_N), DIM)))
        value_ND = 2.0 * modality_MD[of_N] + seen_ND + 0.5 * rng.normal(size=seen_ND.shape)
        sides[side] = value_ND / np.linalg.norm(value_ND, axis=1, keepdims=True)
    return sides


def write_corpus(folder: Path, columns: Mapping[str, Sequence[Any]], shards: int = 1) -> None:
    """A corpus without pictures; columns that are not given are empty."""
    count = len(columns["caption"])
    schema = arrow_schema(corpus_features())
    told = {
        "id": [f"pair {i}" for i in range(count)],
        "split": ["val" if i % 10 == 9 else "train" for i in range(count)],
        "image": [{"bytes": b"", "path": None}] * count,
        "caption_group": [caption_group(caption) for caption in columns["caption"]],
        **columns,
    }
    empty = {field.name: [""] * count if pa.types.is_string(field.type) else [0] * count for field in schema}
    table = pa.table({**empty, **told}, schema=schema)

    def body(partial: Path) -> dict[str, int]:
        names = [f"data-{number:05d}-of-{shards:05d}.arrow" for number in range(shards)]
        each = -(-count // shards)
        for number, name in enumerate(names):
            write_shard(partial / name, schema, [table.slice(number * each, each)])
        finish(partial, corpus_features(), names, "ab" * 32)
        return {}

    complete(Stage("corpus", folder, {}, {}, ("data-*.arrow",)), body)


def write_features(folder: Path, corpus: Corpus, sides: Mapping[str, np.ndarray]) -> None:
    """A teacher's features of DIM dimensions; rows that are not finite are null."""

    def body(partial: Path) -> dict[str, int]:
        table = feature_table(corpus.table.data.column("id"), sides)
        write_shard(partial / SHARD, arrow_schema(feature_columns(DIM)), [table])
        finish(partial, feature_columns(DIM), [SHARD], "ab" * 32)
        write_facts(partial, TeacherFacts(folder.name, DIM, "MIT", "made up"))
        return {}

    complete(Stage("features", folder, {}, {"corpus": corpus.digest}), body)
