"""The audit as a whole: copies in the corpus and between splits are found, named, confirmed; lookalikes are not."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from mmkd.cards.card import Card
from mmkd.cards.samples import CorpusImage, FileImage, Sample, Split, corpus_of
from mmkd.errors import DataError
from mmkd.evaluation.data_sets.opened import DataSet, DecodedImages
from mmkd.evaluation.data_sets.source import fingerprint
from mmkd.evaluation.leakage import audit as audit_module
from mmkd.evaluation.leakage.audit import audit, threshold, thumbnails
from mmkd.evaluation.leakage.matches import Match, SetSummary, leaked_samples, read_matches, read_summary, summarised
from mmkd.evaluation.models.encoders import LoadableModel
from mmkd.images.thresholds import LEAKAGE

CARD = {
    "id": "set",
    "modality": "x-ray",
    "tasks": ["zero_shot"],
    "licence": "none",
    "layout": {"reader": "folders", "path": "nowhere"},
}


def data_set(samples: Sequence[Sample], name: str = "set", modality: str = "x-ray") -> DataSet:
    card = Card.model_validate({**CARD, "id": name, "modality": modality})
    images = list(dict.fromkeys(image for sample in samples for image in sample.images))
    return DataSet(card, list(samples), images, [], fingerprint(card, samples))


def picture(seed: int) -> Image.Image:
    rng = np.random.default_rng((11, seed))
    coarse = Image.fromarray(rng.integers(0, 256, (7, 6, 3), dtype=np.uint8))
    return coarse.resize((60, 80), Image.Resampling.BICUBIC)


@pytest.fixture
def sample(tmp_path: Path) -> Callable[[str, Split, Image.Image], Sample]:
    def make(name: str, split: Split, image: Image.Image) -> Sample:
        path = tmp_path / f"{name}.png"
        image.save(path)
        return Sample(name, (FileImage(path),), split)

    return make


def squeezed(image: Image.Image) -> Image.Image:
    """A smaller copy that was stored with loss."""
    buffer = io.BytesIO()
    image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(buffer, "JPEG", quality=60)
    return Image.open(buffer)


def test_copies_between_splits_are_found_and_told_apart(
    tmp_path: Path, sample: Callable[[str, Split, Image.Image], Sample]
) -> None:
    samples = [sample(f"train {n}", "train", picture(n)) for n in range(6)]
    samples += [
        sample("same bytes", "test", picture(0)),
        replace(samples[1], id="same file", split="test"),
        sample("mirrored", "test", ImageOps.mirror(picture(2))),
        sample("squeezed", "test", squeezed(picture(3))),
        sample("another", "test", picture(99)),
        sample("held", "val", picture(4)),
    ]
    summary = audit([data_set(samples)], None, tmp_path, DecodedImages(1))
    rows = {match.sample: match for match in read_matches(tmp_path)}
    assert set(rows) == {"same bytes", "same file", "mirrored", "squeezed", "held"}
    assert [rows[name].kind for name in ("same bytes", "same file", "held")] == ["exact"] * 3
    assert (rows["mirrored"].kind, rows["mirrored"].view, rows["mirrored"].partner) == ("near", "mirrored", "train 2")
    assert (rows["squeezed"].kind, rows["squeezed"].view) == ("near", "as it is")
    assert all(match.confirmed for match in rows.values())
    assert leaked_samples(tmp_path, "set") == {"same bytes", "same file", "mirrored", "squeezed"}
    assert summary.sets == [
        SetSummary("set", "test", "train", 5, exact=2, near=2, unconfirmed=0),
        SetSummary("set", "test", "val", 5, exact=0, near=0, unconfirmed=0),
        SetSummary("set", "val", "train", 1, exact=1, near=0, unconfirmed=0),
    ]
    assert read_summary(tmp_path) == summary


def test_all_samples_of_a_copied_picture_are_leaked(
    tmp_path: Path, sample: Callable[[str, Split, Image.Image], Sample]
) -> None:
    """Questions share images, bags have several: one that is known is enough."""
    train, clean = sample("train", "train", picture(0)), sample("clean", "test", picture(1))
    bag = replace(clean, id="bag", images=(*clean.images, *train.images))
    questions = [replace(train, id=f"question {n}", split="test") for n in range(3)]
    audit([data_set([train, clean, bag, *questions])], None, tmp_path, DecodedImages(1))
    assert leaked_samples(tmp_path, "set") == {"bag", "question 0", "question 1", "question 2"}


def test_the_corpus_is_searched_in_its_training_rows(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = corpus_of(tiny_corpus)
    rows = {split: int(corpus.rows(split)[0]) for split in ("train", "val")}
    samples = [Sample(split, (CorpusImage(tiny_corpus, row),)) for split, row in rows.items()]
    audit([data_set(samples)], tiny_corpus, tmp_path, DecodedImages(1))
    exact = [match for match in read_matches(tmp_path) if match.kind == "exact"]
    assert [(match.sample, match.source) for match in exact] == [("train", "corpus")]
    assert exact[0].partner == corpus.column("id")[rows["train"]]
    assert "train" in leaked_samples(tmp_path, "set")


def test_a_finished_audit_is_not_made_again(
    tmp_path: Path, sample: Callable[[str, Split, Image.Image], Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = [data_set([sample("a", "train", picture(0)), sample("b", "test", picture(0))])]
    first = audit(sets, None, tmp_path, DecodedImages(1))
    assert audit(sets, None, tmp_path, DecodedImages(1), radius=2).made_from != first.made_from
    monkeypatch.setattr(audit_module, "hashed_images", None)  # whoever hashes again fails
    assert audit(sets, None, tmp_path, DecodedImages(1), radius=2).radius == 2


class Constant:
    """An encoder to which all images are alike."""

    def prepare(self, image: Image.Image) -> torch.Tensor:
        return torch.zeros(1)

    def encode_images(self, prepared: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(prepared), 4)

    def encode_texts(self, texts: Sequence[str]) -> None:
        return None


def test_a_model_that_finds_everything_alike_confirms_only_what_is_exact(
    tmp_path: Path, sample: Callable[[str, Split, Image.Image], Sample]
) -> None:
    pairs = [sample("train", "train", picture(0)), sample("squeezed", "test", squeezed(picture(0)))]
    pairs.append(sample("exact", "test", picture(0)))
    others = [sample(f"other {n}", "test", picture(100 + n)) for n in range(30)]
    sets = [data_set(pairs), data_set(others, "other", "oct")]
    summary = audit(sets, None, tmp_path, DecodedImages(1), LoadableModel("blind", "0", lambda device: Constant()))
    assert (summary.described_by, summary.threshold) == ("blind", pytest.approx(1.0))
    assert {match.sample: match.confirmed for match in read_matches(tmp_path)} == {"squeezed": False, "exact": True}


def test_the_model_is_not_loaded_where_nothing_is_to_be_confirmed(
    tmp_path: Path, sample: Callable[[str, Split, Image.Image], Sample]
) -> None:
    unloadable = LoadableModel("absent", "0", lambda device: pytest.fail("loaded"))
    audit([data_set([sample("a", "train", picture(0))])], None, tmp_path, DecodedImages(1), unloadable)
    assert read_matches(tmp_path) == []


def test_the_threshold_by_hand() -> None:
    """Views 0 and 1 of twenty images; the nearest of another modality is at 0.6, seen in view 1."""
    own_NVD = np.tile(np.array([[0.0, 1.0], [0.8, 0.6]]), (20, 1, 1))
    other_OD = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert threshold(own_NVD, ["oct"] * 20, other_OD, ["oct", "ct"]) == pytest.approx(1.0)
    assert threshold(own_NVD, ["oct"] * 20, other_OD, ["ct", "oct"]) == pytest.approx(0.8)
    assert threshold(own_NVD, ["oct"] * 20, other_OD, ["oct", "oct"]) == LEAKAGE.correlation
    assert threshold(own_NVD[:19], ["oct"] * 19, other_OD, ["ct", "ct"]) == LEAKAGE.correlation


def test_thumbnails_are_correlation_and_flat_pictures_are_like_nothing() -> None:
    grey = picture(0).convert("L")
    darker, inverted = grey.point(lambda value: value // 2), ImageOps.invert(grey)
    same, half, opposite, flat = thumbnails([grey, darker, inverted, Image.new("RGB", (9, 9), "grey")])
    assert same @ half > 0.999
    assert same @ opposite < -0.999
    assert not flat.any()


def match(sample: str, kind: str, confirmed: bool, split: Split = "test") -> Match:
    return Match("set", sample, split, "corpus", "row", kind, 0, "as it is", 1.0, confirmed)  # type: ignore[arg-type]


def test_summaries_count_every_sample_once_with_the_best_that_was_found() -> None:
    rows = [
        match("a", "near", False),
        match("a", "exact", True),
        match("b", "near", True),
        match("b", "near", False),
        match("c", "near", False),
        match("d", "exact", True, "train"),
    ]
    assert summarised(rows, {("set", "test", "corpus"): 9}) == [SetSummary("set", "test", "corpus", 9, 1, 1, 1)]


def test_damaged_files_are_named(tmp_path: Path) -> None:
    assert read_summary(tmp_path) is None
    assert leaked_samples(tmp_path, "set") == set()
    (tmp_path / "leakage.jsonl").write_text('{"dataset": "set"}\n')
    with pytest.raises(DataError, match=r"leakage\.jsonl, line 1: not a match"):
        read_matches(tmp_path)
    (tmp_path / "leakage.json").write_text("[]")
    with pytest.raises(DataError, match="not the summary of an audit"):
        read_summary(tmp_path)
