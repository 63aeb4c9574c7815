"""A finished evaluation without any model: nine modalities, six tasks, four teachers, nulls and a student.

All numbers are drawn from one seed; files are written by the real writers.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from report_files import (
    cards,
    heat_map,
    write_all_predictions,
    write_embedding_files,
    write_gallery_files,
    write_leaks,
    write_lines,
)

from mmkd.evaluation.format.results import (
    COMPARISONS,
    GAP,
    IN_GENERAL,
    MEAN,
    OVERALL,
    RANKINGS,
    RESULTS,
    UNCLEARED,
    Comparison,
    Overall,
    Ranking,
    Result,
)
from mmkd.evaluation.tasks.vqa import CONTROL_METRICS
from mmkd.evaluation.tasks.zero_shot import PROMPT_METRICS
from mmkd.folders.atomic import write_json
from mmkd.folders.json_lines import write_json_lines
from mmkd.modalities.taxonomy import MODALITIES
from mmkd.report.pages import ReportContext

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
    "zero_shot": ["accuracy", "macro_auc", "ece", "nll", *PROMPT_METRICS],
    "linear_probe": ["accuracy", "macro_auc", "accuracy_at_1%", "accuracy_at_10%"],
    "retrieval": ["mean_recall", "image_to_text_recall@1", "text_to_image_recall@1", "image_to_text_median_rank"],
    "vqa": ["accuracy", *CONTROL_METRICS[1:], "closed_accuracy", "open_accuracy", "vocabulary_coverage"],
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
    write_json_lines(folder / RESULTS, [*results, *subset_results(results)])
    write_json_lines(folder / COMPARISONS, comparisons(results, rng))
    write_json_lines(folder / RANKINGS, [ranking(results)])
    write_json_lines(folder / OVERALL, overall())
    write_all_predictions(folder, SETS, rng)
    write_embedding_files(folder, SETS, rng)
    write_gallery_files(folder, SETS, rng)
    write_lines(folder / "cards.jsonl", list(cards(SETS)))
    write_leaks(folder)
    heat_map(folder / "heat_maps" / "lung_slides" / "slide_07.png")
    counts = {"models": 9, "data_sets": 22, "samples": 4321}
    versions = {"mmkd": "0.1.0", "torch": "2.15"}
    write_json(
        folder / "manifest.json",
        {"kind": "evaluation", "settings": {}, "inputs": {}, "digest": "", "counts": counts, "versions": versions},
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


def overall() -> list[Overall]:
    """Two models in 18 settings of one task and 4 of another."""
    draws = "data sets and their samples"
    sized = {"all": 22, "zero_shot": 18, "linear_probe": 4}
    return [
        Overall(model, task, count, 18, 2, rank, rank - 0.1, rank + 0.1, share * count, 0.0, float(count), draws)
        for task, count in sized.items()
        for model, rank, share in (("student", 1.25, 0.75), ("BiomedCLIP", 1.75, 0.25))
    ]
