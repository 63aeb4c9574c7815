"""What is looked at before a run, and what a dry run says of each folder."""

import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from mmkd.cli import app
from mmkd.commands.options import open_run
from mmkd.corpus.schema import Corpus
from mmkd.errors import ConfigError
from mmkd.folders.stage import MANIFEST
from mmkd.pipeline.preflight import check, preflight, standings
from mmkd.pipeline.table import STAGES
from mmkd.pipeline.work import work_all, work_one

RECIPE = """
name = "mine"
machine = { device = "cpu", workers = 0 }
[[curate.sources]]
kind = "table"
path = "pairs.csv"
[[curate.sources]]
kind = "folders"
path = "nowhere"
[curate]
decontaminate = ["gone.toml"]
val = 0.0
[[teachers]]
name = "one"
model = "local-dir:one"
[student]
tokenizer = "words"
[student.config]
embed_dim = 16
vision_cfg = { layers = 1, width = 32, head_width = 16, patch_size = 16, image_size = 32 }
text_cfg = { context_length = 16, width = 32, heads = 2, layers = 1, vocab_size = 300 }
[pretrain]
validate_every = 5
[evaluate]
cards = ["card.toml", "none.toml"]
"""
CARD = """
id = "mine"
modality = "ct"
tasks = ["linear_probe"]
licence = "CC0"
classes = [{ name = "a" }, { name = "b" }]
[layout]
reader = "folders"
path = "classes"
"""


def mmkd(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe with a fault in every section."""
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    (tmp_path / "card.toml").write_text(CARD)
    for label in ("a", "b"):
        (tmp_path / "classes" / label).mkdir(parents=True)
        Image.new("L", (32, 32)).save(tmp_path / "classes" / label / "x.png")
    (tmp_path / "pairs.csv").write_text("image,caption\nnone.png,a scan of the head\n")
    return path


def test_a_student_without_the_patches_that_a_term_follows_is_a_problem_of_that_stage_alone(recipe: Path) -> None:
    """Its map is 2 x 2."""
    changes = ["extract.patches=3", "distill.terms.patches=0.2"]
    with pytest.raises(ConfigError) as refused:
        work_all(open_run(recipe, recipe.parent / "run", changes))
    told = [line for line in str(refused.value).splitlines() if "the term 'patches' needs a student" in line]
    assert len(told) == 1
    assert told[0].startswith("distill: ")
    assert "the map is 2 x 2, smaller than the grid of 3 x 3" in told[0]


def test_pictures_without_captions_count_where_they_are_learned_from(recipe: Path) -> None:
    """Of 12 pictures one part has no caption, of which stage 2 learns and stage 1 does not."""
    folder, others = recipe.parent, '[[curate.sources]]\nkind = "folders"\npath = "nowhere"\n'
    recipe.write_text(RECIPE.replace(others, "").replace('decontaminate = ["gone.toml"]', "drop_captions = 0.5"))
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    rows = [f"{number}.png,finding number {number}\n" for number in range(12)]
    (folder / "pairs.csv").write_text("image,caption\n" + "".join(rows))
    changes = ["pretrain.batch_size=12", "distill.batch_size=12"]
    run = open_run(recipe, folder / "run", changes)
    work_one(run, "curate")
    told = int(np.count_nonzero(Corpus(folder / "run" / "corpus").captioned))
    assert 0 < told < 12
    problems = str(_refusal(lambda: preflight(run)))
    assert f"pretrain: batch_size 12 is larger than the corpus of {told} pairs" in problems
    assert "distill: batch_size" not in problems
    left_out = str(_refusal(lambda: preflight(open_run(recipe, run.out, [*changes, "distill.captionless='nothing'"]))))
    assert f"distill: batch_size 12 is larger than the corpus of {told} pairs" in left_out


def test_all_problems_come_at_once_and_before_any_work(recipe: Path) -> None:
    folder = recipe.parent
    with pytest.raises(ConfigError) as refused:
        work_all(open_run(recipe, folder / "run", None))
    told = str(refused.value).splitlines()
    for start in (
        f"[curate] decontaminate: no {folder / 'gone.toml'}",
        "source 'recipe': of 1 records none passes the checks (1 missing_file)",
        "source 'nowhere': ",
        f"teacher 'one': no folder {folder / 'one'}",
        "pretrain: validate_every needs pairs to validate on",
        f"pretrain: no {folder / 'words'}",
        "mine, linear_probe: no training sample",
        f"{folder / 'none.toml'}: ",
    ):
        assert any(line.startswith(start.replace("'recipe'", f"{folder.name!r}")) for line in told), (start, told)
    assert not (folder / "run").exists()


def test_a_table_that_is_missing_is_one_problem(recipe: Path) -> None:
    """Two looks at the source find it."""
    (recipe.parent / "pairs.csv").unlink()
    told = _refusal(lambda: preflight(open_run(recipe, recipe.parent / "run", None))).splitlines()
    assert len([line for line in told if "pairs.csv" in line]) == 1
    assert len(told) == len(set(told))


@pytest.mark.parametrize("thorough", [False, True])
def test_a_check_reads_text_tables_to_their_end_and_a_run_does_not(recipe: Path, thorough: bool) -> None:
    good, bad = (f"none.png,a {word} of the head\n" for word in ("scan", "Erguß"))
    (recipe.parent / "pairs.csv").write_bytes(("image,caption\n" + good * 2000 + bad).encode("latin-1"))
    run = open_run(recipe, recipe.parent / "run", None)
    told = [line for line in check(run, standings(run), thorough).looked_at if "lines are not utf-8" in line]
    assert [line.partition(": 1 of 2,002 lines")[1] != "" for line in told] == [True] * thorough


def test_the_disk_is_looked_at(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    with pytest.raises(ConfigError, match=r"disk: about .* GB are needed \(.*pretrain .*\), 0\.0 GB are free in "):
        preflight(open_run(recipe, recipe.parent / "run", None))


def test_check_says_what_it_looked_at(finished_run: tuple[Path, Any], tmp_path: Path) -> None:
    recipe, _ = finished_run
    shown = mmkd("check", recipe, "--out", recipe.parent / "run")
    assert shown.exit_code == 0, shown.output
    assert "finished, not looked at: world, specialists/one.corpus, specialists/one, " in shown.stdout
    assert shown.stdout.endswith("no problems\n")
    shown = mmkd("check", recipe, "--out", tmp_path / "new")
    assert shown.exit_code == 0, shown.output
    for line in (
        "teacher given: 16 dimensions, licence unknown",
        "a student of ",
        "not looked at, the run makes them first: ${out}/world/pairs/one/pairs.csv, ",
        "disk: about 0.0",
    ):
        assert line in shown.stdout


def test_a_dry_run_makes_the_comparison_of_the_run(finished_run: tuple[Path, Any]) -> None:
    recipe, _ = finished_run
    out = recipe.parent / "run"
    assert {one.state for one in standings(open_run(recipe, out, None)).values()} == {"complete"}
    change = ["distill.batch_size=8"]
    found = standings(open_run(recipe, out, change))
    others = {name: one.state for name, one in found.items() if one.state != "complete"}
    refused = {"rivals/other": "refused", "distill": "refused"}
    assert others == {**refused, "evaluate": "open", "report": "open", "export": "open"}
    assert found["distill"].why == "made from other batch_size (was 16, now 8)"
    assert found["evaluate"].after == ("rivals/other", "distill")
    forced = standings(open_run(recipe, out, change, force=True))
    assert {name for name, one in forced.items() if one.state == "anew"} == set(refused)
    shown = mmkd("distill", recipe, "--out", out, "--set", *change, "--dry-run")
    assert isinstance(shown.exception, ConfigError)
    assert "distill      refused   " in shown.stdout
    kept = "--force makes rivals/other, distill anew, and keeps everything else"
    for told in (shown.exception, _refusal(lambda: work_one(open_run(recipe, out, change), "distill"))):
        assert kept in str(told)
    told = _refusal(lambda: work_all(open_run(recipe, out, change)))
    assert "; nothing was changed. " in told
    assert "anew, then evaluate, report, export if what they read comes out different, and keeps world, " in told


def _refusal(work: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        work()
    return str(refused.value)


def test_a_dry_run_of_every_stage_says_that_it_is_finished(finished_run: tuple[Path, Any]) -> None:
    recipe, _ = finished_run
    assert "evidence     to do " in mmkd("evidence", recipe, "--out", recipe.parent / "run", "--dry-run").stdout
    for stage in (name for name in STAGES if name != "evidence"):
        shown = mmkd(stage, recipe, "--out", recipe.parent / "run", "--dry-run")
        assert shown.exit_code == 0, shown.output
        assert f"{stage:12s} complete  " in shown.stdout


def test_what_was_cut_off_goes_on(finished_run: tuple[Path, Any], tmp_path: Path) -> None:
    recipe, _ = finished_run
    shutil.copytree(recipe.parent, tmp_path / "copy")
    out = tmp_path / "copy/run"
    shutil.rmtree(out / "export")
    (out / "report").rename(out / "report.partial")
    (out / "report.partial/manifest.json").rename(out / "report.partial/begun.json")
    found = standings(open_run(tmp_path / "copy" / recipe.name, out, None))
    assert {name: one.state for name, one in found.items() if one.state != "complete"} == {
        "report": "partial",
        "export": "to do",
    }


@pytest.mark.slow
def test_force_makes_what_was_said_and_keeps_the_rest(finished_run: tuple[Path, Any], tmp_path: Path) -> None:
    recipe, _ = finished_run
    shutil.copytree(recipe.parent, tmp_path / "copy")
    run = open_run(tmp_path / "copy" / recipe.name, tmp_path / "copy/run", ["evaluate.bootstrap=7"], force=True)
    found = standings(run)
    before = {name: (run.out / name / MANIFEST).stat().st_mtime_ns for name in found}
    work_all(run)
    made = {name for name, time in before.items() if (run.out / name / MANIFEST).stat().st_mtime_ns != time}
    assert {name for name, one in found.items() if one.state == "anew"} == {"evaluate"}
    assert {name for name, one in found.items() if one.state == "open"} == {"report", "export"}
    assert made == {"evaluate", "report", "export"}
    assert {one.state for one in standings(run).values()} == {"complete"}
