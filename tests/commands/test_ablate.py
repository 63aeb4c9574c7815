"""`mmkd ablate`: what it shows, and what it refuses before any work."""

from pathlib import Path

import pytest
from ablation_files import write_files
from typer.testing import CliRunner

from mmkd.ablate.summary import ACCURACY, RESULTS, SECONDS, STUDENT, Row, run_folder
from mmkd.cli import app
from mmkd.errors import ConfigError
from mmkd.folders.json_lines import write_json_lines


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["ablate", *map(str, arguments)], catch_exceptions=False)
    if isinstance(result.exception, ConfigError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_dry_run_lists_every_run_with_its_state(tmp_path: Path) -> None:
    path, out = write_files(tmp_path), tmp_path / "out"
    write_json_lines(run_folder(out, "default", 0) / RESULTS, [])
    run_folder(out, "right", 1).mkdir(parents=True)
    lines = [line.split()[:5] for line in invoke(path, "--out", out, "--dry-run").splitlines()]
    states = {(words[0], words[2]): words[3] for words in lines}
    assert len(states) == 8
    assert states["default", "0"] == "complete"
    assert states["right", "1"] == "partial"
    assert states["contrastive", "0"] == "to"  # to do
    only = invoke(path, "--out", out, "--dry-run", "--only", "right", "--seeds", "5,6").splitlines()
    assert [line.split()[:3] for line in only] == [["right", "seed", "5"], ["right", "seed", "6"]]


@pytest.mark.parametrize(("seeds", "message"), [("0;1", "expected whole numbers"), ("x", "expected whole numbers")])
def test_seeds_that_are_no_numbers_are_refused(tmp_path: Path, seeds: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        invoke(write_files(tmp_path), "--out", tmp_path / "out", "--seeds", seeds)


def test_finished_runs_are_summed_up_in_three_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = write_files(tmp_path), tmp_path / "out"
    for variant, value in (("default", 0.75), ("right", 0.5)):
        rows = [
            Row(variant, 0, STUDENT, ACCURACY, "phantom_ct", "ct", value, 4),
            Row(variant, 0, STUDENT, SECONDS, "", "", 1.0, 2),
        ]
        write_json_lines(run_folder(out, variant, 0) / RESULTS, rows)
    monkeypatch.setattr("mmkd.ablate.schedule.run_all", lambda *arguments: None)
    told = invoke(path, "--out", out)
    assert "right" in told
    assert "| right | 1 | 50.0 |" in (out / "summary.md").read_text()
    assert (out / "summary.csv").read_text().startswith("variant,")
    assert "<h1>ablation</h1>" in (out / "index.html").read_text()
