"""The files of an evaluation beside its rows: predictions, embeddings, pictures, cards and leaks, all synthetic."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mmkd.evaluation.format.predictions import Predicted, PredictionFacts, write_predictions
from mmkd.evaluation.gallery.examples import GalleryExample, Retrieved, gallery_path, thumbnail, write_examples
from mmkd.evaluation.leakage.matches import LeakageSummary, Match, SetSummary, write_audit
from mmkd.evaluation.models.embeddings import Embeddings, embeddings_path, normalised, write_embeddings
from mmkd.evaluation.survival.forecast import Forecast, columns_of
from mmkd.statistics.survival.kaplan_meier import censoring
from mmkd.statistics.survival.outcomes import Outcomes

Sets = Mapping[str, Sequence[tuple[str, str]]]  # task -> data sets and their modalities
CLASSES = ["no finding", "pneumonia", "pleural effusion, left sided", "cardiomegaly"]


def write_all_predictions(folder: Path, sets_of: Sets, rng: np.random.Generator) -> None:
    for task, sets in sets_of.items():
        for name, modality in sets:
            facts = PredictionFacts("student", name, modality, task)
            columns = COLUMNS[task](rng)
            count = len(next(iter(columns.values())))
            write_predictions(folder, facts, Predicted([f"s{n}" for n in range(count)], [""] * count, columns))


def class_columns(rng: np.random.Generator, prefix: str, count: int = 160) -> dict[str, np.ndarray]:
    label_N = rng.integers(0, len(CLASSES), count).astype(np.int32)
    score_NC = rng.standard_normal((count, len(CLASSES))) + 1.6 * np.eye(len(CLASSES))[label_N]
    score_NC[:, 1] += 0.6
    named = {f"{prefix}{name}": score_NC[:, c].astype(np.float32) for c, name in enumerate(CLASSES)}
    return {"label": label_N, **named}


def zero_shot_columns(rng: np.random.Generator) -> dict[str, np.ndarray]:
    columns = class_columns(rng, "score:")
    score_NC = np.stack([value for name, value in columns.items() if name != "label"], axis=1).astype(np.float64)
    share_NC = np.exp(1.6 * score_NC) / np.exp(1.6 * score_NC).sum(axis=1, keepdims=True)
    return {**columns, **{f"probability:{name}": share_NC[:, c] for c, name in enumerate(CLASSES)}}


def survival_columns(rng: np.random.Generator) -> dict[str, np.ndarray]:
    risk_N = rng.standard_normal(120)
    died_N, lost_N = rng.exponential(40 * np.exp(-0.7 * risk_N)), rng.exponential(60, 120)
    outcomes = Outcomes.of(died_N <= lost_N, np.minimum(died_N, lost_N))
    time_T = np.array([10.0, 20.0, 30.0])
    alive_NT = np.exp(-time_T / 40 * np.exp(0.7 * risk_N)[:, None])
    alike_NT = np.broadcast_to(np.exp(-time_T / 40), alive_NT.shape)
    return columns_of(Forecast(outcomes, np.arange(120) % 5, risk_N, time_T, alive_NT, alike_NT, censoring(outcomes)))


def retrieval_columns(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {f"{way}_rank": rng.integers(1, 40, 60).astype(np.float32) for way in ("image_to_text", "text_to_image")}


COLUMNS = {
    "zero_shot": zero_shot_columns,
    "linear_probe": lambda rng: class_columns(rng, "score:1:0:"),
    "retrieval": retrieval_columns,
    "vqa": lambda rng: {"correct": rng.random(50) < 0.6},
    "survival": survival_columns,
    "diagnosis": lambda rng: class_columns(rng, "attention:", 30),
}


def write_embedding_files(folder: Path, sets_of: Sets, rng: np.random.Generator) -> None:
    for number, (name, _) in enumerate(sets_of["zero_shot"]):
        centre = np.random.default_rng(number // 2).standard_normal(16)
        image_ID = normalised(centre + 0.5 * rng.standard_normal((70, 16))).astype(np.float32)
        write_embeddings(embeddings_path(folder, name, "student"), Embeddings(image_ID, image_ID[:1], ["a"]), "x")


def blob(rng: np.random.Generator) -> bytes:
    y, x = np.mgrid[0:120, 0:150]
    value = 60 + 150 * np.exp(-((x - rng.uniform(30, 120)) ** 2 + (y - rng.uniform(30, 90)) ** 2) / 900)
    return thumbnail(Image.fromarray((value + rng.normal(0, 6, value.shape)).clip(0, 255).astype(np.uint8)))


def write_gallery_files(folder: Path, sets_of: Sets, rng: np.random.Generator) -> None:
    for name, _ in sets_of["zero_shot"][:3]:
        wrong = [
            GalleryExample(
                name, "zero_shot", "student", "error", f"s{n}", "", CLASSES[n % 4], CLASSES[(n + 1) % 4], 0.9, blob(rng)
            )
            for n in range(6)
        ]
        write_examples(gallery_path(folder, name), wrong)
    asked = "Is there evidence of an aortic aneurysm on this film?"
    answers = [
        GalleryExample("vqa_rad", "vqa", "student", "error", f"q{n}", asked, "no", "yes", 0.5, blob(rng))
        for n in range(4)
    ]
    write_examples(gallery_path(folder, "vqa_rad"), answers)
    caption = "Axial CT of the chest with a large right-sided pleural effusion and compressive atelectasis."
    texts = [
        Retrieved(None, caption if n == 1 else f"Coronal view number {n} of the abdomen", n == 1) for n in range(3)
    ]
    images = [Retrieved(blob(rng), "Coronal view of the abdomen, portal venous phase", n == 2) for n in range(3)]
    found = [
        GalleryExample("pairs", "retrieval", "student", "best query", "p1", "", caption, "", 1.0, blob(rng), texts),
        GalleryExample("pairs", "retrieval", "student", "worst query", "p2", caption, "", "", 57.0, blob(rng), images),
    ]
    write_examples(gallery_path(folder, "pairs"), found)


def cards(sets_of: Sets) -> Iterator[dict[str, object]]:
    for task, sets in sets_of.items():
        for name, modality in sets:
            yield {
                "id": name,
                "modality": modality,
                "tasks": [task],
                "licence": "CC BY 4.0",
                "access": "open",
                "source": "https://zenodo.org/records/10519652",
                "warning": "augmented before the split" if name.startswith("ct") else "",
                "counts": {"train": 400, "test": 210},
                "found": {"train": 400, "test": 200},
                "overlaps": ["other_set"] if name.startswith("fundus") else [],
                "seen_by": ["UniMed-CLIP-base"] if name.startswith("xray") else [],
                "unverified": ["counts"],
            }


def write_leaks(folder: Path) -> None:
    twins = [
        Match("xray_set1", f"s{n}", "test", "corpus", f"c{n}", "near", 3, "as it is", 0.98, n > 1) for n in range(5)
    ]
    found = SetSummary("xray_set1", "test", "corpus", 1200, 0, 3, 2)
    write_audit(folder, LeakageSummary(6, "student", 0.953, "x", [found]), twins)


def write_lines(path: Path, rows: Sequence[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def heat_map(path: Path) -> None:
    path.parent.mkdir(parents=True)
    image = Image.new("RGB", (1200, 500), "white")
    draw = ImageDraw.Draw(image)
    for n in range(24):
        draw.rectangle([50 * n, 100, 50 * n + 45, 400], fill=(255 - 10 * n, 80, 10 * n))
    image.save(path)
