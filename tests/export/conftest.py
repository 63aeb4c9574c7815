"""Tiny students of each kind, saved as training saves them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_students import TEXT, VISION, Maker
from transformers import BertConfig

from mmkd.phantom.write import write_tokenizer
from mmkd.teachers.files.open_clip_folder import OpenClipModel, build, save


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT's description with its tokenizer."""
    folder = tmp_path_factory.mktemp("bert") / "bert"
    words = ["a chest x-ray", "no finding", "drusen of the eye", "histopathology of a tumour"]
    write_tokenizer(folder, words * 3, vocab_size=120, lowercase=True)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    BertConfig(vocab_size=120, max_position_embeddings=40, **sizes).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make(bert: Path) -> Maker:
    """A student of random weights, some of them large, so that a wrong one shows. pooler: of a BERT as text tower."""

    def made(
        vision: dict[str, Any] = VISION,
        text: dict[str, Any] = TEXT,
        pooler: str = "",
        projection: str = "linear",
        preprocess: dict[str, Any] | None = None,
        **config: Any,
    ) -> OpenClipModel:
        if pooler:
            names = {"hf_model_name": str(bert), "hf_tokenizer_name": str(bert), "hf_model_pretrained": False}
            text = {**names, "context_length": 16, "hf_pooler_type": pooler, "hf_proj_type": projection}
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = build({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text, **config}, preprocess)
            with torch.no_grad():
                for weight in model.network.parameters():
                    weight.add_(0.1 * torch.randn_like(weight))
                model.network.logit_scale.fill_(torch.tensor(20.0).log())
        model.network.eval()
        return model

    return made


@pytest.fixture(scope="session")
def student(make: Maker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP's architecture, as a folder."""
    folder = tmp_path_factory.mktemp("student") / "distill"
    save(make(), folder)
    return folder
