"""The command line as its users meet it: help, exit codes, messages, the whole flow on a tiny world, kill -9."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deaths import live_through
from mmkd.cli import app
from mmkd.folders.stage import read_manifest
from mmkd.pipeline.table import STAGES

TINY = """
name = "tiny"
[machine]
device = "cpu"
workers = 0
threads = 1
[phantom]
per_class = 4
retrieval = 20
[phantom.pairs.corpus]
modalities = ["x-ray", "oct"]
count = 160
wrong_captions = 0.5
[phantom.pairs.chest]
modalities = ["x-ray"]
count = 80
[phantom.pairs.eye]
modalities = ["oct"]
count = 80
[phantom.tokenizers.words]
vocab_size = 200
SPECIALISTS
[curate]
val = 0.1
[[curate.sources]]
kind = "table"
path = "${out}/world/pairs/corpus/pairs.csv"
[student]
tokenizer = "${out}/world/tokenizers/words"
config = CONFIG
[pretrain]
epochs = 2
batch_size = 16
checkpoint_every = 5
[distill]
epochs = 4
batch_size = 16
checkpoint_every = 5
objective = "affinity"
weighting = "everyone"
[rivals.contrastive]
objective = "contrastive"
[rivals.mmkd]
objective = "mmkd"
[evaluate]
cards = [
    "${out}/world/classify/x_ray/card.toml",
    "${out}/world/classify/oct/card.toml",
    "${out}/world/retrieval/card.toml",
]
bootstrap = 50
[export]
to = ["open_clip"]
"""
CONFIG = """{ embed_dim = 16, \
vision_cfg = { image_size = 32, layers = 1, width = 32, head_width = 16, patch_size = 16 }, \
text_cfg = { context_length = 16, vocab_size = 200, width = 32, heads = 2, layers = 1, hf_tokenizer_name = "words", \
pool_type = "eos", eos_id = 3 } }"""
SPECIALIST = """
[[specialists]]
name = "NAME"
licence = "MIT"
curate = { sources = [{ kind = "table", path = "${out}/world/pairs/NAME/pairs.csv" }] }
student = { tokenizer = "${out}/world/tokenizers/words", config = CONFIG }
pretrain = { epochs = 2, batch_size = 16, checkpoint_every = 3 }
"""


def write_recipe(folder: Path) -> Path:
    specialists = "".join(SPECIALIST.replace("NAME", name) for name in ("chest", "eye"))
    path = folder / "tiny.toml"
    path.write_text(TINY.replace("SPECIALISTS", specialists).replace("CONFIG", CONFIG))
    return path


def mmkd(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mmkd", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run of the tiny recipe."""
    folder = tmp_path_factory.mktemp("whole")
    done = mmkd("run", write_recipe(folder), "--out", folder / "run")
    assert done.returncode == 0, done.stderr
    (folder / "log").write_text(done.stdout)
    (folder / "errors").write_text(done.stderr)
    return folder / "run"


def digests(out: Path) -> dict[str, str]:
    """Every published stage but the page, which shows when it was made."""
    found = {
        p.parent.relative_to(out).as_posix(): read_manifest(p.parent)["digest"] for p in out.rglob("manifest.json")
    }
    return {name: digest for name, digest in found.items() if name not in ("report", "export")}


def test_the_main_job_leaves_what_it_promises(whole: Path) -> None:
    for name in ("evaluate/results.jsonl", "evaluate/comparisons.jsonl", "report/index.html", "export/README.md"):
        assert (whole / name).stat().st_size > 0
    models = {json.loads(line)["model"] for line in (whole / "evaluate/results.jsonl").read_text().splitlines()}
    students = {"stage1", "contrastive", "mmkd", "student"}
    assert models == {"chest", "eye", "teachers_concat", "best_teacher", "chance", "random_weights"} | students
    log = (whole.parent / "log").read_text()
    assert "rank test within the modality" in log
    assert f"student: {whole / 'export'}" in log
    assert not list(whole.rglob("*.partial"))


def test_a_log_has_lines_and_nothing_of_other_libraries(whole: Path) -> None:
    log, errors = ((whole.parent / name).read_bytes() for name in ("log", "errors"))
    assert errors == b""
    assert b"\r" not in log
    assert b"\x1b" not in log
    assert not re.search(rb"\d%\|", log)


def test_the_same_command_again_does_nothing(whole: Path) -> None:
    before = digests(whole)
    again = mmkd("run", whole.parent / "tiny.toml", "--out", whole)
    assert again.returncode == 0
    assert again.stdout.count("is complete, skipped") == 16
    assert digests(whole) == before


def test_a_changed_recipe_is_refused_with_exit_code_2(whole: Path) -> None:
    done = mmkd("run", whole.parent / "tiny.toml", "--out", whole, "--set", "distill.epochs=5")
    assert done.returncode == 2
    assert "other epochs (was 4, now 5)" in done.stderr
    anew = (
        "--force makes rivals/contrastive, rivals/mmkd, distill anew, then evaluate, report, export if what they read"
    )
    assert anew in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_kill_nine_at_random_moments_ends_in_the_same_result(whole: Path, tmp_path: Path) -> None:
    """Six times, each time further on."""
    draw, cut = random.Random(0), str(tmp_path / "cut")
    deaths = [("stages", (cut, number, draw.uniform(0, 0.3))) for number in (0, 2, 5, 8, 10, 12)]
    _, ended = live_through({"stage": "run", "recipe": write_recipe(tmp_path)}, deaths, tmp_path)
    assert digests(ended) == digests(whole)


def test_a_stage_alone_asks_for_what_comes_before_it(tmp_path: Path) -> None:
    done = mmkd("distill", write_recipe(tmp_path), "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "is not finished; run 'mmkd world' first" in done.stderr


def test_dry_run_writes_nothing_and_names_every_folder(tmp_path: Path) -> None:
    done = mmkd("run", write_recipe(tmp_path), "--out", tmp_path / "run", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.count("to do") == 16
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_missing_teacher_stops_the_run_before_any_work(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    recipe.write_text(recipe.read_text() + '\n[[teachers]]\nname = "gone"\nmodel = "local-dir:nowhere"\n')
    done = mmkd("run", recipe, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert f"teacher 'gone': no folder {tmp_path / 'nowhere'}; check the path" in done.stderr
    assert not (tmp_path / "run").exists()


def test_teachers_and_datasets_describe_a_recipe(whole: Path) -> None:
    place = ("--recipe", str(whole.parent / "tiny.toml"), "--out")

    def rows_of(*command: str) -> Any:
        return json.loads(CliRunner().invoke(app, [*command, *place, str(whole), "--json"]).stdout)

    rows = rows_of("teachers", "list")
    assert [(row["name"], row["dim"], row["use"]) for row in rows] == [
        ("chest", 16, "commercial"),
        ("eye", 16, "commercial"),
    ]
    assert rows[1]["found"] == str(whole / "specialists" / "eye")
    rows = rows_of("teachers", "check", "eye")
    assert [(row["name"], row["dim"], row["self_test"]) for row in rows] == [("eye", 16, "passed")]
    rows = rows_of("datasets", "check")
    assert [(row["id"], row["samples"]) for row in rows] == [
        ("phantom_x_ray", 16),
        ("phantom_oct", 16),
        ("phantom_retrieval", 20),
    ]
    missing = mmkd("datasets", "check", *place, whole.parent / "nowhere", "--json")
    assert missing.returncode == 2


def without_weights(folder: Path) -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder), "MMKD_TEACHERS": "", "COLUMNS": "100"}


def test_the_zoo_is_listed_without_loading_anything_heavy(tmp_path: Path) -> None:
    from mmkd.teachers.zoo.entry import zoo

    command = [sys.executable, "-X", "importtime", "-m", "mmkd", "teachers", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=without_weights(tmp_path))
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "mmkd.features.inspect" in imported
    assert not imported & {"torch", "open_clip", "transformers", "numpy"}
    shown = {line.split()[0] for line in done.stdout.splitlines() if line.strip()}
    assert {name for name, entry in zoo().items() if entry.status == "usable"} <= shown
    for entry in zoo().values():
        assert entry.status == "usable" or f"{entry.status}: {entry.name}: " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which teachers? Name some"),
        (["biomedclp"], "no teacher 'biomedclp' in the zoo; did you mean 'biomedclip'?"),
        (["biomedclip", "--variant", "huge"], "teacher 'biomedclip' has no variant 'huge'"),
        (["biomedclip", "medclip", "--weights", "."], "--weights belong to one teacher, but 2 are named"),
    ],
)
def test_mistaken_checks_are_explained(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = mmkd("teachers", "check", *arguments, env=without_weights(tmp_path))
    assert done.returncode == 2
    assert message in done.stderr


def test_doctor_answers(tmp_path: Path) -> None:
    found = json.loads(mmkd("doctor", "--json", cwd=tmp_path).stdout)
    assert int(found["processors"]) >= 1
    assert found["mmkd"]


TEACHERS = ("teachers", "teachers list", "teachers check", "teachers verify-reference")


DATASETS = ("datasets", "datasets list", "datasets check")


@pytest.mark.parametrize("name", ["", "run", *STAGES, "import-reference", *TEACHERS, *DATASETS, "compare", "doctor"])
def test_help_explains_itself(name: str) -> None:
    done = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    assert len(done.output.splitlines()) > 6


def test_several_processes_are_refused_by_a_stage_that_cannot_share(tmp_path: Path) -> None:
    done = mmkd("export", write_recipe(tmp_path), "--out", tmp_path / "run", env={**os.environ, "WORLD_SIZE": "2"})
    assert done.returncode == 2
    assert "without torchrun" in done.stderr


@pytest.mark.slow
def test_a_run_that_was_moved_is_still_complete(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "moved")
    done = mmkd("run", whole.parent / "tiny.toml", "--out", tmp_path / "moved")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is complete, skipped") == 16
