"""What is printed: verbosity, closed pipes, brackets in help texts, and libraries that print of their own accord."""

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import mmkd
from mmkd.cli import app
from mmkd.output import CALM, VERBOSITY, calm_libraries
from mmkd.progress import print_table, say, track

MMKD = [sys.executable, "-m", "mmkd"]
GROUPS = {"": app, **{str(group.name): group.typer_instance for group in app.registered_groups}}
COMMANDS = [
    f"{group} {info.name or info.callback.__name__}".strip()
    for group, instance in GROUPS.items()
    for info in instance.registered_commands
]


@pytest.fixture(autouse=True)
def own_verbosity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VERBOSITY, "")


def test_the_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"mmkd {mmkd.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_verbose_and_quiet(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"]).output
    assert "-v, --verbose" in shown
    assert "-q, --quiet" in shown


@pytest.mark.parametrize(
    ("arguments", "level"),
    [("-q runs", "quiet"), ("runs -q", "quiet"), ("runs -v", "verbose"), ("-v runs", "verbose"), ("runs", "")],
)
def test_they_may_stand_before_and_behind_the_command(arguments: str, level: str) -> None:
    CliRunner().invoke(app, [*arguments.split(), "nowhere"])
    assert os.environ[VERBOSITY] == level


def test_quiet_leaves_results_and_errors(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VERBOSITY, "quiet")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    say("how the work goes")
    assert list(track(range(3), "work", 3, "items")) == [0, 1, 2]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    print_table(("a", "b"), [("[tables]", "1")])
    assert capfd.readouterr().out.split() == ["a", "b", "─" * 11, "[tables]", "1"]


def test_verbose_shows_where_an_error_arose() -> None:
    plain, verbose = (
        subprocess.run([*MMKD, "run", "nowhere.toml", *more], capture_output=True, text=True) for more in ([], ["-v"])
    )
    assert plain.returncode == verbose.returncode == 2
    assert plain.stderr.startswith("mmkd: nowhere.toml: no such file; give a recipe's file, or one of mmkd's own: abl")
    assert verbose.stderr.startswith("Traceback")
    assert verbose.stderr.endswith(plain.stderr)


@pytest.mark.parametrize(
    "command", ["--help", "run --help", "datasets list", "teachers list --json", "run demo --dry-run"]
)
def test_a_closed_pipe_is_no_error(command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*MMKD, *command.split()], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_brackets_stay_in_help_texts() -> None:
    for command in COMMANDS:
        found: Any = typer.main.get_command(app)
        for name in command.split():
            found = found.commands[name]
        shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "120"}).output
        for option in found.params:
            text = getattr(option, "help", None) or ""
            assert "".join(text.split()) in "".join(shown.split()), text


@pytest.mark.slow
def test_no_bar_of_another_library_reaches_a_log(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    code = (
        "from mmkd.output import calm_libraries; calm_libraries()\n"
        "import datasets, tqdm, transformers.utils.logging as hf, huggingface_hub.utils as hub\n"
        f"datasets.load_dataset('csv', data_files='{tmp_path}/data.csv', cache_dir='{tmp_path}')['train'].map(dict)\n"
        "for bar in (tqdm.tqdm, tqdm.auto.tqdm, hf.tqdm, hub.tqdm): list(bar(range(9)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_place_that_warns_often_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CALM:
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(logging.root, "handlers", [])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        calm_libraries()
        for number in range(3):
            warnings.warn(f"picture {number}\n  is odd", UserWarning, stacklevel=1)
            logging.warning("no file %d", number)
    assert capsys.readouterr().err == "warning: UserWarning: picture 0 is odd\nwarning: no file 0\n"
