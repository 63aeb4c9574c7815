"""`mmkd plan` as its user meets it: no weights, no network, every assumption said."""

import json
import re
from pathlib import Path

import pytest

from mmkd.cli import main
from mmkd.commands.plan import _amount
from mmkd.features.plan import pair_bytes
from mmkd.pipeline.cost import is_contrastive, started
from mmkd.pipeline.recipe import load_recipe
from mmkd.pipeline.shipped import recipe_file
from mmkd.training.plan import count_student

RECIPE = """
name = "mine"
teachers = ["plip"]
[curate]
val = 0.1
sources = [{ kind = "table", path = "unused.csv" }]
[student.config]
embed_dim = 16
vision_cfg = { image_size = 32, layers = 1, width = 32, head_width = 16, patch_size = 16 }
text_cfg = { context_length = 16, vocab_size = 100, width = 32, heads = 2, layers = 1 }
[pretrain]
epochs = 2
batch_size = 100
[distill]
epochs = 3
batch_size = 100
[rivals.plain]
objective = "contrastive"
epochs = 1
[evaluate]
cards = ["unused.toml"]
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMKD_TEACHERS", str(tmp_path))
    Path("mine.toml").write_text(RECIPE)
    return Path("mine.toml")


def mmkd(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["mmkd", "plan", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


@pytest.mark.parametrize(("objective", "logits"), [("affinity", 1), ("stacked", 2)])
def test_a_plan_in_json(
    objective: str,
    logits: int,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """logits: how often those of the teacher are computed; under `stacked` captions are compared as well."""
    recipe.write_text(RECIPE.replace("[distill]", f'[distill]\nobjective = "{objective}"'))
    given = ["--gpus", "2", "--tflops", "10", "--mfu", "0.5", "--pairs", "1000", "--tokens", "12"]
    assert mmkd(monkeypatch, str(recipe), *given, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["data"]["pairs"], found["data"]["train"], found["data"]["tokens"]) == (1000, 900, 12)
    assert {one["name"]: one["steps"] for one in found["stages"]} == {"pretrain": 18, "rivals/plain": 9, "distill": 27}
    (teacher,) = found["teachers"]
    assert found["extraction_hours"] == pytest.approx(1000 * teacher["gflop"] * 1e9 / (2 * 10e12 * 0.5) / 3600)
    student = found["student"]["image_gflop"] + found["student"]["context_gflop"]
    for one in found["stages"]:
        loss = 4 * 100 * (3 * 16 + (logits * 512 if one["name"] == "distill" else 0)) / 1e9
        assert one["gflop"] == pytest.approx(3 * student + loss)
    weights = 4 * found["student"]["parameters"] / 1e9
    assert found["storage"]["features"] == pytest.approx(1000 * pair_bytes(512) / 1e9)
    assert found["storage"]["students"] == pytest.approx(4 * weights)
    assert found["storage"]["checkpoints"] == pytest.approx(3 * 3 * weights)
    assert [one["fits"] for one in found["memory"]] == [True] * 3
    assert found["micro_batch"]["distill"] == [50, 50]


def test_a_plan_counts_the_evaluation_and_its_corruptions(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six pictures, four of them of test; two families at five severities; a card that is not there is said."""
    for number, split in enumerate(["train", "train", "test", "test", "test", "test"]):
        place = Path("set") / split / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(b"not read")
    named = "".join(f'[[classes]]\nname = "{name}"\nprompts = ["{name}"]\n' for name in "ab")
    head = 'id = "set"\nmodality = "ct"\ntasks = ["zero_shot"]\nlicence = "CC0"\n'
    layout = '[layout]\nreader = "folders"\npath = "set"\n'
    Path("card.toml").write_text(f'{head}{layout}splits = {{ train = "train", test = "test" }}\n{named}')
    asked = 'cards = ["unused.toml", "card.toml"]\ncorruptions = ["pixelate", "saturate"]'
    recipe.write_text(RECIPE.replace('cards = ["unused.toml"]', asked))
    assert mmkd(monkeypatch, str(recipe), "--tflops", "10", "--mfu", "1", "--pairs", "1000", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    plan = found["evaluation"]
    assert (plan["data_sets"], plan["pictures"], plan["corrupted"]) == (1, 6, 2 * 5 * 4)
    student, teacher = found["student"]["image_gflop"], found["teachers"][0]["gflop"]
    assert plan["corrupted_gflop"] == pytest.approx(40 * (teacher + 3 * student))
    assert plan["gflop"] == pytest.approx(46 * (teacher + 3 * student) + 6 * student)
    assert plan["hours"] == pytest.approx(plan["gflop"] * 1e9 / 10e12 / 3600)
    assert any(line.startswith("evaluation: unused.toml is not counted: ") for line in found["assumptions"])
    assert mmkd(monkeypatch, str(recipe), "--tflops", "10", "--pairs", "1000") == 0
    assert "evaluate: corrupted" in capsys.readouterr().out


def test_a_plan_says_what_it_assumes_and_how_to_run(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert mmkd(monkeypatch, str(recipe), "--gpus", "3", "--tflops", "10", "--pairs", "1000", "--memory", "0.1") == 0
    said = capsys.readouterr().out
    for line in (
        "40 % of 10 TFLOP/s",
        "64 tokens on average",
        "no multiple of 3 GPUs",
        "one group of captions",
        "50 KB a pair",
    ):
        assert line in said
    assert "mmkd run mine.toml --gpus 3 --workers 3" in said
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


def test_what_is_not_known_is_asked_for(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mmkd(monkeypatch, str(recipe), "--tflops", "10") == 2
    assert "give --pairs" in capsys.readouterr().err
    assert mmkd(monkeypatch, str(recipe), "--pairs", "10") == 2
    assert "Give --tflops, or set machine.tflops" in capsys.readouterr().err


def test_a_teacher_that_is_not_there_is_said_and_not_counted(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = '[[teachers]]\nname = "gone"\nmodel = "local-dir:nowhere"\n'
    recipe.write_text(RECIPE.replace('teachers = ["plip"]\n', "") + gone)
    assert mmkd(monkeypatch, str(recipe), "--tflops", "10", "--pairs", "1000", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["teachers"] == []
    assert any(line.startswith("teacher gone is not counted: ") for line in found["assumptions"])


def test_every_training_of_a_recipe_is_planned() -> None:
    recipe = load_recipe(Path(__file__).parents[2] / "recipes" / "mmkd-b16.toml", Path("runs"))
    found = recipe.trainings
    assert list(found) == ["pretrain", *[f"rivals/{name}" for name in recipe.rivals], "distill"]
    assert [is_contrastive(one) for one in found.values()] == [True, False, False]


@pytest.mark.parametrize(
    ("gpus", "line"),
    [
        (1, "mmkd run a.toml"),
        (8, "mmkd run a.toml --gpus 8 --workers 8"),
        (
            16,
            "torchrun --nnodes 2 --rdzv-backend c10d --rdzv-endpoint HOST:29500 --nproc-per-node 8 "
            "-m mmkd extract a.toml",
        ),
    ],
)
def test_the_command_for_so_many_gpus(gpus: int, line: str) -> None:
    assert started(Path("a.toml"), gpus)[0] == line


def test_the_small_student_has_a_quarter_of_the_image_towers_work() -> None:
    loaded = [load_recipe(recipe_file(Path(name)), Path("runs")) for name in ("mmkd-b16", "mmkd-s16")]
    large, small = (count_student(one.student, one.distill, 64) for one in loaded)
    assert 0.2 < small.image_gflop / large.image_gflop < 0.3
    assert small.text_gflop == pytest.approx(large.text_gflop, rel=0.01)


def test_the_next_commands_can_be_pasted_and_small_amounts_are_not_nothing(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe.rename("my own.toml")
    assert mmkd(monkeypatch, str(recipe), "--pairs", "100", "--tflops", "989") == 0
    out = capsys.readouterr().out
    assert "mmkd run 'my own.toml'" in out
    assert re.search(r"student: image +│ 16 +│ 0\.000\d ", out)
    assert [_amount(value) for value in (0.0, 0.0432, 0.06, 1234.56)] == ["0.0", "0.04", "0.1", "1,234.6"]
    assert [_amount(value, 2) for value in (0.0021, 0.5)] == ["0.002", "0.50"]
