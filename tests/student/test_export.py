"""The exported student opens in plain open_clip with the same outputs, and its card states what it inherits."""

from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch

from mmkd.corpus.schema import Corpus
from mmkd.errors import ModelError
from mmkd.reliability.table import load_reliability
from mmkd.student import export as exporting
from mmkd.student.build import build_student
from mmkd.student.export import CardFacts, export, largest_difference, model_card
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
    assert "| narrow | MIT | 8 |" in card
    assert f'"local-dir:{tmp_path / "final"}"' in card
    assert "| student | a\\|b | zero_shot | accuracy | 0.500 | 0.400 to 0.600 | 40 |" in card
    assert f"{len(facts.corpus):,} image-caption pairs" in card


def test_the_card_says_where_no_teacher_is_trusted_and_what_became_of_it(facts: CardFacts, tmp_path: Path) -> None:
    teachers = facts.teachers
    distrusted = [replace(cell, weight=float(cell.group != "oct")) for cell in teachers.cells]
    untrusted = replace(facts, teachers=replace(teachers, cells=distrusted), of_untrusted="are not learned from")
    train = facts.corpus.rows("train")
    count = int((facts.corpus.modalities[train] == "oct").sum())
    said = f"No teacher passed the rank test on oct ({count} pairs). These pairs are not learned from."
    assert said in model_card(untrusted, tmp_path)
