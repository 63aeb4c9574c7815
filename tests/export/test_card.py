"""The exported student opens in plain open_clip with the same outputs, and its card states what it inherits."""

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmkd.student.model_card import CardFacts, export, largest_difference, model_card

from mmkd.corpus.schema import Corpus
from mmkd.errors import ModelError
from mmkd.markdown import escaped, line
from mmkd.reliability.table import load_reliability
from mmkd.student import model_card as exporting
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import load, save
from tolerance import assert_rounding

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


@pytest.fixture(scope="module")
def facts(tiny_corpus: Path, tiny_reliability: Path) -> CardFacts:
    return CardFacts("tiny", "A note.", "test", load_reliability(tiny_reliability), Corpus(tiny_corpus), [RESULT])


@pytest.fixture(scope="module")
def student_folder(tiny_student: StudentSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student") / "distill"
    save(build_student(tiny_student, 3), folder)
    return folder


def test_open_clip_gives_the_students_outputs(student_folder: Path, facts: CardFacts, tmp_path: Path) -> None:
    export(student_folder, facts, tmp_path / "export", tmp_path / "export")
    network, transform = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'export'}")
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'export'}")(["a nodule", "drusen"])
    ours = load(student_folder)
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for theirs, expected in zip(network.eval()(image, tokens), ours.network(image, tokens), strict=True):
            assert_rounding(theirs, expected)
    assert repr(transform) == repr(ours.transform)


def test_a_folder_with_other_weights_is_not_published(
    student_folder: Path,
    facts: CardFacts,
    tiny_student: StudentSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = build_student(tiny_student, 4)
    save(other, tmp_path / "other")
    assert largest_difference(load(student_folder), tmp_path / "other") > 1e-3
    save_right = exporting.open_clip_folder.save
    monkeypatch.setattr(exporting.open_clip_folder, "save", lambda model, folder, home: save_right(other, folder, home))
    with pytest.raises(ModelError, match="outputs differ from the student's"):
        export(student_folder, facts, tmp_path / "export", tmp_path / "export")
    assert not (tmp_path / "export" / "README.md").exists()


def test_the_card_names_teachers_licences_data_and_results(
    student_folder: Path, facts: CardFacts, tmp_path: Path
) -> None:
    export(student_folder, facts, tmp_path / "export", tmp_path / "final")
    card = (tmp_path / "export" / "README.md").read_text()
    assert "**unknown**" in card  # the tiny world's pairs state no licence, and that is stricter than MIT
    assert "| narrow | MIT | permissive | 8 |" in card
    assert str(tmp_path) not in card  # no path of the machine that it was made on
    assert "| student | a\\|b | zero\\_shot | accuracy | 0.500 | 0.400 to 0.600 | 40 |" in card


class Stated:
    """A corpus of which the card asks licences and modalities only."""

    def __init__(self, licences: list[str], modalities: list[str]) -> None:
        self.licences, self.modalities = licences, np.array(modalities)

    def column(self, name: str) -> list[str]:
        return self.licences

    def rows(self, split: str) -> np.ndarray:
        return np.arange(len(self.licences))

    def __len__(self) -> int:
        return len(self.licences)


def test_the_hub_reads_the_front_matter(facts: CardFacts) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard(model_card(replace(facts, name='A "name": with\n--- \u2028 #marks')))
    assert card.data.library_name == "open_clip"
    assert card.data.license == "other"
    assert card.data.to_dict()["license_name"] == "unknown"
    assert card.data.pipeline_tag == "zero-shot-image-classification"
    assert card.data.model_name == 'A "name": with --- #marks'
    assert card.text.lstrip().startswith("# A")


def test_licences_are_grouped_by_class_with_their_counts(facts: CardFacts) -> None:
    licences = ["CC BY 4.0"] * 3 + ["MIT"] * 2 + ["CC BY-NC 4.0"] * 7 + [""] + [f"cc-by {n}" for n in range(9)]
    card = model_card(replace(facts, corpus=Stated(licences, ["ct"] * len(licences))))  # type: ignore[arg-type]
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
    card = model_card(named)
    assert len(card.split("\n")) == len(card.splitlines()) + 1
    _, _, card = card.partition("\n---\n")  # behind the front matter
    assert card.startswith("\n# ")
    assert len(re.findall("^#", card, re.MULTILINE)) == 5
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
    sentence = f"No teacher passed the rank test on oct ({count} pairs). These pairs are not learned from."
    assert sentence in html.unescape(model_card(untrusted)).replace("\\", "")
