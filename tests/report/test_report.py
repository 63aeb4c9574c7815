"""The page: complete, self-contained, safe against what data says, and the same for the same results."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mmkd.errors import DataError
from mmkd.evaluation.results import COMPARISONS, RESULTS, Comparison, Result, write_rows
from mmkd.report.pages import ReportContext, write_report
from mmkd.stage import write_json

MODELS = ["plip", "quilt", "best_teacher", "teachers_concat", "stage1", "mmkd", "student"]
NASTY = "</script><script>alert(1)</script>&<b>"


def rows(dataset: str, modality: str, base: float, note: str = "") -> list[Result]:
    metrics = ("accuracy", "balanced_accuracy", "macro_auc")
    return [
        Result(m, dataset, modality, "zero_shot", metric, v, v - 0.05, v + 0.05, 40, 0, "cosine", note)
        for number, m in enumerate(MODELS)
        for metric in metrics
        for v in [base + number / 50]
    ]


def write_evaluation(folder: Path, note: str = "") -> Path:
    results = [*rows("a", "ct", 0.5, note), *rows("b", "mri", 0.6), *rows("mean", "mean", 0.55)]
    gains = [
        Comparison("student", rival, "mean", "mean", "zero_shot", "accuracy", 0.12 - number / 50, 0.01, 0.2, 0.01, 80)
        for number, rival in enumerate(MODELS[:-1])
    ]
    write_rows(folder / RESULTS, results)
    write_rows(folder / COMPARISONS, gains)
    write_json(folder / "manifest.json", {"counts": {"models": 5}, "versions": {"torch": "2.15"}, "wall_s": 3})
    return folder


CONTEXT = ReportContext("demo", 7, {"plip": "MIT", "quilt": "CC BY-NC 4.0"})


def page(folder: Path, context: ReportContext = CONTEXT, note: str = "") -> str:
    counts = write_report(write_evaluation(folder / "evaluate", note), folder / "report", context)
    assert counts == {"results": 63, "comparisons": 6}
    return (folder / "report" / "index.html").read_text(encoding="utf-8")


def shown(text: str) -> str:
    """The page without scripts and style."""
    return re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)


def test_the_page_says_who_is_best_by_how_much(tmp_path: Path) -> None:
    text = shown(page(tmp_path))
    assert '<div class="tile ours"><div class="name">student</div><div class="value">67.0 %</div>' in text
    assert "quilt</div>" in text  # the best single teacher
    assert "student +10.0 points [+1.0, +20.0], p = 0.010" in text
    assert all(name in text for name in (*MODELS, "ct", "mri", "CC BY-NC 4.0", "torch 2.15", "seed 7"))


def test_the_best_of_each_column_is_marked(tmp_path: Path) -> None:
    line = next(line for line in shown(page(tmp_path)).splitlines() if "<tr class=ours><td>student</td>" in line)
    assert line.count("<td class=best>") == 3
    assert "<td class=best>62.0</td><td class=best>72.0</td><td class=best>67.0</td>" in line


def test_the_page_fetches_nothing(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert re.findall(r"<(?:script|img|link|iframe)[^>]*\b(?:src|href)=", text) == []
    assert text.count("Plotly.newPlot(") >= 3
    assert len(re.findall(r"<script>/\*\*", text)) == 1  # plotly.js stands there once


def test_equal_results_make_equal_pages(tmp_path: Path) -> None:
    assert page(tmp_path / "one") == page(tmp_path / "two")


class Tags(HTMLParser):
    """Counts opening tags and the text in scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)


def test_data_never_becomes_markup(tmp_path: Path) -> None:
    curve = tmp_path / "metrics.jsonl"
    curve.write_text(json.dumps({"step": 1, "loss": 2.0}) + "\n")
    nasty = ReportContext(NASTY, 0, {"plip": NASTY, NASTY: "x"}, {NASTY: {"plip": 0.6}}, [(NASTY, curve)])
    plain = ReportContext("demo", 0, {"plip": "demo", "demo": "x"}, {"demo": {"plip": 0.6}}, [("demo", curve)])
    opened = []
    for name, context, note in (("nasty", nasty, NASTY), ("plain", plain, "demo")):
        tags = Tags()
        tags.feed(page(tmp_path / name, context, note))
        opened.append(tags.opened)
    assert opened[0] == opened[1]


def test_calibration_and_training_appear_when_there_is_something_to_show(tmp_path: Path) -> None:
    curve = tmp_path / "metrics.jsonl"
    curve.write_text(json.dumps({"step": 1, "loss": 2.0}) + "\n" + '{"step": 2, "lo')
    full = ReportContext("demo", 7, CONTEXT.licences, {"ct": {"plip": 0.7, "quilt": 0.5}}, [("student", curve)])
    text = page(tmp_path / "full", full)
    assert 'id="reliability"' in text
    assert 'id="training"' in text
    text = page(tmp_path / "bare")
    assert 'id="reliability"' not in text
    assert 'id="training"' not in text


def test_an_unfinished_evaluation_is_refused(tmp_path: Path) -> None:
    evaluated = write_evaluation(tmp_path / "evaluate")
    (evaluated / "manifest.json").unlink()
    with pytest.raises(DataError, match="run the stage that makes it first"):
        write_report(evaluated, tmp_path / "report", CONTEXT)
    assert not (tmp_path / "report").exists()
