"""What is said of teachers: facts and places without loading them, a self-test that can fail with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from rich.console import Console
from tiny_zoo import WEIGHTS, save_weights, tiny_entry, tiny_network, use_zoo
from torch import Tensor, nn
from typer.testing import CliRunner

from mmkd.cli import app
from mmkd.features.inspect import check, list_entries, list_specs, self_test
from mmkd.images.transform import from_preprocess
from mmkd.teachers.encoders.teacher import Teacher, Towers
from mmkd.teachers.encoders.tokens import clip_tokenizer
from mmkd.teachers.zoo.entry import ZooEntry, zoo
from mmkd.teachers.zoo.settings import TeacherSpec

CPU = torch.device("cpu")
REFUSED = ZooEntry(
    name="closed",
    title="Closed",
    status="refused",
    reason="its terms count distilled models as derivatives",
    paper="none",
    modalities=[],
    licence="CC BY-NC-ND 4.0",
    use="noncommercial",
)


@pytest.fixture(autouse=True)
def nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMKD_TEACHERS", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_an_entry_is_listed_with_its_facts_and_where_it_is_looked_for() -> None:
    tiny, closed = list_entries([tiny_entry(gated="yes", needs=["patience"]), REFUSED])
    assert tiny.to_json() == {
        "name": "tiny",
        "title": "Tiny",
        "status": "usable",
        "dim": 16,
        "licence": "MIT",
        "use": "commercial",
        "gated": "yes",
        "needs": ["patience"],
        "variants": ["plain", "quick"],
        "found": "",
        "places": ["$MMKD_TEACHERS/tiny (not set)", "hf.co/lab/tiny"],
        "reason": "",
    }
    assert (closed.status, closed.reason, closed.found, closed.places) == ("refused", REFUSED.reason, "", [])


def test_weights_that_are_here_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "hub" / "models--lab--tiny" / "snapshots" / ("c0ffee" + "0" * 34)
    save_weights(tiny_network(0), snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(snapshot.name)
    assert list_entries([tiny_entry()])[0].found == "the hub's cache, commit c0ffee000000"
    save_weights(tiny_network(0), tmp_path / "all" / "tiny")
    monkeypatch.setenv("MMKD_TEACHERS", str(tmp_path / "all"))
    assert list_entries([tiny_entry()])[0].found == str(tmp_path / "all" / "tiny")


def test_a_recipes_teachers_are_listed_whatever_they_are(
    tiny_teachers: list[TeacherSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_zoo(monkeypatch, tiny_entry())
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / WEIGHTS).touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.jsonl").touch()
    specs = [
        TeacherSpec(name="mine", library="zoo", model="tiny", variant="quick", weights=tmp_path / "own"),
        *tiny_teachers,
        TeacherSpec(name="broken", model="local-dir:/nowhere"),
        TeacherSpec(name="hub", model="hf-hub:lab/clip", licence="CC BY-NC 4.0"),
        TeacherSpec(name="hf", library="transformers", model="lab/clip"),
        TeacherSpec(name="builtin", model="ViT-B-32", pretrained="openai"),
        TeacherSpec(name="BMCA", library="reference", model=str(tmp_path / "data")),
    ]
    rows = {row.name: row for row in list_specs(specs)}
    assert rows["mine"].found == str(tmp_path / "own")
    assert (rows["mine"].dim, rows["mine"].variants) == (16, ["quick"])
    narrow = tiny_teachers[0].model.removeprefix("local-dir:")
    assert (rows["narrow"].dim, rows["narrow"].found, rows["narrow"].use) == (8, narrow, "commercial")
    assert rows["wide"].dim == 24
    assert (rows["broken"].dim, rows["broken"].found, rows["broken"].places) == (None, "", ["/nowhere"])
    assert (rows["hub"].places, rows["hub"].use) == (["hf.co/lab/clip"], "noncommercial")
    assert (rows["hf"].places, rows["hf"].use) == (["hf.co/lab/clip"], "unclear")
    assert rows["builtin"].places == ["ViT-B-32, openai"]
    assert rows["BMCA"].found == str(tmp_path / "data")


def teacher(image: Callable[[Tensor], Tensor], text: Callable[[Tensor], Tensor]) -> Teacher:
    return Teacher(
        "t",
        "MIT",
        Towers(
            network=nn.Linear(1, 1),
            encode_image=image,
            encode_text=lambda ids_BL, length_B: text(ids_BL),
            transform=from_preprocess({"size": 8}),
            tokenizer=clip_tokenizer(16),
        ),
        CPU,
    )


def corners(image_BCHW: Tensor) -> Tensor:
    return image_BCHW[:, 0, ::7, ::7].flatten(1)


def first_ids(ids_BL: Tensor) -> Tensor:
    return nn.functional.pad(ids_BL[:, :4].float(), (0, max(0, 4 - ids_BL.shape[1])))


def constant(value: float, dim: int = 4) -> Callable[[Tensor], Tensor]:
    return lambda items: torch.full((len(items), dim), value)


@pytest.mark.parametrize(
    ("image", "text", "problems"),
    [
        (corners, first_ids, []),
        (constant(1.0), first_ids, ["two different images have the same vector"]),
        (corners, constant(1.0), ["two different captions have the same vector"]),
        (constant(torch.nan), constant(torch.inf), ["image vectors are not finite", "caption vectors are not finite"]),
        (constant(0.0), first_ids, ["image vectors have norms 0 and 0 instead of 1"]),
        (corners, lambda ids: first_ids(ids)[:, :3], ["images have 4 dimensions and captions 3"]),
    ],
    ids=["good", "blind", "deaf", "not finite", "zero", "other dimension"],
)
def test_the_self_test_says_what_is_wrong(
    image: Callable[[Tensor], Tensor], text: Callable[[Tensor], Tensor], problems: list[str]
) -> None:
    assert self_test(teacher(image, text)) == problems


def test_checking_loads_a_teacher_and_names_its_weights(tiny_teachers: list[TeacherSpec]) -> None:
    row = check(tiny_teachers[0], CPU)
    assert row["self_test"] == "passed"
    assert (row["name"], row["dim"], row["licence"], row["use"]) == ("narrow", 8, "MIT", "commercial")
    assert len(row["weights"]) == 64
    assert row["parameters"] > 49408 * 32  # the token embedding alone
    assert "error" not in row


def test_checking_a_teacher_of_the_zoo_names_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny entry in place of the zoo's, with weights in the hub's cache."""
    use_zoo(monkeypatch, tiny_entry())
    snapshot = tmp_path / "hub" / "models--lab--tiny" / "snapshots" / ("c0ffee" + "0" * 34)
    save_weights(tiny_network(0), snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(snapshot.name)
    row = check(TeacherSpec(name="tiny", variant="quick"), CPU)  # type: ignore[call-arg]
    assert row["self_test"] == "passed"
    assert row["revision"] == snapshot.name
    assert row["found"] == "the hub's cache, commit c0ffee000000"
    assert row["parameters"] == sum(p.numel() for p in tiny_network(0).parameters())


def test_what_does_not_load_is_an_error_in_its_row() -> None:
    row = check(TeacherSpec(name="gone", model="local-dir:/nowhere", licence="MIT"), CPU)
    assert "no open_clip_config.json" in row["error"]
    assert "self_test" not in row
    row = check(TeacherSpec(name="biomedclip"), CPU)  # type: ignore[call-arg]
    assert "weights not found" in row["error"]


def test_stored_features_are_counted_instead_of_run(realdata: Path) -> None:
    model = str(realdata / "embeddings" / "MMKDCLIP_DATA")
    row = check(TeacherSpec(name="PLIP", library="reference", model=model), CPU)
    assert row["self_test"] == "not run: 3 records have its stored features"
    assert (
        "no record has features of 'PILP'"
        in check(TeacherSpec(name="PILP", library="reference", model=model), CPU)["error"]
    )
    assert "no meta.jsonl" in check(TeacherSpec(name="PLIP", library="reference", model="/nowhere"), CPU)["error"]


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["teachers", *map(str, arguments)])


def test_the_command_that_lists_fits_a_hundred_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = Console(width=100, highlight=False, markup=False)
    monkeypatch.setattr("mmkd.progress.console", lambda columns: narrow)
    done = run("list")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    usable = [name for name, entry in zoo().items() if entry.status == "usable"]
    assert f"{len(usable)} can be used; the weights of 0 are on this machine." in lines
    assert "…" not in done.stdout


def test_the_command_that_checks_says_how_weights_are_had() -> None:
    done = run("check", "biomedclip")
    assert done.exit_code == 2
    assert done.stdout.startswith("biomedclip: failed\n")
    assert "weights not found (open_clip_pytorch_model.bin or open_clip_model.safetensors)" in done.stdout
    assert "hf download microsoft/BiomedCLIP" in done.stdout


def test_the_command_checks_a_folder_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_zoo(monkeypatch, tiny_entry())
    save_weights(tiny_network(0), tmp_path)
    done = run("check", "tiny", "--weights", tmp_path, "--variant", "quick")
    assert done.exit_code == 0, done.output
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    shown = {name: value for name, value in lines}
    assert shown["tiny:"] == "good"
    assert shown["dimension"] == "16"
    assert shown["licence"] == "MIT (commercial use: yes)"
    assert shown["found"].split() == ["in", str(tmp_path)]
    assert shown["self-test"] == "passed"
    assert shown["weights"].startswith("sha256 ")
