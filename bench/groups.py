"""How fine groups should be: `python bench/groups.py RECIPE RUN`, a run with corpus and features (after `extract`).

Stacks are fitted by modality, by cluster, nested (parts of modalities), and by the sources of the corpus, which only an
experiment knows to be the questions. Printed for each data set whose card has the name of a source:
* nats a pair over guessing on held-out pairs of the source, where scale and level of the stack are fitted on the
  others: the question is the same for all ways to group, and only the ratio of the weights differs;
* zero-shot accuracy on a split of the cards (`val` to choose, `test` once), of each teacher and of each stack.
Embeddings of the cards are kept in RUN/../RUN-cards.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mmkd.corpus.schema import Corpus
from mmkd.device import prepare
from mmkd.evaluation.data_sets.opened import DataSet, DecodedImages
from mmkd.evaluation.embed import embed
from mmkd.evaluation.evaluate import open_data_sets
from mmkd.evaluation.models.embeddings import Embeddings, embeddings_path, read_embeddings
from mmkd.evaluation.models.encoders import loadable_model
from mmkd.evaluation.tasks.classes import truth_of
from mmkd.evaluation.tasks.zero_shot import class_embeddings
from mmkd.features.store import TeacherFeatures, open_features
from mmkd.pipeline.recipe import load_recipe
from mmkd.pipeline.run import Run
from mmkd.randomness import Purpose, generator
from mmkd.reliability.clusters import find_clusters
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.reliability.stack_fit import FIRST_LEVEL
from mmkd.reliability.stack_likelihood import blocks_of, guessing, log_likelihood
from mmkd.reliability.stack_pairs import StackPairs, folds_of
from mmkd.reliability.stack_parts import POOLED, fit_part
from mmkd.reliability.stack_stage import find_nest, fit_stacks

WAYS = ("modality", "cluster", "nested", "source")
FOLDS = 3
Slopes = Mapping[str, np.ndarray]  # data set -> slope of each teacher


@dataclass(frozen=True)
class World:
    """Corpus, features of all teachers, and the cards' data sets as each teacher embeds them."""

    corpus: Corpus
    features: Sequence[TeacherFeatures]
    sets: Mapping[str, DataSet]
    embedded: Mapping[tuple[str, str], Embeddings]
    seed: int

    @cached_property
    def source(self) -> np.ndarray:
        return np.array(self.corpus.column("source"))

    def texts(self, card_id: str, names: Sequence[str]) -> dict[str, np.ndarray]:
        return {name: self.embedded[card_id, name].text_TD for name in names}


def opened(recipe_path: str, out: Path) -> World:
    recipe = load_recipe(Path(recipe_path), out, [])
    run, device, images = Run(recipe, out), prepare(recipe.machine), DecodedImages(2_000)
    corpus = Corpus(out / "corpus")
    sources = set(corpus.column("source"))
    sets = {one.card.id: one for one in open_data_sets(recipe.evaluate) if one.card.id in sources}
    cards = out.with_name(f"{out.name}-cards")
    embedded: dict[tuple[str, str], Embeddings] = {}
    for spec in run.teachers:
        embed(loadable_model(spec), list(sets.values()), cards, device, images, 256, 0)
        embedded |= {(name, spec.name): read_embeddings(embeddings_path(cards, name, spec.name)) for name in sets}
    features = open_features(out / "features", corpus, sorted(spec.name for spec in run.teachers))
    return World(corpus, features, sets, embedded, recipe.seed)


def slopes_by(way: str, world: World, rows: np.ndarray) -> Slopes:
    """The slopes of each data set, up to one factor, by stacks that were fitted on these rows."""
    corpus, modality_N, nest = world.corpus, world.corpus.modalities, None
    by = way if way in ("cluster", "nested") else "modality"
    settings = ReliabilitySettings.model_validate({"method": "stacking", "by": by, "bootstrap": 2})
    group_N = world.source if way == "source" else modality_N
    if way == "cluster":
        group_N = np.array([str(k) for k in find_clusters(world.features, rows, len(corpus), 0, world.seed)])
    if way == "nested":
        nest = find_nest(world.features, _by_group(rows, modality_N), corpus, modality_N, settings, world.seed)
        group_N = nest.group_N
    stacks = fit_stacks(world.features, _by_group(rows, group_N), corpus, settings, world.seed, nest)
    slopes = {}
    for card_id, data_set in world.sets.items():
        modality = data_set.card.modality
        if nest is not None and modality in nest.cells:
            cells = nest.cells[modality]
            shares = cells.shares(world.texts(card_id, list(cells.metric.slopes)))
        else:  # as `stack_of` has it: the mean over the pairs of the modality
            inside_N = world.source[rows] == card_id if way == "source" else modality_N[rows] == modality
            name_G, count_G = np.unique(group_N[rows][inside_N], return_counts=True)
            shares = dict(zip(name_G.tolist(), (count_G / count_G.sum()).tolist(), strict=True))
        known = {name: share for name, share in shares.items() if stacks[name].slope_T.any()}
        total = np.zeros(len(world.features))
        for name, share in known.items():
            total += share / sum(known.values()) * stacks[name].slope_T / stacks[name].slope_T.sum()
        slopes[card_id] = total
    return slopes


def _by_group(rows: np.ndarray, group_N: np.ndarray) -> dict[str, np.ndarray]:
    return {str(name): rows[group_N[rows] == name] for name in np.unique(group_N[rows])}


def held_out_gain(world: World, slope_T: np.ndarray, fitted: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Nats over guessing of each held-out row, with these slopes up to one factor, among fitted and held-out rows."""
    rows, is_held_N = np.concatenate([fitted, held]), np.arange(len(fitted) + len(held)) >= len(fitted)
    if not slope_T.any():
        return np.zeros(len(held))
    sides = [teacher.take(rows)[:2] for teacher in world.features]
    order_N = generator(world.seed, Purpose.STACK_FOLDS, "bench").permutation(len(rows))
    blocks, spread_T = blocks_of(sides, order_N)
    pairs = StackPairs(blocks, spread_T, np.arange(len(rows)), is_held_N.astype(np.int64))
    start_P = np.append(slope_T * spread_T, FIRST_LEVEL)
    parameter_P = fit_part(pairs, (~is_held_N).astype(np.float64), slope_T, POOLED, start_P)
    gain_N = log_likelihood(blocks, parameter_P, len(rows)) - guessing(blocks, len(rows))
    return np.asarray(gain_N[is_held_N])


def gains(world: World, ways: Sequence[str]) -> dict[tuple[str, str], np.ndarray]:
    """(way, data set) -> held-out nats of its pairs; folds cut no patient."""
    rows = world.corpus.rows("train")
    unit_N = np.unique(np.array(world.corpus.column("group"))[rows], return_inverse=True)[1]
    fold_N = folds_of(unit_N, FOLDS, generator(world.seed, Purpose.STACK_FOLDS, "bench"))
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for way in ways:
        for fold in range(FOLDS):
            slopes = slopes_by(way, world, rows[fold_N != fold])
            for name in world.sets:
                own_N = world.source[rows] == name
                fitted, held = rows[own_N & (fold_N != fold)], rows[own_N & (fold_N == fold)]
                if len(held):
                    found.setdefault((way, name), []).append(held_out_gain(world, slopes[name], fitted, held))
    return {key: np.concatenate(parts) for key, parts in found.items()}


def accuracy(world: World, card_id: str, slope_T: np.ndarray, split: str) -> float:
    """Zero-shot, percent."""
    data_set = world.sets[card_id]
    row_of = {image: row for row, image in enumerate(data_set.images)}
    samples = [sample for sample in data_set.samples if sample.split == split]
    prompts = [entry.prompts for entry in data_set.card.classes]
    texts, names = [prompt for own in prompts for prompt in own], [entry.name for entry in data_set.card.classes]
    score_NC = np.zeros((len(samples), len(names)))
    for teacher, slope in zip(world.features, slope_T.tolist(), strict=True):
        one = world.embedded[card_id, teacher.name]
        class_CD = class_embeddings(one.of_texts(texts), [len(own) for own in prompts])
        score_NC += slope * one.image_ID[[row_of[sample.image] for sample in samples]] @ class_CD.T
    return 100.0 * float(np.mean(score_NC.argmax(axis=1) == truth_of(data_set.card, samples)))


def show(
    title: str, columns: Sequence[str], cell: Mapping[tuple[str, str], float], sets: Sequence[str], digits: int
) -> None:
    print(f"\n{title:20s}" + "".join(f"{column:>12s}" for column in columns))
    for name in [*sets, "mean"]:
        values = [
            np.mean([cell[column, one] for one in sets]) if name == "mean" else cell[column, name] for column in columns
        ]
        print(f"{name:20s}" + "".join(f"{value:12.{digits}f}" for value in values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("run", type=Path)
    parser.add_argument("--splits", default="val", help="val, or val,test when nothing is left to be chosen")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--no-likelihood", action="store_true", help="accuracies only")
    options = parser.parse_args()
    world, ways = opened(options.recipe, options.run), options.ways.split(",")
    sets, rows = list(world.sets), world.corpus.rows("train")
    teachers = [teacher.name for teacher in world.features]
    slopes: dict[str, Slopes] = {}
    for place, teacher in enumerate(teachers):
        slopes[teacher] = dict.fromkeys(sets, np.eye(len(teachers))[place])
    for way in ways:
        started = time.process_time()
        slopes[way] = slopes_by(way, world, rows)
        print(f"{way}: fitted in {time.process_time() - started:.1f} s of one core")
    for split in options.splits.split(","):
        cell = {(way, one): accuracy(world, one, of[one], split) for way, of in slopes.items() for one in sets}
        show(f"accuracy on {split}", list(slopes), cell, sets, 1)
    if not options.no_likelihood:
        found = gains(world, ways)
        show("held-out nats a pair", ways, {key: float(gain_N.mean()) for key, gain_N in found.items()}, sets, 3)


if __name__ == "__main__":
    main()
