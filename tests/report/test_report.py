"""The page: complete, self-contained, safe against what data says, and the same for the same results."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from report_world import CONTEXT, SETS, TEACHERS, write_world

from mmkd.errors import DataError
from mmkd.evaluation.format.results import COMPARISONS, RESULTS, Comparison, Result
from mmkd.folders.atomic import write_json
from mmkd.folders.json_lines import write_json_lines
from mmkd.images.encode import png
from mmkd.report.curation import ORIGIN, sample_page
from mmkd.report.details import Detail
from mmkd.report.pages import FIGURE, ReportContext, write_report
from mmkd.report.plot import Axis, Figure, Plot
from mmkd.report.render import counted, environment

MODELS = ["plip", "quilt", "best_teacher", "teachers_concat", "stage1", "mmkd", "student"]
NASTY = "</script><script>alert(1)</script>&<b>"
SMALL = ReportContext("demo", 7, {"plip": "MIT", "quilt": "CC BY-NC 4.0"})


def rows(dataset: str, modality: str, base: float, note: str = "") -> list[Result]:
    metrics = ("accuracy", "balanced_accuracy", "macro_auc")
    return [
        Result(m, dataset, modality, "zero_shot", metric, v, v - 0.05, v + 0.05, 40, 0, "cosine", note)
        for number, m in enumerate(MODELS)
        for metric in metrics
        for v in [base + number / 50]
    ]


def write_evaluation(folder: Path, note: str = "", rivals: list[str] = MODELS[:-1]) -> Path:
    results = [*rows("a", "ct", 0.5, note), *rows("b", "mri", 0.6), *rows("mean", "mean", 0.55)]
    gains = [
        Comparison("student", rival, "mean", "mean", "zero_shot", "accuracy", 0.12 - number / 50, 0.01, 0.2, 0.01, 80)
        for number, rival in enumerate(rivals)
    ]
    write_json_lines(folder / RESULTS, results)
    write_json_lines(folder / COMPARISONS, gains)
    write_json(
        folder / "manifest.json",
        {
            "kind": "evaluation",
            "settings": {},
            "inputs": {},
            "digest": "",
            "counts": {"models": 5},
            "versions": {"torch": "2.15"},
        },
    )
    return folder


def page(folder: Path, context: ReportContext = SMALL, note: str = "") -> str:
    counts = write_report(write_evaluation(folder / "evaluate", note), folder / "report", context)
    assert (counts["results"], counts["comparisons"]) == (63, 6)
    return (folder / "report" / "index.html").read_text(encoding="utf-8")


def shown(text: str) -> str:
    """The page without its style."""
    return re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of an evaluation that has everything."""
    folder = tmp_path_factory.mktemp("whole")
    write_report(write_world(folder / "evaluate"), folder / "report", CONTEXT)
    return (folder / "report" / "index.html").read_text(encoding="utf-8")


def test_the_page_says_who_is_best_by_how_much(tmp_path: Path) -> None:
    text = shown(page(tmp_path))
    assert (
        "Yes: on average over the data sets, the student is ahead of every one of the teachers on the one task." in text
    )
    assert '<div class="value">67.0 %</div><div class="more">[62.0, 72.0]</div>' in text
    assert "best single teacher: quilt, 57.0 % [52.0, 62.0]" in text
    assert "+10.0 points [+1.0, +20.0]" in text
    assert all(name in text for name in (*MODELS, "ct", "mri", "CC BY-NC 4.0", "torch 2.15", "seed 7"))


def test_the_best_of_each_column_is_marked(tmp_path: Path) -> None:
    line = next(
        line for line in shown(page(tmp_path)).splitlines() if '<tr class="ours"><th scope="row">student' in line
    )
    assert re.findall(r'<td class="best"[^>]*>([0-9.]+)</td>', line) == ["62.0", "72.0", "67.0"]


def test_the_page_fetches_nothing(whole: str) -> None:
    sources = re.findall(
        r"<(?:script|img|link|iframe|source|object|embed)[^>]*\b(?:src|href|data)=\"([^\"]*)\"", shown(whole)
    )
    assert sources
    assert all(address.startswith("data:") for address in sources)
    assert not re.search(r"url\(|@import", whole)
    assert "<script" not in whole
    assert "default-src 'none'" in whole  # nor may it fetch or run anything, whatever data say
    assert len(whole) < 1e6


@pytest.mark.parametrize(
    "part",
    [
        *SETS,
        *TEACHERS,
        "zero_shot-radar",
        "zero_shot-forest",
        "zero_shot-ranks",
        "zero_shot-reliability-xray_set1",
        "zero_shot-confusion-xray_set1",
        "Prompt sensitivity",
        "12 more data sets",
        "Reliability diagram",
        "Confusion matrix",
        "Kaplan-Meier curves",
        "Critical difference diagram",
        "linear_probe-shares",
        "linear_probe-confusion-xray_set1",
        "vqa-controls",
        "survival-km-tcga_blca-student",
        "diagnosis-confusion-lung_slides",
        "colour_and_size",
        " †</td>",
        "does not clear its null",
        "sex=F",
        "sex=best - worst",
        "with data sets resampled",
        "Without near-duplicates of training images",
        "3 samples have a copy in the training data",
        "Most confident errors",
        "Retrieval examples",
        "Attention heat maps",
        "embedding-map",
        "teacher-reliability",
        "augmented before the split",
        "in the training data of UniMed-CLIP-base",
        "train 400, test 200 (published: train 400, test 210) ?",
    ],
)
def test_everything_that_was_evaluated_is_shown(whole: str, part: str) -> None:
    assert part in whole


def test_every_picture_and_figure_says_what_it_shows(whole: str) -> None:
    text = shown(whole)
    assert all(re.search(r'alt="[^"]+"', tag) for tag in re.findall(r"<img[^>]*>", text))
    figures = re.findall(r'<svg id="[^"]+"[^>]*>', text)
    assert len(figures) > 40
    assert all(re.search(r'role="img" aria-label="[^"]{10,}"', tag) for tag in figures)
    assert len({re.search(r'id="([^"]+)"', tag)[1] for tag in figures}) == len(figures)


def test_links_inside_the_page_lead_somewhere(whole: str) -> None:
    anchors = re.findall(r'href="#([^"]+)"', shown(whole))
    assert len(anchors) > 10
    assert [anchor for anchor in anchors if f'id="{anchor}"' not in whole] == []


def test_equal_results_make_equal_pages(tmp_path: Path) -> None:
    assert page(tmp_path / "one") == page(tmp_path / "two")


class Tags(HTMLParser):
    """Collects opening tags."""

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


def test_captions_are_text() -> None:
    texts = dict.fromkeys(("id", "caption", "caption_original", "caption_mention", "modality", *ORIGIN), NASTY)
    text = sample_page(NASTY, [{**texts, "width": 4, "height": 4, "image": png(Image.new("L", (4, 4)))}])
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in text
    assert "<script" not in text


def test_no_template_turns_escaping_off() -> None:
    loader = environment().loader
    assert loader is not None
    for name in loader.list_templates():
        source, *_ = loader.get_source(environment(), name)
        assert not re.search(r"\|\s*safe|autoescape", source), name


def test_calibration_and_training_appear_when_there_is_something_to_show(tmp_path: Path) -> None:
    curve = tmp_path / "metrics.jsonl"
    curve.write_text(json.dumps({"step": 1, "loss": 2.0}) + "\n" + '{"step": 2, "lo')
    full = ReportContext("demo", 7, SMALL.licences, {"ct": {"plip": 0.7, "quilt": 0.5}}, [("student", curve)])
    text = page(tmp_path / "full", full)
    assert 'id="teacher-reliability"' in text
    assert 'id="training-losses"' in text
    text = page(tmp_path / "bare")
    assert 'id="teacher-reliability"' not in text
    assert 'id="training-losses"' not in text


def test_a_bare_evaluation_is_about_the_model_that_was_compared(tmp_path: Path) -> None:
    evaluated = write_evaluation(tmp_path / "evaluate")
    text = (evaluated / RESULTS).read_text().replace('"student"', '"mine"')
    (evaluated / RESULTS).write_text(text)
    compared = (evaluated / COMPARISONS).read_text().replace('"student"', '"mine"')
    (evaluated / COMPARISONS).write_text(compared)
    write_report(evaluated, tmp_path / "report", ReportContext("front door"))
    text = shown((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    assert "Does mine beat the other models?" in text
    assert "mine is ahead of every one of the other models" in text
    assert "Licences of the teachers" not in text
    assert "seed" not in text


def test_a_task_without_the_main_model_shows_the_best_of_the_others(tmp_path: Path) -> None:
    evaluated = write_evaluation(tmp_path / "evaluate")
    age = [Result("age", name, name, "survival", "harrell_c", 0.612, 0.5, 0.7, 90, 0, "Cox") for name in ("mean",)]
    write_json_lines(evaluated / RESULTS, [*rows("a", "ct", 0.5), *rows("mean", "mean", 0.5), *age])
    write_report(evaluated, tmp_path / "report", SMALL)
    text = shown((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    assert '<div class="value">0.612</div>' in text
    assert "best single other model: age, 0.612 [0.500, 0.700]" in text
    assert "student was not evaluated on every data set" in text


def test_a_single_model_has_no_rival(tmp_path: Path) -> None:
    evaluated = write_evaluation(tmp_path / "evaluate", rivals=[])
    write_report(evaluated, tmp_path / "report", ReportContext("single"))
    assert "There is no other model to compare the student with." in (tmp_path / "report" / "index.html").read_text()


def test_an_unfinished_evaluation_is_refused(tmp_path: Path) -> None:
    evaluated = write_evaluation(tmp_path / "evaluate")
    (evaluated / "manifest.json").unlink()
    with pytest.raises(DataError, match="run the stage that makes it first"):
        write_report(evaluated, tmp_path / "report", SMALL)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("line", "problem"), [("[1]", "line 1: not a JSON object .it is a list."), ("{", "line 1: not")]
)
def test_a_damaged_file_is_named(tmp_path: Path, line: str, problem: str) -> None:
    evaluated = write_evaluation(tmp_path / "evaluate")
    (evaluated / "cards.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=f"cards.jsonl.*{problem}"):
        write_report(evaluated, tmp_path / "report", SMALL)


def test_of_many_figures_some_are_folded_and_the_rest_is_left_out() -> None:
    plot = Plot(Axis(0, 1), Axis(0, 1), 10)
    parts: Any = environment().get_template("report.html").module
    text = str(parts.detail(Detail("Confusion matrix", "", [Figure(f"f{n}", plot, "x") for n in range(30)])))
    assert text.count(FIGURE) == 24
    assert text.split("<details>")[0].count(FIGURE) == 6
    assert "18 more data sets" in text
    assert "6 more are not drawn" in text


def test_one_thing_has_no_plural() -> None:
    assert [counted(number, "task") for number in (0, 1, 1200)] == ["0 tasks", "1 task", "1,200 tasks"]
