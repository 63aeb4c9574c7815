"""The counted FLOPs against a count by hand, and what a record says of steps of known length."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmkd.distributed import ALONE
from mmkd.settings import Machine
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import OpenClipModel, architecture
from mmkd.training import throughput
from mmkd.training.batches import PairBatch
from mmkd.training.engine import Engine
from mmkd.training.throughput import PEAK_TFLOPS, Throughput, forward_tflop, peak_tflops
from mmkd.training.towers import StudentTowers
from tiny import tiny_config

WIDTH, TEXT_WIDTH, DIM, PATCHES, PATCH = 32, 32, 16, 4, 16


@pytest.fixture
def model() -> OpenClipModel:
    return build_student(StudentSettings(config=tiny_config()), 0)


def block_flop(length: int, width: int) -> int:
    """Of a transformer block on one sequence: four projections, a feed-forward of 4 x width, scores and their use."""
    return 2 * length * width * width * (4 + 8) + 2 * 2 * length * length * width


def image_flop() -> int:
    embedding = 2 * PATCHES * (3 * PATCH * PATCH) * WIDTH
    return embedding + block_flop(PATCHES + 1, WIDTH) + 2 * WIDTH * DIM


def text_flop(length: int) -> int:
    return block_flop(length, TEXT_WIDTH) + 2 * TEXT_WIDTH * DIM


def batch(lengths: list[int]) -> PairBatch:
    count = len(lengths)
    nothing: Any = torch.zeros(count)
    token_BL = torch.zeros(count, 16, dtype=torch.long)
    return PairBatch(np.arange(count), nothing, token_BL, np.array(lengths), nothing, nothing, nothing, None)


def meter(model: OpenClipModel, buckets: int = 2, passes: int = 3, **machine: Any) -> Throughput:
    engine = Engine(
        StudentTowers(model.network, buckets), Machine(device="cpu", **machine), torch.device("cpu"), ALONE, False
    )
    return Throughput(engine, model, 6, passes)


def test_operations_are_those_counted_by_hand(model: OpenClipModel) -> None:
    found = forward_tflop(model, [8, 16])
    assert found is not None
    image, text = found
    assert image * 1e12 == pytest.approx(image_flop(), rel=1e-6)
    assert {width: count * 1e12 for width, count in text.items()} == {
        width: pytest.approx(text_flop(width), rel=1e-6) for width in (8, 16)
    }


def test_a_record_is_made_of_known_steps_and_seconds(model: OpenClipModel, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now[0])
    counted = meter(model, tflops=1e-6)
    for step in range(3):
        counted.add(batch([3, 8, 2, 16, 12, 9]), waited=0.5 * (step + 1))  # widths 8, 8, 8 and 16, 16, 16
    now[0] += 4.0
    found = counted.record()
    tflop = 3 * 3 * (6 * image_flop() + 3 * text_flop(8) + 3 * text_flop(16)) / 1e12
    assert found == {
        "pairs_per_s": pytest.approx(18 / 4),
        "wait": pytest.approx(1.5 / 4),
        "tflops": pytest.approx(tflop / 4),
        "mfu": pytest.approx(tflop / 4 / 1e-6),
        "memory_gb": found["memory_gb"],
    }
    assert 0.1 < found["memory_gb"] < 1000
    counted.add(batch([16] * 6), waited=1.6)
    now[0] += 2.0
    again = counted.record()
    assert again["pairs_per_s"] == pytest.approx(3)
    assert again["wait"] == pytest.approx(0.05)
    assert again["tflops"] == pytest.approx(3 * 6 * (image_flop() + text_flop(16)) / 1e12 / 2)


def test_an_average_that_teaches_is_one_more_pass(model: OpenClipModel, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now[0])
    counted = meter(model, passes=4)
    counted.add(batch([16] * 6), waited=0.0)
    now[0] += 2.0
    assert counted.record()["tflops"] == pytest.approx(4 * 6 * (image_flop() + text_flop(16)) / 1e12 / 2)


def test_parts_of_a_batch_have_groups_of_their_own(model: OpenClipModel) -> None:
    whole, parts = meter(model), meter(model, micro_batch=3)
    for one in (whole, parts):
        one.add(batch([3, 3, 16, 3, 3, 16]), 0.0)
    assert dict(whole._widths) == {8: 3, 16: 3}
    assert dict(parts._widths) == {8: 4, 16: 2}


def test_what_is_no_training_does_not_count(model: OpenClipModel, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now[0])
    counted = meter(model)
    now[0] += 50.0
    counted.restart()
    counted.add(batch([4] * 6), 0.0)
    now[0] += 1.0
    assert counted.record()["pairs_per_s"] == pytest.approx(6)


def test_without_a_known_peak_there_is_no_share_of_it(model: OpenClipModel) -> None:
    counted = meter(model)
    counted.add(batch([4] * 6), 0.0)
    assert set(counted.record()) == {"pairs_per_s", "wait", "tflops", "memory_gb"}


def test_towers_that_cannot_be_counted_are_said_once(
    model: OpenClipModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(throughput, "_pair", lambda *_: torch.zeros(3).nonzero())  # as many rows as there are values
    counted = meter(model)
    for _ in range(3):
        counted.add(batch([4] * 6), 0.0)
        assert set(counted.record()) == {"pairs_per_s", "wait", "memory_gb"}
    assert capsys.readouterr().out.count("cannot be counted (aten.nonzero") == 1


@pytest.mark.parametrize("name", ["ViT-B-16-SigLIP", "RN50"])
def test_towers_of_other_makes_are_counted_too(name: str) -> None:
    config, nothing = architecture(name), torch.nn.Identity()
    size = config["vision_cfg"].get("image_size", 224)
    found = forward_tflop(OpenClipModel(nothing, lambda texts: torch.zeros(0), config, {"size": size}), [64])
    assert found is not None
    assert 0.005 < found[0] < 0.05
    assert found[1][64] > 0.004


def test_a_bert_is_counted_without_its_weights(tmp_path: Path) -> None:
    from transformers import BertConfig

    BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=128
    ).save_pretrained(tmp_path)
    text = {"hf_model_name": str(tmp_path), "hf_tokenizer_name": str(tmp_path), "context_length": 16}
    config: dict[str, Any] = {**tiny_config(), "text_cfg": {**text, "hf_pooler_type": "cls_last_hidden_state_pooler"}}
    network: Any = torch.nn.Identity()
    preprocess = build_student(StudentSettings(config=tiny_config()), 0).preprocess
    found = forward_tflop(OpenClipModel(network, lambda texts: torch.zeros(0), config, preprocess), [8])
    assert found is not None
    hidden = (32 + DIM) // 2
    assert found[1][8] * 1e12 == pytest.approx(block_flop(8, 32) + 2 * 32 * hidden + 2 * hidden * DIM, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10", 125),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA GeForce RTX 4090", 165),
        ("Quadro P400", None),
    ],
)
def test_peaks_are_found_by_the_names_of_devices(name: str, expected: float | None) -> None:
    assert peak_tflops(name) == expected


def test_each_peak_is_found_by_its_own_name() -> None:
    assert {name: peak_tflops(f"NVIDIA {name}") for name in PEAK_TFLOPS} == dict(PEAK_TFLOPS)
