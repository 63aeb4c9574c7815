"""Every command of the documentation runs, in a folder with a tiny recipe, its finished run and a model.

Blocks below a comment `<!-- not run: reason -->` need GPUs, hours or a network; `test_pages` checks their options.
"""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicom_samples import dicom
from doc_pages import ROOT, Block, arguments_of, blocks
from typer.testing import CliRunner

from mmkd.cli import app
from mmkd.corpus.schema import Corpus
from mmkd.phantom.settings import PhantomPairs, PhantomSettings
from mmkd.phantom.write import write_world
from mmkd.settings import Machine
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import save
from tiny import recipe_of, tiny_config

pytestmark = pytest.mark.slow

RECIPE = """
val = 0.1
[[teachers]]
name = "ours"
model = "local-dir:models/ours"
licence = "Apache-2.0"
[[teachers]]
name = "another"
model = "local-dir:models/another"
licence = "MIT"
[student]
[student.config]
embed_dim = 16
vision_cfg = { image_size = 32, layers = 1, width = 32, head_width = 16, patch_size = 16 }
text_cfg = { context_length = 16, vocab_size = 49408, width = 32, heads = 2, layers = 1 }
[pretrain]
epochs = 1
batch_size = 16
[distill]
epochs = 1
batch_size = 16
objective = "affinity"
weighting = "everyone"
[evaluate]
cards = ["my_set.toml"]
bootstrap = 20
[export]
to = ["open_clip", "transformers"]
pictures = 20
"""
RUN = [block for block in blocks("sh", "console") if not block.reason]
PYTHON = [block for block in blocks("python") if "open_clip.create" in block.text]


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def write_hospital(folder: Path) -> None:
    """The scans and reports of the page on pictures with reports: each report names, or numbers, its scan."""
    dicom(folder / "hospital/chest/0001.dcm", "chest", 1)
    for place in range(3):
        dicom(folder / f"hospital/series/17/{place}.dcm", "nodule", place)
        dicom(folder / f"archive/{place}.dcm", f"study {place}", 10 + place, AccessionNumber=f"A{place}")
    (folder / "hospital/liver").mkdir()
    values_XYZ = np.random.default_rng(0).normal(size=(32, 32, 9)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values_XYZ, np.eye(4)), folder / "hospital/liver/volume.nii.gz")
    [table] = [block.text for block in blocks("text") if block.text.startswith("path,report")]
    (folder / "hospital/reports.csv").write_text(table)
    (folder / "accessions.csv").write_text(
        "AccessionNumber,text\nA0,IMPRESSION: Normal.\nA1,A short note.\nA9,IMPRESSION: Of another archive.\n"
    )


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """my.toml, my_set.toml, pairs.csv, reports.toml with its scans, models/ours, the finished run runs/mine, the
    ablations."""
    folder = tmp_path_factory.mktemp("workplace")
    pairs = {"corpus": PhantomPairs(modalities=["x-ray", "oct"], count=120)}
    write_world(PhantomSettings(pairs=pairs, per_class=4, retrieval=20), folder / "world", Machine(workers=0), seed=0)
    card = (folder / "world/classify/oct/card.toml").read_text()
    (folder / "my_set.toml").write_text(card.replace('path = "', 'path = "world/classify/oct/'))
    table = (folder / "world/pairs/corpus/pairs.csv").read_text()
    (folder / "pairs.csv").write_text(table.replace("images/", "world/pairs/corpus/images/"))
    (folder / "my.toml").write_text(recipe_of(RECIPE, "world/pairs/corpus/pairs.csv"))
    write_hospital(folder)
    [reports] = [block.text for block in blocks("toml") if 'name = "hospital"' in block.text]
    (folder / "reports.toml").write_text(reports)
    for seed, (name, dim) in enumerate({"ours": 8, "another": 24}.items()):
        save(build_student(StudentSettings(config=tiny_config(dim)), seed), folder / "models" / name)
    for name in ("recipes", "ablations"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "data").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        call("run", "my.toml", "--out", "runs/mine")
    shutil.copytree(folder / "runs/mine", folder / "runs/my")
    return folder


@pytest.mark.parametrize("page", sorted({block.page for block in RUN}), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_run(page: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    for block in RUN:
        for line in block.lines if block.page == page else []:
            arguments = arguments_of(line)
            assert arguments is not None, f"{line}: not a command of mmkd; mark the block as not run, with the reason"
            call(*arguments)


def test_the_example_of_reports_counts_every_scan_and_report(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    call("curate", "reports.toml", "--out", "runs/counted")
    found = json.loads((workplace / "runs/counted/corpus/funnel.json").read_text())["sources"]
    assert [(found[name]["kept"], found[name]["rejected"]) for name in ("reports", "dicom")] == [
        (3, {}),
        (2, {"missing_picture": 1, "missing_report": 1}),
    ]
    captions = Corpus(workplace / "runs/counted/corpus").column("caption")
    assert sorted(captions) == [
        "A short note.",
        "Clear lungs. No acute disease.",
        "Cyst in segment 4.",
        "Normal.",
        "Stable nodule.",
    ]


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: str(block.page.relative_to(ROOT)))
def test_the_student_opens_in_open_clip(block: Block, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    shutil.copytree("runs/mine/export", "runs/demo/export", dirs_exist_ok=True)
    names: dict[str, object] = {}
    exec(compile(block.text, str(block.page), "exec"), names)
    assert {"model", "preprocess", "tokenizer"} <= names.keys()
