"""Prompt ensembles and class scores."""

from pathlib import Path

import numpy as np
import pytest

from mmkd.evaluation.card import Card
from mmkd.evaluation.embeddings import Embeddings, normalised
from mmkd.evaluation.readers import Sample
from mmkd.evaluation.tasks.zero_shot import TASK, class_embedding

CARD = Card.model_validate(
    {
        "id": "set",
        "modality": "ct",
        "tasks": ["zero_shot"],
        "licence": "CC0",
        "layout": {"reader": "folders", "path": "/set"},
        "classes": [{"name": "left", "prompts": ["l1", "l2"]}, {"name": "right", "prompts": ["r"]}],
    }
)
SAMPLES = [Sample(str(i), Path("x.png"), label=label) for i, label in enumerate([0, 1, 1])]
TEXTS = ["l1", "l2", "r"]


def member(seed: int, dim: int) -> Embeddings:
    rng = np.random.default_rng(seed)
    image, text = (normalised(rng.normal(size=(3, dim))).astype(np.float32) for _ in range(2))
    return Embeddings(image, text, TEXTS)


def test_class_embedding_by_hand() -> None:
    # unit prompts (1, 0) and (0, 1), whatever their length before: the mean points along the diagonal
    np.testing.assert_allclose(class_embedding(np.array([[5.0, 0.0], [0.0, 0.1]])), [0.5**0.5, 0.5**0.5])


def test_predictions_by_hand() -> None:
    image = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    text = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32)
    columns = TASK.predict(CARD, SAMPLES, [Embeddings(image, text, TEXTS)])
    assert list(columns) == ["label", "score:left", "score:right"]
    left = np.array([1.6, 0.8]) / np.hypot(1.6, 0.8)
    np.testing.assert_allclose(columns["score:left"], [left[0], left[1], left[0]], rtol=1e-6)
    np.testing.assert_allclose(columns["score:right"], [0, 1, 0])
    assert columns["score:left"].dtype == np.float32
    measured = {name: value[0] for name, value in TASK.measure(columns, np.ones((1, 3), np.uint16)).items()}
    assert measured == {"accuracy": pytest.approx(2 / 3), "balanced_accuracy": 0.75, "macro_auc": 0.75}


def test_an_ensemble_equals_the_cosine_of_concatenated_unit_vectors() -> None:
    members = [member(0, 4), member(1, 9)]
    together = TASK.predict(CARD, SAMPLES, members)
    image = normalised(np.concatenate([part.image_ND for part in members], axis=1))
    for name, prompts in (("left", ["l1", "l2"]), ("right", ["r"])):
        parts = [class_embedding(part.of_texts(prompts)) for part in members]
        expected = image @ normalised(np.concatenate(parts))
        np.testing.assert_allclose(together[f"score:{name}"], expected, rtol=1e-5, atol=1e-6)


def test_equal_scores_go_to_the_first_class() -> None:
    columns = {"label": np.array([0, 1]), "score:a": np.zeros(2), "score:b": np.zeros(2)}
    measured = TASK.measure(columns, np.ones((1, 2), np.uint16))
    assert measured["accuracy"][0] == 0.5
    assert measured["macro_auc"][0] == 0.5
