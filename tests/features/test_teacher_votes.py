"""Zero-shot votes of teachers: prompts from the other half of the captions, scales that fit, guessers without
weight."""

from pathlib import Path

import numpy as np
import pytest

from feature_world import DIM, write_features
from mmkd.errors import DataError
from mmkd.features.evidence.corpus_votes import NAMES, corpus_votes, halves
from mmkd.features.evidence.teacher_votes import (
    SCALES,
    SILENT,
    Candidates,
    candidates_of,
    classified,
    classifier,
    counted_right,
)
from mmkd.features.store import open_features
from seen_world import SHOWN, SeenWorld, make_seen_world


def candidates_in(world: SeenWorld) -> Candidates:
    votes = corpus_votes(world.folder / "corpus", workers=0)
    return candidates_of(votes.known_N, halves(votes), is_fine=False, min_captions=5)


@pytest.fixture
def world(tmp_path: Path) -> SeenWorld:
    return make_seen_world(tmp_path)


def test_pictures_are_told_apart_whose_captions_say_nothing(world: SeenWorld) -> None:
    candidates = candidates_in(world)
    assert sorted(candidates.names) == sorted(SHOWN)
    classifiers = [classifier(world.add("sharp", 1.0, seed=1, blind=slice(0, 10)), candidates)]
    classifiers.append(classifier(world.add("guesser", 0.0, seed=2), candidates))
    assert classifiers[0].accuracy == 1.0
    assert classifiers[0].rows_M.sum() == 180 - 6  # rows 4 to 9 are blind and named
    assert classifiers[1].accuracy < 0.45
    alone_N, _ = classified(classifiers[:1], candidates)
    expected_N = np.array([candidates.names.index(name) for name in SHOWN])[world.truth_N]
    assert (alone_N[:10] == SILENT).all()
    assert (alone_N[10:] == expected_N[10:]).all()
    both_N, _ = classified(classifiers, candidates)
    assert (both_N[10:] == expected_N[10:]).all()


def test_support_is_the_softmax_of_cosines_with_prompts_of_the_other_half(world: SeenWorld) -> None:
    """Against a loop over rows in plain terms."""
    candidates = candidates_in(world)
    teacher = world.add("dim", 0.3, seed=3)
    found = classifier(teacher, candidates)
    image_ND, text_ND, _ = teacher.take(np.arange(240))
    image_ND, text_ND = image_ND.astype(np.float64), text_ND.astype(np.float64)
    support_NM = found.support(0, 240, candidates.half_N)
    for row in range(0, 240, 17):
        scores = []
        for m in range(len(candidates.names)):
            mean_D = text_ND[(candidates.known_N == m) & (candidates.half_N != candidates.half_N[row])].sum(axis=0)
            scores.append(image_ND[row] @ mean_D / np.linalg.norm(mean_D))
        power = np.exp(found.scale * np.array(scores))
        np.testing.assert_allclose(support_NM[row], power / power.sum(), rtol=1e-9)


def test_the_scale_is_that_under_which_the_captions_are_most_probable(world: SeenWorld) -> None:
    candidates = candidates_in(world)
    teacher = world.add("dim", 0.3, seed=3)
    found = classifier(teacher, candidates)
    known_N = candidates.known_N
    rows = np.flatnonzero(known_N != SILENT)

    def loss(scale: float) -> float:
        one = type(found)(teacher, found.prompt_GMD, scale, *np.zeros((2, len(candidates.names))))
        own_N = np.log(one.support(0, 240, candidates.half_N)[rows, known_N[rows]])
        return -float(np.mean([own_N[known_N[rows] == m].mean() for m in range(len(candidates.names))]))

    assert found.scale == min(SCALES, key=loss)
    assert SCALES[0] < found.scale < SCALES[-1]


def test_no_caption_votes_for_its_own_picture(world: SeenWorld) -> None:
    """A teacher that knows nothing but gives a picture and its caption one vector is right by chance only."""
    vector_ND = np.random.default_rng(5).normal(0, 1, (240, DIM))
    write_features(world.folder / "features" / "memory", world.corpus, {"image": vector_ND, "text": vector_ND})
    (memory,) = open_features(world.folder / "features", world.corpus, ["memory"])
    assert abs(classifier(memory, candidates_in(world)).accuracy - 1 / 4) < 0.12


def test_a_teacher_without_vectors_has_no_say(world: SeenWorld) -> None:
    candidates = candidates_in(world)
    blind = classifier(world.add("blind", 1.0, seed=1, blind=slice(0, 240)), candidates)
    assert (blind.accuracy, blind.rows_M.sum()) == (0.0, 0)
    assert (classified([blind], candidates)[0] == SILENT).all()


def test_a_modality_that_is_no_candidate_counts_as_an_error() -> None:
    candidates = Candidates(["x-ray", "ct"], np.zeros(4, np.int8), np.zeros(4, np.int8))
    named_N = np.array([NAMES.index(name) for name in ("mammography", "mri", "ct", "")])
    rows_MS, right_MS = counted_right(np.array([0, 0, 1, 1]), np.array([2, 2, 5, 5]), named_N, candidates)
    assert (rows_MS[0, 2], right_MS[0, 2]) == (2, 1)  # who says mammography does not deny x-ray
    assert (rows_MS[1, 5], right_MS[1, 5]) == (1, 1)
    assert (rows_MS.sum(), right_MS.sum()) == (3, 2)


def test_finer_modalities_count_as_their_parents_unless_the_names_are_fine() -> None:
    known_N = np.array([NAMES.index(name) for name in ("mammography", "x-ray", "ct") for _ in range(12)])
    half_N = np.arange(36) % 2
    assert candidates_of(known_N, half_N, is_fine=False, min_captions=6).names == ["x-ray", "ct"]
    fine = candidates_of(known_N, half_N, is_fine=True, min_captions=6)
    assert sorted(fine.names) == ["ct", "mammography", "x-ray"]
    assert [fine.names[place] for place in fine.known_N[::12]] == ["mammography", "x-ray", "ct"]


def test_too_few_named_modalities_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0 modalities are named by at least 5 captions .* leave the section"):
        candidates_in(make_seen_world(tmp_path, count=12))
