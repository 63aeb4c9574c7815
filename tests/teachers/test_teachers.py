"""Teachers load to what their own libraries compute, and fail with a message that helps."""

import json
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mmkd.errors import ConfigError, ModelError
from mmkd.features.engine import Views
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import CONFIG, WEIGHTS, architecture, build, load, save
from mmkd.teachers.load import load_teacher
from mmkd.teachers.zoo.settings import TeacherSpec
from tiny import tiny_config
from tolerance import assert_rounding

CPU = torch.device("cpu")
CAPTIONS = ["a chest radiograph", "drusen on optical coherence tomography", ""]


def picture(seed: int = 0) -> Image.Image:
    pixels = torch.randint(0, 256, (40, 60, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(pixels.numpy())


def test_a_local_folder_gives_open_clips_own_features(tiny_teachers: list[TeacherSpec]) -> None:
    spec = tiny_teachers[0]
    teacher = load_teacher(spec, CPU)
    network, transform = open_clip.create_model_from_pretrained(spec.model)
    tokens = open_clip.get_tokenizer(spec.model)(CAPTIONS)
    with torch.inference_mode():
        image = F.normalize(network.encode_image(transform(picture())[None]), dim=1)
        text = F.normalize(network.encode_text(tokens), dim=1)
    torch.testing.assert_close(teacher.encode_images(teacher.transform.pixels(picture())[None]), image)
    torch.testing.assert_close(teacher.encode_texts(CAPTIONS), text)
    assert teacher.dim == image.shape[1] == 8


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny transformers CLIP with random weights, its processor and a WordPiece tokenizer."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    from mmkd.phantom.write import write_tokenizer

    folder = tmp_path_factory.mktemp("clip")
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**small, "vocab_size": 200, "max_position_embeddings": 12, "bos_token_id": 2, "eos_token_id": 3}
    config = CLIPConfig(
        text_config={**text, "pad_token_id": 0},
        vision_config={**small, "image_size": 32, "patch_size": 16},
        projection_dim=20,
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    write_tokenizer(folder, CAPTIONS * 3, vocab_size=200, lowercase=True)
    return folder


def test_a_transformers_folder_gives_transformers_own_features(clip_folder: Path) -> None:
    from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

    teacher = load_teacher(TeacherSpec(name="hf", library="transformers", model=str(clip_folder)), CPU)
    model = CLIPModel.from_pretrained(clip_folder).eval()
    pixels = CLIPImageProcessorPil.from_pretrained(clip_folder)(images=picture(), return_tensors="pt")["pixel_values"]
    tokens = AutoTokenizer.from_pretrained(clip_folder)(
        CAPTIONS, padding="max_length", truncation=True, max_length=12, return_tensors="pt"
    )
    with torch.inference_mode():
        output = model(pixel_values=pixels, **tokens)
    torch.testing.assert_close(teacher.encode_images(teacher.transform.pixels(picture())[None]), output.image_embeds)
    torch.testing.assert_close(teacher.encode_texts(CAPTIONS), output.text_embeds)
    assert teacher.dim == 20


def test_long_captions_are_cut_to_the_context(clip_folder: Path, tiny_teachers: list[TeacherSpec]) -> None:
    for spec in (TeacherSpec(name="hf", library="transformers", model=str(clip_folder)), tiny_teachers[0]):
        vectors = load_teacher(spec, CPU).encode_texts(["nodule " * 500])
        assert torch.isfinite(vectors).all()
        assert_rounding(vectors.norm(), 1.0)


def test_missing_weights_never_stay_random(clip_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for path in clip_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="1 weights are missing, visual_projection"):
        load_teacher(TeacherSpec(name="hf", library="transformers", model=str(tmp_path)), CPU)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (TeacherSpec(name="t", model="ViT-B-32"), "has no weights; set pretrained"),
        (TeacherSpec(name="t", model="local-dir:/nowhere"), "no open_clip_config.json found"),
        (TeacherSpec(name="t", model="No-Such-Net", pretrained="x"), "does not load"),
        (TeacherSpec(name="t", library="transformers", model="/nowhere"), "does not load"),
        (TeacherSpec(name="t", library="reference", model="/nowhere"), "stored features only"),
    ],
)
def test_what_cannot_be_loaded_is_named(spec: TeacherSpec, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_teacher(spec, CPU)


def test_a_pickle_that_runs_code_is_refused(tiny_teachers: list[TeacherSpec], tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    folder = Path(tiny_teachers[0].model.removeprefix("local-dir:"))
    (tmp_path / CONFIG).write_bytes((folder / CONFIG).read_bytes())
    torch.save({"state_dict": Evil()}, tmp_path / "open_clip_pytorch_model.bin")
    with pytest.raises(ModelError, match="does not load"):
        load_teacher(TeacherSpec(name="evil", model=f"local-dir:{tmp_path}"), CPU)
    assert not (tmp_path / "ran").exists()


def test_equal_geometries_and_tokenizers_share_a_view(tiny_teachers: list[TeacherSpec], clip_folder: Path) -> None:
    specs = [*tiny_teachers, TeacherSpec(name="hf", library="transformers", model=str(clip_folder))]
    first, second, other = (load_teacher(spec, CPU) for spec in specs)
    second.transform = replace(second.transform, mean=(0.5, 0.5, 0.5))
    views = Views([first, other, second])
    assert views.image_of == [0, 1, 0]  # transformers crops at another half of a pixel; another mean needs no view
    assert views.text_of == [0, 1, 0]
    assert (len(views.transforms), len(views.tokenizers)) == (2, 2)


def bert_config(folder: Path) -> dict[str, object]:
    """A model config whose text tower is a tiny BERT with its config and tokenizer in a folder."""
    from transformers import BertConfig

    from mmkd.phantom.write import write_tokenizer

    write_tokenizer(folder, CAPTIONS * 3, vocab_size=120, lowercase=True)
    BertConfig(
        vocab_size=120, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    ).save_pretrained(folder)
    text = {"hf_model_name": str(folder), "hf_tokenizer_name": str(folder), "context_length": 12}
    return {**tiny_config(), "text_cfg": {**text, "hf_pooler_type": "cls_last_hidden_state_pooler"}}


def test_a_bert_student_survives_saving_and_moving(tmp_path: Path) -> None:
    student = build_student(StudentSettings(config=bert_config(tmp_path / "bert")), seed=1)
    save(student, tmp_path / "saved")
    (tmp_path / "saved").rename(tmp_path / "moved")
    moved = load(tmp_path / "moved")
    student.network.eval()
    tokens = student.tokenizer(CAPTIONS)
    assert torch.equal(tokens, moved.tokenizer(CAPTIONS))
    with torch.inference_mode():
        assert_rounding(moved.network.encode_text(tokens), student.network.encode_text(tokens))
    # plain open_clip opens the folder where it was said to stand
    save(student, tmp_path / "draft", home=tmp_path / "final")
    (tmp_path / "draft").rename(tmp_path / "final")
    network, _ = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'final'}")
    network.eval()
    with torch.inference_mode():
        assert_rounding(network.encode_text(tokens), student.network.encode_text(tokens))


def test_building_is_deterministic_and_leaves_torchs_generator_alone() -> None:
    state = torch.random.get_rng_state()
    students = [build_student(StudentSettings(config=tiny_config()), seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), state)
    first, same, other = (student.network.state_dict()["visual.conv1.weight"] for student in students)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert students[0].network.logit_scale.exp().item() == pytest.approx(14.3)


def test_student_weights_must_fit(tmp_path: Path) -> None:
    student = build_student(StudentSettings(config=tiny_config()), 0)
    save(student, tmp_path)
    again = build_student(StudentSettings(config=tiny_config(), weights=tmp_path / WEIGHTS), 5)
    assert torch.equal(again.network.visual.conv1.weight, student.network.visual.conv1.weight)
    with pytest.raises(ModelError, match="does not load into this architecture"):
        build_student(StudentSettings(config=tiny_config(dim=8), weights=tmp_path / WEIGHTS), 0)


def test_unknown_architectures_and_configs_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no architecture 'ViT-B-17'; did you mean.*ViT-B-16"):
        architecture("ViT-B-17")
    with pytest.raises(ConfigError, match="cannot build a model"):
        build({**tiny_config(), "vision_cfg": {"no_such_key": 1}})
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="not a readable JSON file"):
        build_student(StudentSettings(config=tmp_path / "config.json"), 0)
    (tmp_path / "config.json").write_text(json.dumps({"model_cfg": tiny_config()}))
    assert build_student(StudentSettings(config=tmp_path / "config.json"), 0).dim == 16
