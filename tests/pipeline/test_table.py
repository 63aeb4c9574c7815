"""The table of stages: a new stage is one row and one body, and is found wherever stages are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ablation_files import write_files

from mmkd import cli
from mmkd.commands.options import open_run
from mmkd.folders.stage import MANIFEST, Stage, complete, read_manifest
from mmkd.pipeline import work
from mmkd.pipeline.run import Run
from mmkd.pipeline.stages import _evaluation
from mmkd.pipeline.table import STAGES, OneFolder, StageSpec, is_read, needed_for


def write_toy(run: Run, stage: Stage) -> dict[str, int]:
    (stage.partial / "toy.txt").write_text(run.recipe.name)
    return {"toys": 1}


TOY = StageSpec(
    "toy",
    "Write a toy.",
    folders=("toys/{teacher}.toy",),
    inputs=("world",),
    body=OneFolder(lambda run: {"seed": run.recipe.seed}, write_toy),
)


@pytest.fixture
def recipe(tmp_path: Path) -> Iterator[Path]:
    """A recipe with one teacher; the stages are the world and the toy."""
    before = dict(STAGES)
    STAGES.clear()
    STAGES.update({"world": before["world"], "toy": TOY})
    write_files(tmp_path)
    text = (tmp_path / "recipe.toml").read_text()
    (tmp_path / "recipe.toml").write_text(text.replace("name =", 'leave_out = ["two"]\nname =', 1))
    yield tmp_path / "recipe.toml"
    STAGES.clear()
    STAGES.update(before)  # in its order


def mmkd(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> int:
    monkeypatch.setattr("sys.argv", ["mmkd", *map(str, arguments)])
    monkeypatch.setattr(cli, "app", cli.make_app())  # with the rows that the table has now
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


def test_a_new_row_is_found_everywhere(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = recipe.parent / "run"
    given = (recipe, "--out", out)
    assert mmkd(monkeypatch, "--help") == 0
    assert "Write a toy." in capsys.readouterr().out
    assert mmkd(monkeypatch, "toy", *given) == 2
    assert "toy needs" in capsys.readouterr().err  # the world, which is not finished
    assert mmkd(monkeypatch, "run", *given, "--dry-run") == 0
    assert "toy          to do" in capsys.readouterr().out
    assert mmkd(monkeypatch, "run", *given) == 0
    folder = out / "toys" / "one.toy"
    manifest = read_manifest(folder)
    assert (manifest["kind"], manifest["settings"], list(manifest["inputs"])) == ("toy", {"seed": 0}, ["world"])
    assert "toy took" in capsys.readouterr().out
    assert mmkd(monkeypatch, "runs", out, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["stages"] == {"world": "complete", "toy": "complete"}
    assert mmkd(monkeypatch, "run", *given) == 0
    assert f"toy: {folder} is complete, skipped" in capsys.readouterr().out
    world = read_manifest(out / "world")
    (out / "world" / MANIFEST).write_text(json.dumps({**world, "digest": "another"}))
    assert mmkd(monkeypatch, "toy", *given) == 2
    assert "inputs.world" in capsys.readouterr().err
    assert mmkd(monkeypatch, "toy", *given, "--force") == 0
    assert read_manifest(folder)["inputs"] == {"world": "another"}


def test_every_input_is_published_by_an_earlier_stage() -> None:
    earlier: set[str] = set()
    for spec in STAGES.values():
        assert {name.strip("{}") for name in spec.inputs if "/" not in name} <= earlier, spec.name
        earlier |= set(spec.folders)
    assert [spec.name for spec in STAGES.values() if not is_read(spec)] == ["report", "export"]


def test_stages_that_a_stage_needs(tmp_path: Path) -> None:
    write_files(tmp_path)
    run = open_run(tmp_path / "recipe.toml", tmp_path / "run", [])
    names = ["world", "specialists", "curate", "extract", "reliability", "pretrain", "distill"]
    assert [spec.name for spec in needed_for(run, "distill")] == names
    assert [spec.name for spec in needed_for(run, "pretrain")] == ["world", "curate", "pretrain"]


def test_a_command_of_the_release_before_goes_on_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path)
    asked: list[str] = []
    monkeypatch.setattr(work, "work_one", lambda run, name, dry_run: asked.append(name))
    assert mmkd(monkeypatch, "calibrate", tmp_path / "recipe.toml", "--out", tmp_path / "run") == 0
    assert asked == ["reliability"]
    assert "'mmkd calibrate' is now called 'mmkd reliability'" in capsys.readouterr().err
    assert mmkd(monkeypatch, "--help") == 0
    assert "calibrate" not in capsys.readouterr().out


@pytest.mark.parametrize(("method", "reads"), [("rank", False), ("stacking", True)])
def test_the_evaluation_reads_the_reliability_where_it_has_a_stack(method: str, reads: bool, tmp_path: Path) -> None:
    write_files(tmp_path)
    changes = [f"reliability.method={method}", "distill.objective=affinity"]
    run = open_run(tmp_path / "recipe.toml", tmp_path / "run", changes)
    assert ("reliability" in STAGES["evaluate"].input_names(run)) is reads
    assert "reliability" in [spec.name for spec in needed_for(run, "evaluate")]  # stage 2 reads it in any case
    for name in ("corpus", "reliability", "pretrain", "distill", "rivals/other", "specialists/one", "specialists/two"):
        complete(Stage("stand-in", run.out / name, {"name": name}), lambda partial: {})
    evaluation = _evaluation(run)
    assert ("reliability" in evaluation.digests) is reads
    assert evaluation.reliability == run.out / "reliability"
