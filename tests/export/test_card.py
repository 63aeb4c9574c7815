"""The model card states what the student inherits, and nothing out of data is more than text."""

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd.corpus.schema import Corpus
from mmkd.evaluation.summary.summary import results_from_predictions
from mmkd.export.agreement import Agreement
from mmkd.export.card import CardFacts, model_card, plain_card
from mmkd.export.export import Exported
from mmkd.inference.precision import INT8
from mmkd.markdown import escaped, line
from mmkd.reliability.table import load_reliability
from predicted_world import QUICK, predicted

RESULT = {
    "model": "student",
    "dataset": "a|b",
    "task": "zero_shot",
    "metric": "accuracy",
    "value": 0.5,
    "low": 0.4,
    "high": 0.6,
    "n": 40,
}


EXPORTED = Exported(["open_clip"], {}, {"open_clip": Agreement(0.0, 0.0, 9, 9)}, "9 pictures")


@pytest.fixture(scope="module")
def facts(tiny_corpus: Path, tiny_reliability: Path) -> CardFacts:
    return CardFacts("tiny", "A note.", "test", load_reliability(tiny_reliability), Corpus(tiny_corpus), [RESULT])


def card_of(facts: CardFacts, exported: Exported = EXPORTED) -> str:
    return model_card(facts, exported)


def test_the_card_names_teachers_licences_data_and_results(facts: CardFacts, tmp_path: Path) -> None:
    card = card_of(facts)
    assert "**unknown**" in card  # the tiny world's pairs state no licence, and that is stricter than MIT
    assert "| narrow | MIT | permissive | 8 |" in card
    assert str(tmp_path.parent) not in card  # no path of the machine that it was made on
    assert "| student | a\\|b | zero\\_shot | accuracy | 0.500 | 0.400 to 0.600 | 40 |  |" in card
    followed = {**RESULT, "task": "survival", "note": "46 events of 120 patients"}
    assert "| 40 | 46 events of 120 patients |" in card_of(replace(facts, results=[followed]))


def test_the_card_says_which_sets_no_mean_counts(facts: CardFacts, tmp_path: Path) -> None:
    """Where none counts it has their rows alone."""
    for dataset in ("few", "fewer"):
        predicted(tmp_path, "student", dataset, [True, True, False, False] * 3, group=["a", "b"] * 6)
    found = results_from_predictions(tmp_path, [], replace(QUICK, least_groups=20)).results
    card = card_of(replace(facts, results=[vars(row) for row in found if row.metric == "accuracy"]))
    rows = [row for row in card.splitlines() if row.startswith("| student |")]
    assert len(rows) == 2
    assert all(escaped("in no mean: 2 groups, least_groups asks for 20") in row for row in rows)


def test_the_card_shows_each_format_and_says_what_is_left_out(facts: CardFacts) -> None:
    agreements = {"open_clip": Agreement(0.0, 0.0, 9, 9), INT8: Agreement(2e-3, 3e-3, 8, 9)}
    row = {**RESULT, "model": "student, int8", "value": 0.375}
    exported = Exported(["open_clip", "onnx"], {"transformers": "no such tower"}, agreements, "9 pictures", [row])
    for card in (card_of(facts, exported), plain_card("mine", "", exported)):
        assert "Format transformers: not written; no such tower." in card
        assert "| onnx, int8 | 2.0e-03 | 3.0e-03 | 8 | 9 |" in card
        assert "open_clip.create_model_from_pretrained" in card
        assert "from transformers import" not in card
        assert "| student, int8 | a\\|b | zero\\_shot | accuracy | 0.375" in card
    alone = replace(exported, formats=["transformers"], int8=[])
    assert "CLIPVisionModelWithProjection" in card_of(facts, alone)
    assert "transformers: the image tower only; no such tower." in card_of(facts, alone)


class Stated:
    """A corpus of which the card asks licences, modalities and which pictures have captions only."""

    def __init__(self, licences: list[str], modalities: list[str], without: int = 0) -> None:
        self.licences, self.modalities = licences, np.array(modalities)
        self.captioned = np.arange(len(licences)) >= without

    def column(self, name: str) -> list[str]:
        return self.licences

    def pairs(self, split: str) -> np.ndarray:
        return np.flatnonzero(self.captioned)

    def __len__(self) -> int:
        return len(self.licences)


def test_the_hub_reads_the_front_matter(facts: CardFacts) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard(card_of(replace(facts, name='A "name": with\n--- \u2028 #marks')))
    assert card.data.library_name == "open_clip"
    assert card.data.license == "other"
    assert card.data.to_dict()["license_name"] == "unknown"
    assert card.data.tags[-1] == "open_clip"
    assert card.data.pipeline_tag == "zero-shot-image-classification"
    assert card.data.model_name == 'A "name": with --- #marks'
    assert card.text.lstrip().startswith("# A")


def test_pictures_without_captions_are_no_pairs(facts: CardFacts) -> None:
    some: Any = Stated(["MIT"] * 5, ["ct"] * 3 + ["mri"] * 2, without=2)
    card = card_of(replace(facts, corpus=some))
    assert "3 image-caption pairs, and 2 pictures without a caption." in card
    assert "| modality | pictures |\n|---|---|\n| ct | 3 |" in card
    assert "| class of licence | pictures |" in card
    whole: Any = Stated(["MIT"] * 5, ["ct"] * 5)
    card = card_of(replace(facts, corpus=whole))
    assert "5 image-caption pairs.\n\n| modality | pairs |" in card
    assert "without a caption" not in card


def test_licences_are_grouped_by_class_with_their_counts(facts: CardFacts) -> None:
    licences = ["CC BY 4.0"] * 3 + ["MIT"] * 2 + ["CC BY-NC 4.0"] * 7 + [""] + [f"cc-by {n}" for n in range(9)]
    card = card_of(replace(facts, corpus=Stated(licences, ["ct"] * len(licences))))  # type: ignore[arg-type]
    assert "| non-commercial | 7 | CC BY-NC 4.0 (7) |" in card
    assert "| permissive | 14 | CC BY 4.0 (3); MIT (2); cc-by 0 (1); " in card
    assert "; 3 others (3) |" in card
    assert "| unknown | 1 | none stated (1) |" in card


HOSTILE = [
    "<script>alert(1)</script>",
    "a\r| b |\n# heading",
    "[x](javascript:alert(1))",
    "![](http://evil/x.png)",
    "\u202egnp.exe",
    "`code` ~~x~~ $x$ @everyone",
    "x\u2028y\x00z\x85",
    "---\nlicense: mit\n---",
    "&lt;b&gt;",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_comes_from_data_is_text(facts: CardFacts, text: str) -> None:
    stated: Any = Stated([text, "MIT"], [text, "ct"])
    result = {**RESULT, "dataset": text, "model": text}
    named = replace(facts, corpus=stated, results=[result], name=text, note=text, recipe=text)
    card = card_of(named)
    assert len(card.split("\n")) == len(card.splitlines()) + 1
    _, _, card = card.partition("\n---\n")  # behind the front matter
    assert card.startswith("\n# ")
    assert len(re.findall("^#", card, re.MULTILINE)) == 6
    assert len(re.findall(r"^---$", card, re.MULTILINE)) == 0
    for unescaped in (r"<[a-z/]", r"(?<!\\)\]\(", r"(?<!\\)!\[", "\u202e", r"(?<!\\)@"):
        assert not re.search(unescaped, card)


@given(st.text(max_size=400))
@settings(max_examples=200, deadline=None)
def test_escaped_text_is_one_line_that_reads_as_it_was(text: str) -> None:
    shown = escaped(text)
    assert len(shown.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(\\\\)*[|`\[\]]", shown)
    assert html.unescape(re.sub(r"\\([^A-Za-z0-9 ])", r"\1", shown)) == line(text)


def test_the_card_says_where_no_teacher_is_trusted_and_what_became_of_it(facts: CardFacts) -> None:
    teachers = facts.teachers
    distrusted = [replace(cell, weight=float(cell.group != "oct")) for cell in teachers.cells]
    untrusted = replace(facts, teachers=replace(teachers, cells=distrusted), of_untrusted="are not learned from")
    train = facts.corpus.rows("train")
    count = int((facts.corpus.modalities[train] == "oct").sum())
    sentence = f"No teacher passes the rank test on oct ({count} pairs). These pairs are not learned from."
    assert sentence in html.unescape(card_of(untrusted)).replace("\\", "")
