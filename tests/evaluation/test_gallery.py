"""The gallery: which errors and queries are shown, in what images; equal inputs make equal files."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from colour_world import write_pairs, write_squares
from PIL import Image

from mmkd.cards.samples import Question
from mmkd.errors import DataError
from mmkd.evaluation.data_sets.choose import load_card
from mmkd.evaluation.data_sets.opened import DataSet, DecodedImages, open_data_set
from mmkd.evaluation.format.predictions import Predicted, PredictionFacts, write_predictions
from mmkd.evaluation.gallery.examples import SIDE_PX, gallery_path, read_gallery, thumbnail, worst_first
from mmkd.evaluation.models.embeddings import Embeddings, embeddings_path, normalised, write_embeddings
from mmkd.evaluation.models.encoders import Encoder, LoadableModel
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.evaluation.units import units_of, write_galleries

COLOURS = ["red", "green", "blue"]


@pytest.fixture
def squares(tmp_path: Path) -> DataSet:
    """Two squares of each colour."""
    return open_data_set(load_card(write_squares(tmp_path / "squares", "ct", 2, 0)))


def predict_classes(folder: Path, data_set: DataSet, score_NC: np.ndarray) -> None:
    label_N = np.array([sample.label for sample in data_set.samples], np.int32)
    columns = {f"score:{name}": score_NC[:, c].astype(np.float32) for c, name in enumerate(COLOURS)}
    facts = PredictionFacts("student", data_set.card.id, data_set.card.modality, "zero_shot")
    write_predictions(folder, facts, Predicted.of(data_set.samples, {"label": label_N, **columns}))


def never_loaded(device: object) -> Encoder:
    raise AssertionError("a gallery needs no model")


def show(folder: Path, data_set: DataSet, limit: int = 12) -> int:
    """How many examples the gallery has; embeddings of zeros where there are none."""
    path = embeddings_path(folder, data_set.card.id, "student")
    if not path.is_file():
        zeros = np.zeros((len(data_set.images), 2), np.float32), np.zeros((len(data_set.texts), 2), np.float32)
        write_embeddings(path, Embeddings(*zeros, data_set.texts), "x")
    members = {"student": [LoadableModel("student", "x", never_loaded)]}
    units = list(units_of(data_set, members, EvaluateSettings(cards=[Path("a.toml")]), seed=0))
    write_galleries(folder, units, "student", DecodedImages(1), limit)
    return len(read_gallery(folder))


def confident(data_set: DataSet, wrong: dict[int, tuple[int, float]]) -> np.ndarray:
    """Scores of 1 for the true class; wrong: sample -> the class that scores 1 more than the truth by this much."""
    score_NC = np.eye(3)[[sample.label for sample in data_set.samples]]
    for row, (said, excess) in wrong.items():
        score_NC[row, said] = 1 + excess
    return score_NC


def test_the_surest_errors_come_first_and_no_right_answer_is_shown(tmp_path: Path, squares: DataSet) -> None:
    said = {0: (1, 0.2), 3: (2, 0.9), 4: (0, 0.5)}
    said = {row: ((squares.samples[row].label + 1) % 3, excess) for row, (_, excess) in said.items()}
    predict_classes(tmp_path, squares, confident(squares, said))
    assert show(tmp_path, squares) == 3
    found = read_gallery(tmp_path)
    assert [one.id for one in found] == [squares.samples[row].id for row in (3, 4, 0)]
    assert [one.score for one in found] == pytest.approx([0.9, 0.5, 0.2])
    assert [one.truth for one in found] == [COLOURS[squares.samples[row].label] for row in (3, 4, 0)]
    assert [one.said for one in found] == [COLOURS[said[row][0]] for row in (3, 4, 0)]


def test_the_picture_is_that_of_the_sample(tmp_path: Path, squares: DataSet) -> None:
    predict_classes(tmp_path, squares, confident(squares, {2: ((squares.samples[2].label + 1) % 3, 0.3)}))
    show(tmp_path, squares)
    [one] = read_gallery(tmp_path)
    with Image.open(io.BytesIO(one.picture or b"")) as shown:
        mean_3 = np.asarray(shown.convert("RGB"), np.float64).mean(axis=(0, 1))
    true_3 = np.asarray(squares.samples[2].image.read(), np.float64).mean(axis=(0, 1))
    assert mean_3 == pytest.approx(true_3, abs=6)  # JPEG


def test_the_limit_holds_and_equal_inputs_make_equal_files(tmp_path: Path, squares: DataSet) -> None:
    everywhere = {row: ((sample.label + 1) % 3, 0.1) for row, sample in enumerate(squares.samples)}
    predict_classes(tmp_path, squares, confident(squares, everywhere))
    assert show(tmp_path, squares, limit=4) == 4
    once = gallery_path(tmp_path, squares.card.id).read_bytes()
    show(tmp_path, squares, limit=4)
    assert gallery_path(tmp_path, squares.card.id).read_bytes() == once


def test_nothing_to_show_leaves_no_file(tmp_path: Path, squares: DataSet) -> None:
    predict_classes(tmp_path, squares, confident(squares, {}))
    gallery_path(tmp_path, squares.card.id).parent.mkdir()
    gallery_path(tmp_path, squares.card.id).write_bytes(b"of an earlier model")
    assert show(tmp_path, squares) == 0
    assert read_gallery(tmp_path) == []


def test_a_model_that_was_not_asked_has_no_gallery(tmp_path: Path, squares: DataSet) -> None:
    assert show(tmp_path, squares) == 0
    assert show(tmp_path, squares, limit=0) == 0


def test_predictions_of_other_samples_are_refused(tmp_path: Path, squares: DataSet) -> None:
    predict_classes(tmp_path, squares, confident(squares, {0: ((squares.samples[0].label + 1) % 3, 0.1)}))
    fewer = DataSet(squares.card, squares.samples[1:], squares.images[1:], squares.texts, squares.digest)
    with pytest.raises(DataError, match="is predicted but is no sample"):
        show(tmp_path, fewer)


def test_a_query_shows_its_nearest_distinct_captions_and_pictures(tmp_path: Path) -> None:
    """Images see colour exactly; the text of green is that of blue, so green is found second."""
    pairs = open_data_set(load_card(write_pairs(tmp_path / "pairs", write_squares(tmp_path / "sq", "ct", 1, 0))))
    place = {"a red square": [1, 0, 0], "a green square": [0, 0.6, 0.8], "a blue square": [0, 0, 1]}
    image_ID = normalised(np.array([np.eye(3)[COLOURS.index(s.caption.split()[1])] for s in pairs.samples], np.float32))
    text_TD = np.array([place[text] for text in pairs.texts], np.float32)
    write_embeddings(embeddings_path(tmp_path, "pairs", "student"), Embeddings(image_ID, text_TD, pairs.texts), "x")
    colour_N = [sample.caption.split()[1] for sample in pairs.samples]
    ranks = {
        "image_to_text_rank": np.ones(3, np.float32),
        "text_to_image_rank": np.array([2.0 if name == "green" else 1.0 for name in colour_N], np.float32),
    }
    facts = PredictionFacts("student", "pairs", "mixed", "retrieval")
    write_predictions(tmp_path, facts, Predicted.of(pairs.samples, ranks))
    assert show(tmp_path, pairs, limit=4) == 3, "all images find their caption first: none is worst"
    best_image, *_, worst_text = read_gallery(tmp_path)
    assert (best_image.kind, best_image.asked, best_image.truth) == ("best query", "", pairs.samples[0].caption)
    assert best_image.shown[0].right
    assert best_image.shown[0].picture is None
    assert len({shown.text for shown in best_image.shown}) == 3
    assert (worst_text.kind, worst_text.asked, worst_text.score) == ("worst query", "a green square", 2.0)
    assert [(shown.text, shown.right) for shown in worst_text.shown[:2]] == [
        ("a blue square", False),
        ("a green square", True),
    ]
    assert all(shown.picture for shown in worst_text.shown)


def test_wrong_answers_show_every_picture_once_before_one_twice(tmp_path: Path, squares: DataSet) -> None:
    """Three wrong answers on the first image, one on the second, a right one on the third."""
    pictures = [squares.samples[n] for n in (0, 0, 0, 1, 2)]
    samples = [
        replace(sample, id=f"q{n}", question=Question(f"what {n}?", "yes", True), labels=())
        for n, sample in enumerate(pictures)
    ]
    card = squares.card.model_copy(update={"tasks": ["vqa"]})
    asked = DataSet(card, samples, squares.images, [], "x")
    columns = {"correct": np.array([False, False, False, False, True]), "guess": np.array(["no"] * 5, np.object_)}
    facts = PredictionFacts("student", card.id, card.modality, "vqa")
    write_predictions(tmp_path, facts, Predicted.of(samples, columns))
    assert show(tmp_path, asked, limit=3) == 3
    found = read_gallery(tmp_path)
    assert [one.id for one in found] == ["q0", "q3", "q1"]
    assert (found[1].asked, found[1].truth, found[1].said) == ("what 3?", "yes", "no")


@pytest.mark.parametrize(("size", "expected"), [((1000, 500), (160, 80)), ((40, 30), (40, 30)), ((1, 4000), (1, 160))])
def test_thumbnails_keep_the_shape_and_never_grow(size: tuple[int, int], expected: tuple[int, int]) -> None:
    with Image.open(io.BytesIO(thumbnail(Image.new("L", size, 90)))) as small:
        assert small.size == expected
        assert max(small.size) <= SIDE_PX
        assert (small.format, small.mode) == ("JPEG", "RGB")


def test_equal_values_keep_their_order() -> None:
    assert worst_first(np.array([1.0, 3.0, 3.0, 2.0]), np.array([True, True, True, False])) == [1, 2, 0]


def test_a_damaged_gallery_is_named(tmp_path: Path) -> None:
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"x.parquet: not readable as a gallery"):
        read_gallery(tmp_path)
