"""Question answering in worlds where only the question matters, and where the image does."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightings import counts, once, resamples
from worlds import Named, card, embedded, unit

from mmkd.cards.answers import normal_answer
from mmkd.cards.samples import BlankImage, ImageRef, Question, Sample, Split
from mmkd.errors import DataError
from mmkd.evaluation.heads.answer_head import places_of, principal_components, vocabulary_of
from mmkd.evaluation.models.embeddings import EmbeddedDataSet, Embeddings
from mmkd.evaluation.tasks.vqa import TASK, groups_of, shuffled
from mmkd.statistics.metrics import Array

CARD = card("vqa")
TEMPLATED = card("vqa", answer_templates=["{question} {answer}", "Q: {question} A: {answer}"])
ORGANS = ["lung", "heart", "liver", "brain"]
DIM = 12


def world(
    answer: Callable[[int, int], str], seed: int = 0, closed: bool = True, pictures: int = 60
) -> EmbeddedDataSet[Any]:
    """Four questions about every image; an image shows some of four organs, each a direction of its own.

    answer: (which organ is asked for, whether the image shows it) -> the true answer.
    """
    rng = np.random.default_rng(seed)
    direction = dict(zip(ORGANS, unit(4, DIM, 5), strict=True))
    samples, vectors = [], {}
    for number in range(pictures):
        shown = rng.integers(0, 2, 4)
        picture: ImageRef = Named(f"p{number}")
        vectors[picture] = sum((2 * shown[k] - 1) * direction[organ] for k, organ in enumerate(ORGANS))
        split: Split = "train" if number < pictures * 2 // 3 else "test"
        for k, organ in enumerate(ORGANS):
            question = Question(f"is there a {organ}?", answer(k, int(shown[k])), closed)
            samples.append(Sample(f"{number} {organ}", (picture,), split, question=question))
    texts = {f"is there a {organ}?": direction[organ] for organ in ORGANS}
    return embedded(CARD, samples, [{**vectors, BlankImage(): rng.normal(size=DIM)}], [texts])


def measured(one: EmbeddedDataSet[Any]) -> dict[str, float]:
    columns = TASK.predict(one).columns
    return {name: float(value[0]) for name, value in TASK.measure(columns, once(len(columns["closed"]))).items()}


def test_where_the_image_matters_the_head_sees_and_its_controls_do_not() -> None:
    found = measured(world(lambda organ, shown: "yes" if shown else "no"))
    assert found["accuracy"] > 0.9
    assert abs(found["question_only_accuracy"] - 0.5) < 0.2
    assert abs(found["blank_image_accuracy"] - 0.5) < 0.2
    assert abs(found["shuffled_image_accuracy"] - 0.5) < 0.25
    assert found["image_gain"] == pytest.approx(found["accuracy"] - found["question_only_accuracy"])
    assert found["closed_accuracy"] == found["accuracy"]
    assert not {"open_accuracy", "zero_shot_closed_accuracy"} & set(found)


def test_where_only_the_question_matters_the_image_gains_nothing() -> None:
    found = measured(world(lambda organ, shown: ORGANS[organ], closed=False))
    assert found["question_only_accuracy"] == found["accuracy"] == found["open_accuracy"] == 1
    assert found["shuffled_image_accuracy"] == 1
    assert found["image_gain"] == 0


def test_answers_outside_the_training_vocabulary_are_wrong_and_counted() -> None:
    one = world(lambda organ, shown: ORGANS[organ])
    renamed = [
        replace(sample, question=replace(sample.question, answer="spleen"))
        if sample.split == "test" and sample.question and sample.question.answer == "lung"
        else sample
        for sample in one.samples
    ]
    predicted = TASK.predict(replace(one, samples=renamed)).columns
    assert "spleen" not in set(predicted["guess"])
    found = {name: value[0] for name, value in TASK.measure(predicted, once(80)).items()}
    assert found["vocabulary_coverage"] == found["accuracy"] == 0.75


def test_answers_of_test_samples_change_no_guess() -> None:
    one = world(lambda organ, shown: "yes" if shown else "no")
    other = [
        replace(sample, question=replace(sample.question, answer="perhaps"))
        if sample.split == "test" and sample.question
        else sample
        for sample in one.samples
    ]
    first, second = TASK.predict(one).columns, TASK.predict(replace(one, samples=other)).columns
    assert first["guess"].tolist() == second["guess"].tolist()


def test_the_same_seed_gives_the_same_columns() -> None:
    first, second = (TASK.predict(world(lambda organ, shown: str(organ + shown))).columns for _ in range(2))
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


def test_a_val_split_chooses_the_penalty() -> None:
    one = world(lambda organ, shown: "yes" if shown else "no")
    half = [
        replace(sample, split="val") if sample.split == "train" and int(sample.id.split()[0]) % 4 == 0 else sample
        for sample in one.samples
    ]
    assert measured(replace(one, samples=half))["accuracy"] > 0.85


def test_the_vocabulary_is_cut_to_its_most_frequent_answers() -> None:
    one = world(lambda organ, shown: ORGANS[min(organ, 2)], closed=False)
    small = one.settings.model_copy(update={"vocabulary": 2})
    found = measured(replace(one, settings=small))
    assert found["vocabulary_coverage"] == 0.75  # liver stands for two of four questions


def test_metrics_by_hand_on_every_resample() -> None:
    rng = np.random.default_rng(0)
    names = ["correct", *(f"correct:{name}" for name in ("question_only", "blank_image", "shuffled_image"))]
    columns: dict[str, Array] = {name: rng.random(20) < 0.6 for name in [*names, "closed", "in_vocabulary"]}
    columns["zero_shot_closed"] = np.where(columns["closed"], rng.integers(0, 2, 20), -1).astype(np.int8)
    weight = counts(20, 6, 1)
    found = TASK.measure(columns, weight)
    for b, drawn in enumerate(resamples(weight)):
        right, closed = columns["correct"][drawn], columns["closed"][drawn]
        assert found["accuracy"][b] == pytest.approx(right.mean())
        assert found["closed_accuracy"][b] == pytest.approx(right[closed].mean())
        assert found["open_accuracy"][b] == pytest.approx(right[~closed].mean())
        assert found["blank_image_accuracy"][b] == pytest.approx(columns["correct:blank_image"][drawn].mean())
        assert found["zero_shot_closed_accuracy"][b] == pytest.approx(columns["zero_shot_closed"][drawn][closed].mean())
        assert found["image_gain"][b] == pytest.approx(
            right.mean() - columns["correct:question_only"][drawn].mean(), abs=1e-12
        )


def test_closed_questions_without_training_by_the_mean_of_the_templates() -> None:
    one = replace(world(lambda organ, shown: "Yes." if shown else "No"), card=TEMPLATED)
    texts = list(dict.fromkeys(TASK.texts(TEMPLATED, one.samples)))
    assert "is there a lung? yes" in texts
    assert "Q: is there a lung? A: no" in texts
    direction = dict(zip(ORGANS, unit(4, DIM, 5), strict=True))
    # a statement points to its organ or away from it; the second template alone says the opposite, but less loudly
    vectors = []
    for text in texts:
        organ = next(name for name in ORGANS if name in text)
        sign = {"yes": 1, "no": -1}.get(text.split()[-1], 1) * (-1 if text.startswith("Q:") else 1)
        side = 3.0 if text.startswith("Q:") else 0.0
        vector = np.append(sign * direction[organ], side)
        vectors.append(vector / np.linalg.norm(vector))
    image = np.hstack([one.members[0].image_ID, np.zeros((len(one.images), 1), np.float32)])
    asked = replace(one, members=[Embeddings(image, np.stack(vectors).astype(np.float32), texts)])
    right = TASK.predict(asked).columns["zero_shot_closed"]
    test = asked.split("test")
    for n, sample in enumerate(test):
        organ = sample.id.split()[1]
        towards = asked.of_images([sample])[0, :DIM] @ direction[organ] > 0
        assert sample.question is not None
        assert right[n] == (towards == (sample.question.answer == "Yes."))


def test_open_questions_and_other_closed_ones_are_not_asked_without_training() -> None:
    one = replace(world(lambda organ, shown: ORGANS[organ]), card=TEMPLATED)
    assert (TASK.predict(one).columns["zero_shot_closed"] == -1).all()
    assert "zero_shot_closed_accuracy" not in measured(one)


@given(st.lists(st.integers(0, 6), min_size=2, max_size=30), st.integers(0, 5))
def test_shuffled_pictures_are_others_and_stay_together(numbers: list[int], seed: int) -> None:
    pictures = [Named(str(number)) for number in numbers]
    rng = np.random.default_rng(seed)
    if len(set(numbers)) == 1:
        with pytest.raises(DataError, match="two or more"):
            shuffled(pictures, rng)
        return
    found = shuffled(pictures, rng)
    assert all(one != other for one, other in zip(pictures, found, strict=True))
    assert set(found) == set(pictures)
    assert len(set(zip(pictures, found, strict=True))) == len(set(pictures))


def test_questions_of_one_picture_are_one_group_unless_the_card_says_otherwise() -> None:
    asked = [Sample(str(i), (Named(name),)) for i, name in enumerate("aba")]
    assert groups_of(asked) == ["picture 0", "picture 1", "picture 0"]
    assert groups_of([replace(sample, group="patient") for sample in asked]) == ["patient"] * 3
    assert TASK.predict(world(lambda organ, shown: str(shown))).group[:5] == ["picture 0"] * 4 + ["picture 1"]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Yes.", "yes"),
        ("  The LEFT lung ", "left lung"),
        ("X-ray", "x ray"),
        ("a 1.5 cm mass, right", "1.5 cm mass right"),
        ("1,5", "1,5"),
        ("A", "a"),
        ("?", "?"),
        ("T2+", "t2+"),
        ("Crohn's", "crohn s"),
        ("ﬁbrosis", "fibrosis"),
        ("-2.50", "-2.50"),
        ("\u22122.50", "-2.50"),  # the minus sign of typesetting
        ("2.50", "2.50"),
        (".5 mm", ".5 mm"),
        ("<5 mm", "< 5 mm"),
        ("> 5 mm", "> 5 mm"),
        ("<= 5 mm", "≤ 5 mm"),
        ("T < -2.5", "t < -2.5"),
        ("RV>LV", "rv > lv"),
        ("COVID-19", "covid 19"),
        ("2-3 cm", "2 3 cm"),
        ("-ve", "-ve"),
        ("- yes -", "yes"),
    ],
)
def test_normal_answers(text: str, normal: str) -> None:
    assert normal_answer(text) == normal


@given(st.text())
def test_a_normal_answer_is_its_own_normal_form(text: str) -> None:
    normal = normal_answer(text)
    assert normal_answer(normal) == normal
    assert normal or not unicodedata.normalize("NFKC", text).strip()


def test_vocabulary_by_frequency_then_alphabet() -> None:
    vocabulary = vocabulary_of(["no", "yes", "b", "yes", "a", "no", "yes"], 3)
    assert vocabulary == ["yes", "no", "a"]
    assert places_of(["a", "b", "yes"], vocabulary) == [2, -1, 0]


def test_components_weigh_blocks_alike_and_equal_those_of_a_full_decomposition() -> None:
    rng = np.random.default_rng(0)
    blocks = [rng.normal(size=(50, 4)), 1e-3 * rng.normal(size=(50, 6)), np.ones((50, 2))]
    found = principal_components(blocks, 5, rng)
    scaled = [(block - block.mean(axis=0)) / np.sqrt(block.var(axis=0).sum()) for block in blocks[:2]]
    singular = np.linalg.svd(np.hstack(scaled), compute_uv=False)[:5]
    np.testing.assert_allclose(np.linalg.norm(found.of(blocks), axis=0), singular, rtol=1e-3)
    assert principal_components(blocks, 99, rng).of(blocks).shape == (50, 12)


def test_what_is_missing_is_an_error() -> None:
    one = world(lambda organ, shown: str(shown))
    unasked = [replace(sample, question=None) for sample in one.samples]
    with pytest.raises(DataError, match="sample '0 lung' has no question"):
        TASK.texts(CARD, unasked)
    with pytest.raises(DataError, match="0 distinct answers in the train split"):
        TASK.predict(replace(one, samples=one.split("test")))
    assert TASK.images(CARD, one.samples) == [BlankImage()]
    folders = card("vqa", layout={"reader": "folders", "path": "/set"})
    assert TASK.complaint(folders) == "needs questions, which the reader 'folders' does not give"
    assert TASK.complaint(CARD) == ""


def _of_words(texts: Sequence[str], dim: int) -> Array:
    """A direction for every word, added up."""
    words = {word: n for n, word in enumerate(sorted({word for text in texts for word in text.split()}))}
    direction = unit(len(words), dim, 0)
    return np.stack([direction[[words[word] for word in text.split()]].sum(axis=0) for text in texts])


def test_vqa_rad_with_words_for_questions_and_noise_for_pictures(realdata: Path) -> None:
    from mmkd.cards.card import Card
    from mmkd.cards.readers.read import read_samples

    layout = {"reader": "table", "splits": {s: realdata / f"vqa/vqa_rad_{s}.jsonl" for s in ("train", "test")}}
    of_card = Card.model_validate({**CARD.model_dump(), "layout": layout})
    some = read_samples(of_card)
    kept = [*[one for one in some if one.split == "train"][:400], *[one for one in some if one.split == "test"]]
    pictures = list(dict.fromkeys([*(one.image for one in kept), BlankImage()]))
    texts = list(dict.fromkeys(TASK.texts(of_card, kept)))
    images = dict(zip(pictures, unit(len(pictures), 16, 1), strict=True))
    one = embedded(of_card, kept, [images], [dict(zip(texts, _of_words(texts, 16), strict=True))])
    found = measured(one)
    assert 0.2 < found["question_only_accuracy"] < 0.6  # closed questions by their wording
    assert 0.5 < found["vocabulary_coverage"] < 0.91
    assert found["accuracy"] <= found["vocabulary_coverage"]
