"""A plan counts bytes and operations as they are, needs no weights, and is printed before any work."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from mmkd.corpus.schema import Corpus
from mmkd.features.plan import ExtractionPlan, TeacherPlan, pair_bytes, plan_extraction
from mmkd.pipeline.recipe import load_recipe
from mmkd.teachers.zoo.entry import zoo_entry
from mmkd.teachers.zoo.settings import ExtractSettings, TeacherSpec

CPU = torch.device("cpu")
RECIPE = Path(__file__).parents[2] / "recipes" / "mmkd-b16.toml"


def test_bytes_are_those_of_the_files(tiny_corpus: Path, tiny_features: Path, tiny_teachers: list[TeacherSpec]) -> None:
    corpus = Corpus(tiny_corpus)
    plan = plan_extraction(tiny_teachers, ExtractSettings(), len(corpus), CPU, corpus)
    for teacher in plan.teachers:
        stored = sum(
            batch.nbytes for path in (tiny_features / teacher.name).glob("data-*.arrow") for batch in _batches(path)
        )
        assert teacher.bytes * len(corpus) == pytest.approx(stored, rel=0.03)


def _batches(path: Path) -> list[pa.RecordBatch]:
    with pa.memory_map(str(path)) as source:
        return list(pa.ipc.open_stream(source))


def test_operations_are_counted_by_hand(tiny_teachers: list[TeacherSpec]) -> None:
    """The tiny teacher: one layer of width 32, 5 tokens an image, 16 a text, 8 dimensions."""

    def layer(tokens: int, heads: int) -> int:
        attention = 2 * 2 * heads * tokens * tokens * (32 // heads)
        return 2 * tokens * 32 * (3 * 32 + 32 + 2 * 128) + attention

    image = 2 * 4 * (3 * 16 * 16) * 32 + layer(5, 2) + 2 * 32 * 8
    text = layer(16, 2) + 2 * 32 * 8
    teacher = plan_extraction(tiny_teachers[:1], ExtractSettings(), 1, CPU).teachers[0]
    assert teacher.gflop * 1e9 == pytest.approx(image + text, rel=1e-6)


def test_a_zoo_teacher_is_planned_without_its_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMKD_TEACHERS", str(tmp_path))
    plan = plan_extraction([TeacherSpec.model_validate("plip")], ExtractSettings(), 1000, CPU)
    assert plan.teachers[0].dim == 512
    assert plan.teachers[0].weights.startswith("missing: teacher 'plip': weights not found")
    assert 13.0 < plan.teachers[0].gflop < 16.0  # ViT-B/32: 8.7 for an image, 5.2 for a text of 64 tokens
    assert plan.teachers[0].seconds > 0


def test_the_nine_teachers_of_the_published_recipe_need_25_kb_a_pair_at_most() -> None:
    """Seven of 512 dimensions and two of 768, in float16: 20,480 bytes of vectors."""
    specs = load_recipe(RECIPE, Path("runs"), []).teachers
    dims = [zoo_entry(spec.model, spec.variant).dim or 0 for spec in specs]
    assert (len(dims), sum(4 * dim for dim in dims)) == (9, 20_480)
    assert 20_480 < sum(pair_bytes(dim) for dim in dims) <= 25_000


def test_totals_are_sums_over_teachers_times_rows() -> None:
    one = TeacherPlan("a", 8, "found", gflop=1.0, seconds=0.5, bytes=100.0)
    found = ExtractionPlan(10, "cpu", [one, one]).to_json()
    assert found["per_pair"] == {"gflop": 2.0, "seconds": 1.0, "bytes": 200.0}
    assert found["all_pairs"] == {"gflop": 20.0, "seconds": 10.0, "bytes": 2000.0}
    assert json.dumps(found)
