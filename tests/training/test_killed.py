"""kill -9 where it hurts most: half of a file written, one of two files written, in the middle of a validation;
and at any moment of a step."""

from pathlib import Path

import pytest

from deaths import assert_same, live_through
from mmkd.training.records.metrics_log import read_metrics

DEATHS = [
    ("record", (2, 0.01)),
    ("draft", "step-00000003.safetensors"),
    ("draft", "step-00000003.json"),
    ("validation", 1),
    ("draft", "best-00000004.safetensors"),
    ("draft", "best-00000004.json"),
    ("record", (1, 0.002)),
    ("record", (2, 0.015)),
    ("draft", "step-00000009.json"),
    ("validation", 1),
    ("draft", "open_clip_model.safetensors"),
    ("draft", "open_clip_config.json"),
    ("draft", "manifest.json"),
]


@pytest.mark.slow
def test_a_training_that_is_killed_while_it_steps_saves_or_validates_ends_the_same(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    settings = {
        "epochs": 2, "batch_size": 16, "lr": 1e-3, "log_every": 1, "ema": 0.5,
        "checkpoint_every": 3, "validate_every": 4, "select": "best",
    }  # fmt: skip
    whole, cut = live_through({"stage": "train", "corpus": tiny_corpus, "settings": settings}, DEATHS, tmp_path)
    assert_same(whole, cut)
    known = [
        [
            (record["step"], record["loss"], record.get("val_percentile"))
            for record in read_metrics(one / "metrics.jsonl")
        ]
        for one in (whole, cut)
    ]
    assert known[0] == known[1]
    assert [step for step, *_ in known[1]] == list(range(1, 13))
