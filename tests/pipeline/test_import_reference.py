"""The public MMKD-CLIP layout: eight real records with the features of eight real teachers, and made-up ones."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmkd.corpus.schema import Corpus
from mmkd.curation.curate import corpus_stage, curate
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import ReferenceSource
from mmkd.errors import DataError
from mmkd.features.extract import extract
from mmkd.features.from_reference import load_vectors, teacher_names
from mmkd.features.store import NO_CAPTION, open_features
from mmkd.folders.stage import Stage, complete
from mmkd.pipeline.import_reference import import_reference
from mmkd.pipeline.recipe import load_recipe
from mmkd.pipeline.run import Run
from mmkd.pipeline.table import STAGES
from mmkd.teachers.zoo.settings import REFERENCE, ExtractSettings, TeacherSpec
from tiny import MACHINE
from tolerance import assert_rounding

# realdata/embeddings/README.md: how many of the eight records each teacher has, and its dimension
STORED = {
    "BMCA": (8, 768),
    "BiomedCLIP": (8, 512),
    "GenMedClip": (8, 512),
    "PLIP": (3, 512),
    "PMCCLIP": (1, 768),
    "PUBMEDCLIP": (2, 512),
    "QuiltNet": (8, 512),
    "UniMedCLIP": (6, 512),
}


@pytest.fixture(scope="module")
def imported(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("imported")
    import_reference(realdata / "embeddings" / "MMKDCLIP_DATA", out, val=0.0, seed=0, force=False, machine=MACHINE)
    return out


def test_all_records_and_teachers_arrive(imported: Path) -> None:
    corpus = Corpus(imported / "corpus")
    assert len(corpus) == 8
    assert len(set(corpus.column("group"))) == 8  # one article each
    features = open_features(imported / "features", corpus, list(STORED))
    assert {f.name: (int(f.valid().sum()), f.dim) for f in features} == STORED


def test_the_features_are_the_stored_ones(imported: Path, realdata: Path) -> None:
    root = realdata / "embeddings" / "MMKDCLIP_DATA"
    corpus = Corpus(imported / "corpus")
    features = {f.name: f for f in open_features(imported / "features", corpus, list(STORED))}
    rows = {identity: row for row, identity in enumerate(corpus.column("id"))}
    compared = 0
    for line in (root / "meta.jsonl").read_text().splitlines():
        record = json.loads(line)
        stored = torch.load(root / Path(record["imgpath"]).parent / "clips_output.pt", weights_only=True)
        for name, teacher in features.items():
            image_ND, text_ND, valid_N = teacher.take([rows[record["id"]]])
            assert bool(valid_N[0]) is (name in record["available_clips"])
            if valid_N[0]:
                assert_rounding(image_ND[0], stored[f"{name}_img"], roundings=2, dtype=np.float16)
                assert_rounding(text_ND[0], stored[f"{name}_txt"], roundings=2, dtype=np.float16)
                compared += 1
    assert compared == 44


def test_a_recipe_with_the_printed_lines_finds_everything_complete(
    imported: Path, realdata: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mmkd.pipeline.import_reference import recipe_lines

    root = (realdata / "embeddings" / "MMKDCLIP_DATA").resolve()
    rest = '\n[student]\nmodel = "ViT-B-32"\n[evaluate]\ncards = ["none.toml"]\n'
    (tmp_path / "recipe.toml").write_text('name = "r"\n' + recipe_lines(root, list(STORED), 0.0) + rest)
    run = Run(load_recipe(tmp_path / "recipe.toml", imported), imported)
    capsys.readouterr()
    STAGES["curate"].work(run)
    STAGES["extract"].work(run)
    assert capsys.readouterr().out.count("is complete, skipped") == 1 + len(STORED)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # 190 million parameters
def test_a_base_sized_student_learns_from_the_real_features(imported: Path, tmp_path: Path) -> None:
    """ViT-B/16 and a BERT-base text tower with random weights: four steps on all eight teachers."""
    from transformers import BertConfig

    from mmkd.phantom.write import write_tokenizer
    from mmkd.reliability.settings import ReliabilitySettings
    from mmkd.reliability.stage import measure_reliability
    from mmkd.student.build import build_student
    from mmkd.student.settings import StudentSettings
    from mmkd.teachers.files.open_clip_folder import save
    from mmkd.training.loop import Place
    from mmkd.training.records.metrics_log import read_metrics
    from mmkd.training.settings.distill import DistillSettings
    from mmkd.training.train import Inputs, distill

    corpus = imported / "corpus"
    write_tokenizer(tmp_path / "bert", Corpus(corpus).column("caption"), vocab_size=30522, lowercase=True)
    BertConfig().save_pretrained(tmp_path / "bert")
    text = {"hf_model_name": str(tmp_path / "bert"), "hf_tokenizer_name": str(tmp_path / "bert"), "context_length": 64}
    vision = {"image_size": 224, "layers": 12, "width": 768, "patch_size": 16}
    pooling = {"hf_proj_type": "mlp", "hf_pooler_type": "cls_last_hidden_state_pooler"}
    config = {"embed_dim": 512, "vision_cfg": vision, "text_cfg": text | pooling}
    student = build_student(StudentSettings(config=config), seed=0)
    assert sum(p.numel() for p in student.network.parameters()) > 190e6
    save(student, tmp_path / "start")
    del student
    stage = Stage("reliability", tmp_path / "reliability", {})
    complete(
        stage,
        lambda folder: measure_reliability(
            ReliabilitySettings(method="rank"), corpus, imported / "features", list(STORED), folder, seed=0
        ),
    )
    # eight records cannot show whom to trust, so all teachers have the same weight
    settings = DistillSettings(
        objective="affinity",
        weighting="everyone",
        terms={"heads": 1.0},
        epochs=4,
        batch_size=8,
        lr=2e-5,
        weight_decay=0.0,
        warmup_steps=1,
        log_every=1,
    )
    inputs = Inputs(tmp_path / "start", corpus, imported / "features", stage.folder, list(STORED))
    distill(settings, inputs, Place(tmp_path / "distill", MACHINE.model_copy(update={"threads": 2}), 0))
    losses = [record["loss"] for record in read_metrics(tmp_path / "distill" / "metrics.jsonl")]
    assert len(losses) == 4
    assert losses[-1] < losses[0]


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """Three records of two teachers in the public layout."""
    root = tmp_path / "data"
    lines = []
    for number in range(3):
        folder = root / "features" / "shard" / f"r{number}"
        folder.mkdir(parents=True)
        (folder / "figure.jpg").write_bytes(jpeg(number))
        (folder / "figure.json").write_text(json.dumps({"image_primary_label": ["Clinical Imaging"]}))
        names = ["A", "B"] if number else ["A"]
        tensors = {f"{n}_{s}": torch.ones(4 if n == "A" else 3) * 0.5 for n in names for s in ("img", "txt")}
        torch.save(tensors, folder / "clips_output.pt")
        place = f"features/shard/r{number}/figure"
        lines.append(
            {
                "id": f"r{number}",
                "imgpath": f"{place}.jpg",
                "metapath": f"{place}.json",
                "txt": f"caption {number}",
                "available_clips": names,
            }
        )
    (root / "meta.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


def test_missing_teachers_are_null_and_vectors_are_brought_to_norm_one(made_up: Path, tmp_path: Path) -> None:
    assert teacher_names(made_up) == ["A", "B"]
    import_reference(made_up, tmp_path / "out", 0.0, 0, False, MACHINE)
    a, b = open_features(tmp_path / "out" / "features", Corpus(tmp_path / "out" / "corpus"), ["A", "B"])
    assert a.valid().tolist() == [True, True, True]
    assert b.valid().tolist() == [False, True, True]
    assert b.table.data.column("reason").to_pylist() == ["no B_img and no B_txt in clips_output.pt", None, None]
    np.testing.assert_allclose(np.linalg.norm(b.take([1])[0].astype(np.float32)), 1.0, atol=1e-3)


def test_texts_of_captions_that_the_corpus_lacks_are_null(made_up: Path, tmp_path: Path) -> None:
    """Record r0 has no vectors of B at all."""
    source = ReferenceSource(kind="reference", path=made_up.resolve())
    settings = CurateSettings(sources=[source], val=0.0, drop_captions=1.0)
    stage = corpus_stage(tmp_path / "corpus", settings, settings.model_dump(mode="json"), 0)
    complete(stage, lambda folder: curate(settings, folder, MACHINE, 0))
    specs = [TeacherSpec(name=name, model=str(made_up.resolve()), library=REFERENCE) for name in ("A", "B")]
    extract(specs, ExtractSettings(), stage.folder, tmp_path / "features", MACHINE)
    a, b = open_features(tmp_path / "features", Corpus(stage.folder), ["A", "B"])
    assert a.has("image").tolist() == [True] * 3
    assert not a.has("text").any()
    assert not b.has("text").any()
    assert a.table.data.column("reason").to_pylist() == [NO_CAPTION] * 3
    assert b.table.data.column("reason").to_pylist() == ["no B_img in clips_output.pt", NO_CAPTION, NO_CAPTION]


def test_bad_records_are_listed_and_the_others_kept(made_up: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    bad = [{"id": "x", "imgpath": "../../etc/passwd", "txt": "t", "available_clips": ["A"]}, {"id": "y"}]
    with (made_up / "meta.jsonl").open("a") as stream:
        stream.write("".join(json.dumps(line) + "\n" for line in bad) + "not json\n")
    import_reference(made_up, tmp_path / "out", 0.0, 0, False, MACHINE)
    rejected = pq.read_table(tmp_path / "out" / "corpus" / "rejected.parquet")
    assert rejected.column("reason").to_pylist() == ["outside_folder", "missing_field", "unreadable_row"]
    assert len(Corpus(tmp_path / "out" / "corpus")) == 3


class Evil:
    """Leaves a file in the working directory when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (Path("unpickled"),))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Evil(), "not loadable as plain tensors"),
        ([1, 2], "expected a dict of tensors, found list"),
        ({"A_img": torch.ones(7), "A_txt": torch.ones(4)}, r"A has shape \(7,\), expected \(4,\)"),
    ],
)
def test_feature_files_that_are_not_plain_tensors_stop_the_import(
    made_up: Path, tmp_path: Path, content: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, made_up / "features" / "shard" / "r2" / "clips_output.pt")
    with pytest.raises(DataError, match=message):
        import_reference(made_up, tmp_path / "out", 0.0, 0, False, MACHINE)
    assert not (tmp_path / "unpickled").exists()


def test_a_cut_off_feature_file_is_named(made_up: Path) -> None:
    path = made_up / "features" / "shard" / "r1" / "clips_output.pt"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"clips_output\.pt: not loadable"):
        load_vectors(path)


def test_another_layout_is_named(made_up: Path, tmp_path: Path) -> None:
    shutil.rmtree(made_up / "features")
    (made_up / "meta.jsonl").unlink()
    with pytest.raises(DataError, match=r"no meta\.jsonl found"):
        import_reference(made_up, tmp_path / "out", 0.0, 0, False, MACHINE)
