"""A finished evaluation without any model: nine modalities, six tasks, four teachers, nulls and a student.

All numbers are drawn from one seed; files are written by the real writers.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mmkd.corpus.taxonomy import MODALITIES
from mmkd.evaluation.embeddings import Embeddings, embeddings_path, normalised, write_embeddings
from mmkd.evaluation.gallery import Exhibit, Shown, gallery_path, thumbnail, write_exhibits
from mmkd.evaluation.predictions import Predicted, PredictionFacts, write_predictions
from mmkd.evaluation.results import (
    COMPARISONS,
    GAP,
    IN_GENERAL,
    MEAN,
    RANKINGS,
    RESULTS,
    UNCLEARED,
    Comparison,
    Ranking,
    Result,
    write_rows,
)
from mmkd.evaluation.statistics.survival.kaplan_meier import censoring
from mmkd.evaluation.statistics.survival.outcomes import Outcomes
from mmkd.evaluation.survival_forecast import Forecast, columns_of
from mmkd.report.details import CONTROLS, PROMPTS
from mmkd.report.pages import ReportContext
from mmkd.stage import write_json

TEACHERS = {
    "BiomedCLIP": "MIT",
    "PubMedCLIP-ViT-B32": "MIT",
    "QuiltNet-B-32": "CC BY-NC 4.0",
    "UniMed-CLIP-base": "CC BY-NC",
}
SKILL = {
    **dict(zip(TEACHERS, (0.60, 0.52, 0.57, 0.66), strict=True)),
    "best_teacher": 0.70,
    "teachers_concat": 0.69,
    "stage1": 0.58,
    "student": 0.72,
    "chance": 0.25,
    "colour_and_size": 0.45,
    "random_weights": 0.36,
}
METRICS = {
    "zero_shot": ["accuracy", "macro_auc", "ece", "nll", *PROMPTS],
    "linear_probe": ["accuracy", "macro_auc", "accuracy_at_1%", "accuracy_at_10%"],
    "retrieval": ["mean_recall", "image_to_text_recall@1", "text_to_image_recall@1", "image_to_text_median_rank"],
    "vqa": ["accuracy", *CONTROLS[1:], "closed_accuracy", "open_accuracy", "vocabulary_coverage"],
    "survival": ["harrell_c", "uno_c", "integrated_brier"],
    "diagnosis": ["macro_auc", "accuracy", "mean_pooling_macro_auc"],
}
SETS = {
    "zero_shot": [(f"{name.replace('-', '')}_set{n}", name) for name in MODALITIES for n in (1, 2)],
    "linear_probe": [(f"{name.replace('-', '')}_set1", name) for name in MODALITIES[:4]],
    "retrieval": [("pairs", "mixed")],
    "vqa": [("vqa_rad", "mixed")],
    "survival": [("tcga_blca", "histopathology"), ("tcga_luad", "histopathology")],
    "diagnosis": [("lung_slides", "histopathology")],
}
CLASSES = ["no finding", "pneumonia", "pleural effusion, left sided", "cardiomegaly"]
OFFSET = {
    "macro_auc": 0.1,
    "blank_image_accuracy": -0.2,
    "shuffled_image_accuracy": -0.15,
    "question_only_accuracy": -0.18,
}
CONTEXT = ReportContext(
    "published",
    7,
    TEACHERS,
    {name: {t: 0.55 + 0.04 * ((i + j) % 9) for j, t in enumerate(TEACHERS)} for i, name in enumerate(MODALITIES)},
)


def write_world(folder: Path, seed: int = 0) -> Path:
    """Everything that an evaluation can leave; returns the folder."""
    rng = np.random.default_rng(seed)
    results = [row for task in SETS for row in task_results(task, rng)]
    write_rows(folder / RESULTS, [*results, *subset_results(results)])
    write_rows(folder / COMPARISONS, comparisons(results, rng))
    write_rows(folder / RANKINGS, [ranking(results)])
    write_all_predictions(folder, rng)
    write_embedding_files(folder, rng)
    write_gallery_files(folder, rng)
    write_lines(folder / "cards.jsonl", list(cards()))
    write_lines(folder / "leakage.jsonl", list(leaks()))
    heat_map(folder / "heat_maps" / "lung_slides" / "slide_07.png")
    counts = {"models": 9, "data_sets": 22, "samples": 4321}
    versions = {"mmkd": "0.1.0", "torch": "2.15"}
    write_json(
        folder / "manifest.json", {"counts": counts, "versions": versions, "wall_s": 812, "peak_memory_mb": 3120}
    )
    return folder


def task_results(task: str, rng: np.random.Generator) -> list[Result]:
    shift = {name: 0.06 * rng.standard_normal() for name, _ in SETS[task]}
    rows = []
    for model, skill in SKILL.items():
        if task == "retrieval" and model == "colour_and_size":
            continue
        for metric in METRICS[task]:
            values = [value_of(metric, skill + shift[name] + 0.03 * rng.standard_normal()) for name, _ in SETS[task]]
            for (name, modality), value in zip(SETS[task], values, strict=True):
                note = f"{UNCLEARED}: colour_and_size 0.45" if value < 0.5 and model == "stage1" else ""
                rows.append(result(model, name, modality, task, metric, value, note))
            by_modality = dict.fromkeys(modality for _, modality in SETS[task])
            for modality in by_modality:
                members = [v for (_, m), v in zip(SETS[task], values, strict=True) if m == modality]
                if len(members) > 1:
                    rows.append(result(model, MEAN, modality, task, metric, float(np.mean(members))))
            rows.append(result(model, MEAN, MEAN, task, metric, float(np.mean(values))))
    return rows


def value_of(metric: str, skill: float) -> float:
    if metric.endswith("median_rank"):
        return float(np.clip(20 * (1 - skill), 1, 60))
    if metric in ("ece", "brier", "integrated_brier", "nll"):
        return float(np.clip(0.6 * (1 - skill), 0.01, 3) * (2 if metric == "nll" else 1))
    return float(np.clip(skill + OFFSET.get(metric, 0.0), 0, 1))


def result(model: str, dataset: str, modality: str, task: str, metric: str, value: float, note: str = "") -> Result:
    half = 0.02 if dataset == MEAN else 0.05
    return Result(
        model, dataset, modality, task, metric, value, max(0.0, value - half), value + half, 200, 7, "protocol", note
    )


def subset_results(rows: Sequence[Result]) -> list[Result]:
    mine = [r for r in rows if (r.model, r.dataset, r.metric) == ("student", "xray_set1", "accuracy")]
    parts = {"sex=F": 0.02, "sex=M": -0.03, f"sex={GAP}": -0.6, "clean": -0.01}
    return [
        Result(**{**vars(row), "subset": name, "value": row.value + shift, "n": 90})
        for row in mine
        for name, shift in parts.items()
    ]


def comparisons(rows: Sequence[Result], rng: np.random.Generator) -> list[Comparison]:
    value = {(r.model, r.task, r.dataset, r.modality, r.metric): r.value for r in rows}
    found = []
    for model, task, dataset, modality, metric in value:
        if model == "student" or metric != METRICS[task][0]:
            continue
        gap = value["student", task, dataset, modality, metric] - value[model, task, dataset, modality, metric]
        half = 0.02 if dataset == MEAN else 0.05
        p = float(np.exp(-((gap / half) ** 2) * 2))
        holm = None if dataset == MEAN else min(1.0, 4 * p)
        found.append(
            Comparison(
                "student", model, dataset, modality, task, metric, gap, gap - half, gap + half, p, 200, holm, "McNemar"
                if holm else "", holm and p * rng.uniform(0.8, 1.0)
            )
        )  # fmt: skip
        if (dataset, modality, task) == (MEAN, MEAN, "zero_shot"):
            wider = {"low": gap - 0.05, "high": gap + 0.05, "p": 0.04, "subset": IN_GENERAL}
            found.append(Comparison(**{**vars(found[-1]), **wider}))
    return found


def ranking(rows: Sequence[Result]) -> Ranking:
    names = ["student", "UniMed-CLIP-base", "BiomedCLIP", "stage1", "QuiltNet-B-32", "PubMedCLIP-ViT-B32"]
    ranks = [1.2, 2.1, 2.9, 4.1, 4.9, 5.8]
    alike = [names[:2], names[1:3], names[3:5], names[4:]]
    return Ranking("zero_shot", "accuracy", names, 18, ranks, 40.0, 1e-6, 1.78, alike, np.ones((6, 6)).tolist())


def write_all_predictions(folder: Path, rng: np.random.Generator) -> None:
    for task, sets in SETS.items():
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
    "linear_probe": lambda rng: class_columns(rng, "score:1.0:0:"),
    "retrieval": retrieval_columns,
    "vqa": lambda rng: {"correct": rng.random(50) < 0.6},
    "survival": survival_columns,
    "diagnosis": lambda rng: class_columns(rng, "attention:", 30),
}


def write_embedding_files(folder: Path, rng: np.random.Generator) -> None:
    for number, (name, _) in enumerate(SETS["zero_shot"]):
        centre = np.random.default_rng(number // 2).standard_normal(16)
        image_ID = normalised(centre + 0.5 * rng.standard_normal((70, 16))).astype(np.float32)
        write_embeddings(embeddings_path(folder, name, "student"), Embeddings(image_ID, image_ID[:1], ["a"]), "x")


def blob(rng: np.random.Generator) -> bytes:
    y, x = np.mgrid[0:120, 0:150]
    value = 60 + 150 * np.exp(-((x - rng.uniform(30, 120)) ** 2 + (y - rng.uniform(30, 90)) ** 2) / 900)
    return thumbnail(Image.fromarray((value + rng.normal(0, 6, value.shape)).clip(0, 255).astype(np.uint8)))


def write_gallery_files(folder: Path, rng: np.random.Generator) -> None:
    for name, _ in SETS["zero_shot"][:3]:
        wrong = [
            Exhibit(
                name, "zero_shot", "student", "error", f"s{n}", "", CLASSES[n % 4], CLASSES[(n + 1) % 4], 0.9, blob(rng)
            )
            for n in range(6)
        ]
        write_exhibits(gallery_path(folder, name), wrong)
    asked = "Is there evidence of an aortic aneurysm on this film?"
    answers = [
        Exhibit("vqa_rad", "vqa", "student", "error", f"q{n}", asked, "no", "yes", 0.5, blob(rng)) for n in range(4)
    ]
    write_exhibits(gallery_path(folder, "vqa_rad"), answers)
    caption = "Axial CT of the chest with a large right-sided pleural effusion and compressive atelectasis."
    texts = [Shown(None, caption if n == 1 else f"Coronal view number {n} of the abdomen", n == 1) for n in range(3)]
    images = [Shown(blob(rng), "Coronal view of the abdomen, portal venous phase", n == 2) for n in range(3)]
    found = [
        Exhibit("pairs", "retrieval", "student", "best query", "p1", "", caption, "", 1.0, blob(rng), texts),
        Exhibit("pairs", "retrieval", "student", "worst query", "p2", caption, "", "", 57.0, blob(rng), images),
    ]
    write_exhibits(gallery_path(folder, "pairs"), found)


def cards() -> Iterator[dict[str, object]]:
    for task, sets in SETS.items():
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


def leaks() -> Iterator[dict[str, object]]:
    for n in range(5):
        yield {
            "dataset": "xray_set1", "id": f"s{n // 2}", "split": "test", "partner": f"corpus/{n}", "kind": "near",
            "distance": 3, "similarity": 0.98, "confirmed": n > 1,
        }  # fmt: skip


def write_lines(path: Path, rows: Sequence[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def heat_map(path: Path) -> None:
    path.parent.mkdir(parents=True)
    image = Image.new("RGB", (1200, 500), "white")
    draw = ImageDraw.Draw(image)
    for n in range(24):
        draw.rectangle([50 * n, 100, 50 * n + 45, 400], fill=(255 - 10 * n, 80, 10 * n))
    image.save(path)
