"""`mmkd extract` as its user meets it: selection, plan, licences, refusals."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mmkd.cli import main
from mmkd.corpus.schema import Corpus
from mmkd.teachers.zoo.settings import TeacherSpec
from tiny import recipe_of

RECIPE = recipe_of("""
[extract]
shard_rows = 60
[student]
model = "ViT-B-32"
[evaluate]
cards = ["unused.toml"]
""")


@pytest.fixture
def recipe(tiny_corpus: Path, tiny_teachers: list[TeacherSpec], tmp_path: Path) -> Path:
    shutil.copytree(tiny_corpus, tmp_path / "out" / "corpus")
    narrow, wide = tiny_teachers
    (tmp_path / "mine.toml").write_text(
        RECIPE
        + f'[[teachers]]\nname = "narrow"\nmodel = "{narrow.model}"\nlicence = "MIT"\n'
        + f'[[teachers]]\nname = "wide"\nmodel = "{wide.model}"\nlicence = "CC BY-NC 4.0"\n'
    )
    return tmp_path / "mine.toml"


def mmkd(monkeypatch: pytest.MonkeyPatch, recipe: Path, *arguments: str) -> int:
    out = ["--out", str(recipe.parent / "out")]
    monkeypatch.setattr("sys.argv", ["mmkd", "extract", str(recipe), *out, *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def folders(recipe: Path) -> set[str]:
    return {path.parent.name for path in (recipe.parent / "out" / "features").glob("*/manifest.json")}


def test_only_the_named_teachers_are_extracted(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mmkd(monkeypatch, recipe, "--teachers", "wide") == 0
    assert folders(recipe) == {"wide"}
    assert mmkd(monkeypatch, recipe) == 0
    assert folders(recipe) == {"narrow", "wide"}


def test_an_unknown_teacher_is_refused_with_a_near_name(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mmkd(monkeypatch, recipe, "--teachers", "narow") == 2
    assert "did you mean 'narrow'?" in capsys.readouterr().err


def test_the_licence_filter_refuses_and_the_selection_mends_it(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mmkd(monkeypatch, recipe, "--licence", "commercial") == 2
    assert "refuses wide (noncommercial: CC BY-NC 4.0)" in capsys.readouterr().err
    assert folders(recipe) == set()
    assert mmkd(monkeypatch, recipe, "--licence", "commercial", "--teachers", "narrow") == 0
    assert mmkd(monkeypatch, recipe, "--licence", "anything") == 2
    assert "extract.licence" in capsys.readouterr().err


def test_the_plan_prints_rows_bytes_and_time_and_does_nothing(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mmkd(monkeypatch, recipe, "--dry-run", "--rows", "2900000", "--tflops", "300") == 0
    said = capsys.readouterr().out
    ids = Corpus(recipe.parent / "out" / "corpus").take(np.arange(120)).column("id").to_pylist()
    size = 2 * 2 * (8 + 24) + 2 * (sum(map(len, ids)) / 120 + 8.5)  # vectors of both sides; ids, offsets, validity
    assert f"2,900,000 pairs, {size / 1e3:.1f} KB each: {2.9e6 * size / 1e9:.2f} GB" in said
    assert "one process on cpu, as measured now:" in said
    assert "a machine that sustains 300 TFLOP/s:" in said
    assert folders(recipe) == set()
    assert mmkd(monkeypatch, recipe, "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["rows"] == 120  # of the corpus that is there
    assert [one["weights"] for one in plan["teachers"]] == ["found", "found"]
    assert plan["all_pairs"]["bytes"] == pytest.approx(120 * plan["per_pair"]["bytes"])


def test_without_a_corpus_a_plan_needs_its_rows(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(recipe.parent / "out" / "corpus")
    assert mmkd(monkeypatch, recipe, "--dry-run") == 2
    assert "give --rows" in capsys.readouterr().err
    assert mmkd(monkeypatch, recipe, "--rows", "5") == 2
    assert "belong to --dry-run" in capsys.readouterr().err


def test_other_commands_refuse_several_processes(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("sys.argv", ["mmkd", "reliability", str(recipe)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "this command works in one" in capsys.readouterr().err
