"""A model folder that tries to have its code run, in every place that a library would look at: it never is."""

import ast
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkd
from mmkd.errors import ConfigError, MmkdError, ModelError
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.configs import transformers_config
from mmkd.teachers.files.open_clip_folder import CONFIG, build, hf_tokenizer, save
from mmkd.teachers.load import check_files, load_teacher
from mmkd.teachers.zoo.settings import TeacherSpec
from tiny import tiny_config

CPU = torch.device("cpu")
CODE = "open({ran!r}, 'w').close()\nclass Anything: pass\n"
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


def pickled(folder: Path, weights: str, name: str, value: object) -> None:
    """A pickle in place of the weights."""
    (folder / weights).unlink()
    torch.save(value, folder / name)


def changed(path: Path, **keys: object) -> None:
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.is_file() else {}), **keys}))


def with_text(path: Path, **keys: object) -> None:
    described = json.loads(path.read_text())
    described["model_cfg"]["text_cfg"] |= keys
    path.write_text(json.dumps(described))


class Evil:
    """A pickle that makes the file `ran` when it is read."""

    def __init__(self, folder: Path) -> None:
        self.ran = folder / "ran"

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.ran,)


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An open_clip folder with a BERT and its tokenizer."""
    from transformers import BertConfig

    from mmkd.phantom.write import write_tokenizer

    bert, folder = tmp_path_factory.mktemp("bert"), tmp_path_factory.mktemp("open_clip")
    write_tokenizer(bert, ["a chest radiograph"] * 3, vocab_size=120, lowercase=True)
    BertConfig(vocab_size=120, **SMALL).save_pretrained(bert)
    text = {"hf_model_name": str(bert), "hf_tokenizer_name": str(bert), "context_length": 12}
    save(build({**tiny_config(), "text_cfg": {**text, "hf_pooler_type": "cls_pooler"}}), folder)
    return folder


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of transformers."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    from mmkd.phantom.write import write_tokenizer

    folder = tmp_path_factory.mktemp("clip")
    text = {**SMALL, "vocab_size": 200, "max_position_embeddings": 12, "eos_token_id": 3}
    CLIPModel(
        CLIPConfig(text_config=text, vision_config={**SMALL, "image_size": 32, "patch_size": 16}, projection_dim=8)
    ).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    write_tokenizer(folder, ["a chest radiograph"] * 3, vocab_size=200, lowercase=True)
    return folder


@pytest.fixture
def yes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Standard input that says yes to everything; the questions it was asked."""
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text="": asked.append(text) or "y")
    return asked


AUTO_MAP = {"AutoTokenizer": [None, "code.Anything"], "AutoConfig": "code.Anything", "AutoModel": "code.Anything"}
AUTO_MAP |= {"AutoImageProcessor": "code.Anything", "AutoProcessor": "code.Anything"}
OPEN_CLIP: dict[str, tuple[Callable[[Path], None], str]] = {
    "trust in the tokenizer's arguments": (
        lambda at: with_text(at / CONFIG, tokenizer_kwargs={"trust_remote_code": True}),
        r"open_clip_config\.json: key 'model_cfg\.text_cfg\.tokenizer_kwargs\.trust_remote_code' asks for code",
    ),
    "another argument of the tokenizer": (
        lambda at: with_text(at / CONFIG, tokenizer_kwargs={"cache_dir": "/tmp"}),
        r"tokenizer_kwargs\.cache_dir is no key that is passed on",
    ),
    "the tokenizer": (
        lambda at: changed(at / "tokenizer_config.json", auto_map=AUTO_MAP),
        "tokenizer_config.json: key",
    ),
    "the BERT": (lambda at: changed(at / "config.json", auto_map=AUTO_MAP), r"/config\.json: key 'auto_map' asks for"),
    "a type of BERT that is the folder's own": (
        lambda at: changed(at / "config.json", model_type="evil"),
        "model_type 'evil' is none that transformers builds itself",
    ),
    "a kernel for attention": (
        lambda at: changed(at / "config.json", attn_implementation="evil/kernel"),
        "names a program to fetch",
    ),
    "an adapter": (lambda at: changed(at / "adapter_config.json", peft_type="LORA"), "weights of another model on top"),
    "a pickle": (
        lambda at: pickled(at, "open_clip_model.safetensors", "open_clip_model.bin", Evil(at)),
        "holds more than weights",
    ),
}
TRANSFORMERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "the model": (lambda at: changed(at / "config.json", auto_map=AUTO_MAP), r"/config\.json: key 'auto_map' asks for"),
    "a type of model that is the folder's own": (
        lambda at: changed(at / "config.json", model_type="evil", auto_map=AUTO_MAP),
        "key 'auto_map' asks for code",
    ),
    "the tokenizer": (
        lambda at: changed(at / "tokenizer_config.json", auto_map=AUTO_MAP),
        "tokenizer_config.json: key",
    ),
    "the image processor": (
        lambda at: changed(at / "preprocessor_config.json", auto_map=AUTO_MAP),
        r"preprocessor_config\.json: key 'auto_map'",
    ),
    "the processor": (
        lambda at: changed(at / "processor_config.json", auto_map=AUTO_MAP),
        "processor_config.json: key",
    ),
    "a tower of timm's": (
        lambda at: changed(
            at / "config.json", vision_config={"model_type": "timm_wrapper", "architecture": "hf-hub:e/v"}
        ),
        "does not load",
    ),
    "an adapter": (lambda at: changed(at / "adapter_config.json", peft_type="LORA"), "weights of another model on top"),
    "a pickle": (
        lambda at: pickled(at, "model.safetensors", "pytorch_model.bin", {"a": Evil(at)}),
        "does not load",
    ),
}


def hostile(folder: Path, to: Path, attack: Callable[[Path], object]) -> Path:
    shutil.copytree(folder, to)
    (to / "code.py").write_text(CODE.format(ran=str(to / "ran")))
    attack(to)
    return to


@pytest.mark.parametrize("name", OPEN_CLIP)
def test_nothing_of_an_open_clip_folder_is_executed(
    bert_folder: Path, tmp_path: Path, yes: list[str], name: str
) -> None:
    attack, message = OPEN_CLIP[name]
    folder = hostile(bert_folder, tmp_path / "evil", attack)
    with pytest.raises(ModelError, match=message):
        load_teacher(TeacherSpec(name="evil", model=f"local-dir:{folder}"), CPU)
    with pytest.raises(MmkdError, match=message):
        build_student(StudentSettings(pretrained=f"local-dir:{folder}"), 0)
    assert not (folder / "ran").exists()
    assert yes == []


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_nothing_of_a_transformers_folder_is_executed(
    clip_folder: Path, tmp_path: Path, yes: list[str], name: str
) -> None:
    attack, message = TRANSFORMERS[name]
    folder = hostile(clip_folder, tmp_path / "evil", attack)
    with pytest.raises(ModelError, match=message):
        load_teacher(TeacherSpec(name="evil", library="transformers", model=str(folder)), CPU)
    assert not (folder / "ran").exists()
    assert yes == []


def test_a_check_before_the_work_refuses_them_too(bert_folder: Path, clip_folder: Path, tmp_path: Path) -> None:
    first = hostile(bert_folder, tmp_path / "1", lambda at: changed(at / "config.json", auto_map=AUTO_MAP))
    second = hostile(clip_folder, tmp_path / "2", lambda at: changed(at / "tokenizer_config.json", auto_map=AUTO_MAP))
    with pytest.raises(ModelError, match="nothing of a model folder is executed"):
        check_files(TeacherSpec(name="evil", model=f"local-dir:{first}"))
    with pytest.raises(ModelError, match="nothing of a model folder is executed"):
        check_files(TeacherSpec(name="evil", library="transformers", model=str(second)))


@pytest.mark.parametrize("name", ["hf-hub:evil/tower", "local-dir:evil", "/evil", "../evil"])
def test_a_tower_is_one_that_timm_has_itself(name: str) -> None:
    with pytest.raises(ConfigError, match="expected the name of a network that timm has itself"):
        build({**tiny_config(), "vision_cfg": {"timm_model_name": name, "image_size": 32}})


@pytest.mark.parametrize("key", ["bpe_path", "trust_remote_code", "cache_dir"])
def test_a_tokenizers_arguments_are_on_a_list(key: str) -> None:
    config: dict[str, Any] = tiny_config()
    with pytest.raises(ConfigError, match=f"tokenizer_kwargs.{key} is no key that is passed on"):
        build({**config, "text_cfg": {**config["text_cfg"], "tokenizer_kwargs": {key: "/etc/hostname"}}})


def test_only_keys_that_the_librarys_class_declares_are_passed_on(clip_folder: Path, tmp_path: Path) -> None:
    from transformers import CLIPConfig

    folder = hostile(
        clip_folder, tmp_path / "copy", lambda at: changed(at / "config.json", quantization_config={"a": 1})
    )
    found, theirs = transformers_config(folder), CLIPConfig.from_pretrained(clip_folder)
    assert not hasattr(found, "quantization_config")
    assert found.text_config.to_dict() == theirs.text_config.to_dict()
    assert found.vision_config.to_dict() == theirs.vision_config.to_dict()
    assert found.projection_dim == theirs.projection_dim == 8


def test_a_config_that_open_clip_stumbles_on_is_refused() -> None:
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 5, "patch_size": 16}  # 32 is no multiple of 6
    with pytest.raises(ConfigError, match="cannot build a model"):
        build({**tiny_config(), "vision_cfg": vision})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"}, "no padding token"),
        ("tokenizer.json", {"version": "1.0", "model": {"type": "WordPiece", "vocab": {"a": -1}}}, "does not load"),
    ],
)
def test_a_tokenizer_that_cannot_be_used_is_refused_when_it_is_loaded(
    name: str, content: dict[str, object], said: str, tmp_path: Path
) -> None:
    from mmkd.phantom.write import write_tokenizer

    write_tokenizer(tmp_path, ["a chest radiograph"] * 3, vocab_size=90, lowercase=True)
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=said):
        hf_tokenizer(str(tmp_path), 16)


LOADERS = {"from_pretrained", "pipeline", "HFTokenizer"}


def test_every_call_that_opens_a_folder_forbids_its_code() -> None:
    """Of transformers and of what stands around it: a call that leaves it open asks standard input."""
    source = Path(mmkd.__file__).parent
    found = 0
    for path in source.rglob("*.py"):
        for call in [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]:
            if getattr(call.func, "attr", getattr(call.func, "id", "")) in LOADERS:
                said = [keyword.value for keyword in call.keywords if keyword.arg == "trust_remote_code"]
                where = f"{path.relative_to(source)}:{call.lineno}"
                assert [ast.unparse(value) for value in said] == ["False"], where
                found += 1
    assert found > 5
