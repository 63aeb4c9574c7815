"""What bench/train.py trains on: real pairs, random features of nine teachers, a student; the public way of reading."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from mmkd.corpus.schema import Corpus
from mmkd.curation.curate import corpus_stage, curate
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import TableSource
from mmkd.device import prepare
from mmkd.features.store import TeacherFacts, feature_columns, feature_table, open_features, write_facts
from mmkd.folders.arrow import arrow_schema, finish, write_shard
from mmkd.folders.stage import Stage, complete
from mmkd.images.transform import from_compose
from mmkd.phantom.write import write_tokenizer
from mmkd.settings import Machine
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import OpenClipModel
from mmkd.training.batches import PairBatch, PairImages, StepBatches
from mmkd.training.data.order import Order
from mmkd.training.data.tokens import tokenise
from mmkd.training.data.view import TeacherBatch
from mmkd.training.experimental.targets import fit_target
from mmkd.training.objectives.objective import TeacherShape
from mmkd.training.targets.teacher_targets import TeacherTargets
from mmkd.training.towers import StudentTowers

TEACHERS, DIM, CONTEXT, WORDS = 9, 512, 256, 4000


class PaddedTowers(StudentTowers):
    """open_clip's own calls on whole captions."""

    def forward(
        self, image_BCHW: Tensor, token_BL: Tensor, length_B: np.ndarray
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        network: Any = self.network
        image_BD, text_BD = network.encode_image(image_BCHW, normalize=True), network.encode_text(token_BL, True)
        return image_BD, text_BD, network.logit_scale.exp(), None

    def groups(self, length_B: np.ndarray, context: int) -> list[tuple[np.ndarray, int]]:
        return [(np.arange(len(length_B)), context)]


class FileBatches(Dataset[PairBatch]):
    """The batches of StepBatches, read from one file a pair and one image file."""

    def __init__(self, folder: Path, batches: StepBatches, model: OpenClipModel) -> None:
        self.folder, self.batches, self.model = folder, batches, model
        self.pixels = from_compose(model.transform).pixels

    def write(self) -> None:
        """A file a pair, as the public extraction leaves them: float32 vectors of every teacher."""
        self.folder.mkdir()
        corpus, targets = self.batches.images.corpus, self.batches.teachers
        if targets is None:
            raise ValueError("there are no teachers' features to write")
        position = np.arange(len(self.batches.rows))
        batch = targets.at(position, self.batches.rows)
        for p, (row, data) in enumerate(zip(self.batches.rows, corpus.images(self.batches.rows), strict=True)):
            sides = {"image": [one[p].clone() for one in batch.image], "text": [one[p].clone() for one in batch.text]}
            torch.save(sides, self.folder / f"{row}.pt")
            (self.folder / f"{row}.image").write_bytes(data)

    def __getitem__(self, step: int) -> PairBatch:
        position_B = self.batches.order.at(step)
        row_B = self.batches.rows[position_B]
        images, image, text = [], [], []
        for row in row_B:
            with Image.open(self.folder / f"{row}.image") as opened:
                images.append(self.pixels(opened.convert("RGB")))
            sides = torch.load(self.folder / f"{row}.pt")
            image.append(sides["image"])
            text.append(sides["text"])
        token_BL = self.model.tokenizer(self.batches.images.corpus.take(row_B).column("caption").to_pylist())
        ones_BT = torch.ones(len(row_B), TEACHERS)
        code_B = torch.arange(len(row_B))
        teachers = TeacherBatch(_stacked(image), _stacked(text), ones_BT, ones_BT.bool())
        length_B = np.asarray((token_BL != self.batches.captions.pad).sum(dim=1))
        return PairBatch(
            row_B, torch.stack(images), token_BL, length_B, code_B, code_B, torch.ones(len(row_B)), teachers
        )


def _stacked(rows: list[list[Tensor]]) -> list[Tensor]:
    return [torch.stack([row[t] for row in rows]) for t in range(TEACHERS)]


class BenchWorld:
    """Everything that does not depend on how it is run."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.machine = Machine(
            device=options.device, workers=options.workers, threads=options.threads, decoded_cache_mb=0
        )
        self.device = prepare(self.machine)
        self.corpus = self._corpus()
        self.model = build_student(StudentSettings(config=self._config(), resize_mode="longest"), 0)
        rows = self.corpus.rows("train")
        self.images = PairImages(self.corpus, rows, self.model, 0)
        self.captions = tokenise(self.corpus, rows, self.model.tokenizer, folder)
        self.targets, self.shapes = self._teachers(rows)
        self.files = FileBatches(folder / "files", self.batches(options.batch), self.model)
        self.files.write()

    def batches(self, size: int) -> StepBatches:
        """size: pairs of a step."""
        order = Order(len(self.images.rows), size, seed=0)
        return StepBatches(self.images.rows, self.images, self.captions, self.targets, order)

    def _corpus(self) -> Corpus:
        settings = CurateSettings(
            sources=[TableSource(kind="table", path=self.options.realdata / "pairs" / "pairs.jsonl")],
            max_rejected=1.0,
            val=0.0,
        )
        stage = corpus_stage(self.folder / "corpus", settings, settings.model_dump(mode="json"), 0)
        complete(stage, lambda partial: curate(settings, partial, self.machine, 0))
        return Corpus(self.folder / "corpus")

    def _config(self) -> dict[str, Any]:
        from transformers import BertConfig

        bert, tiny = self.folder / "bert", self.options.tiny
        write_tokenizer(bert, self.corpus.column("caption"), WORDS, lowercase=True)
        small = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 128}
        BertConfig(vocab_size=30522, **(small if tiny else {})).save_pretrained(bert)
        vision = {"image_size": 224, "layers": 1 if tiny else 12, "width": 64 if tiny else 768, "patch_size": 16}
        text = {"hf_model_name": str(bert), "hf_tokenizer_name": str(bert), "context_length": CONTEXT}
        text |= {"hf_proj_type": "mlp", "hf_pooler_type": "cls_last_hidden_state_pooler"}
        return {"embed_dim": DIM, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}

    def _teachers(self, rows: np.ndarray) -> tuple[TeacherTargets, list[TeacherShape]]:
        """Random features of nine teachers, in the folders that `mmkd extract` writes."""
        names = [f"teacher{t}" for t in range(TEACHERS)]
        rng = np.random.default_rng(0)
        sides = rng.standard_normal((TEACHERS, 2, len(self.corpus), DIM), dtype=np.float32)
        sides /= np.linalg.norm(sides, axis=-1, keepdims=True)
        for name, (image_ND, text_ND) in zip(names, sides, strict=True):
            self._write_features(name, image_ND, text_ND)
        features = open_features(self.folder, self.corpus, names)
        ones_NT = np.ones((len(rows), TEACHERS), dtype=np.float32)
        targets = TeacherTargets(features, ones_NT, ones_NT.astype(bool), np.ones(len(rows), dtype=np.float32))
        return targets, [TeacherShape(20.0, fit_target("centre", image, text, rng)) for image, text in sides]

    def _write_features(self, name: str, image_ND: np.ndarray, text_ND: np.ndarray) -> None:
        columns = feature_columns(DIM)

        def body(partial: Path) -> dict[str, int]:
            table = feature_table(self.corpus.table.data.column("id"), {"image": image_ND, "text": text_ND})
            write_shard(partial / "data-00000.arrow", arrow_schema(columns), [table])
            finish(partial, columns, ["data-00000.arrow"], f"{int(name[7:]):016x}")
            write_facts(partial, TeacherFacts(name, DIM, "none", "random"))
            return {"rows": len(image_ND)}

        complete(Stage(name, self.folder / name, {}, {"corpus": self.corpus.digest}), body)
