"""Predictions as Parquet."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from mmkd.evaluation.format.predictions import (
    Predicted,
    PredictionFacts,
    predictions_path,
    read_predictions,
    write_predictions,
)


def test_scores_are_written_plainly_and_read_as_they_were(tmp_path: Path) -> None:
    facts = PredictionFacts("m", "set", "ct", "zero_shot")
    score_N = np.linspace(-1, 1, 50, dtype=np.float32)
    columns = {"label": np.arange(50, dtype=np.int32) % 3, "score:T1.5, left": score_N, "score:b": score_N[::-1].copy()}
    write_predictions(tmp_path, facts, Predicted([str(n) for n in range(50)], ["g"] * 50, columns))
    found = read_predictions(predictions_path(tmp_path, facts))
    for name, value_N in columns.items():
        assert found.columns[name].dtype == value_N.dtype
        np.testing.assert_array_equal(found.columns[name], value_N)
    stored = pq.read_metadata(predictions_path(tmp_path, facts)).row_group(0)
    kinds = {stored.column(i).path_in_schema: stored.column(i) for i in range(stored.num_columns)}
    assert "RLE_DICTIONARY" in kinds["group"].encodings
    assert not any("RLE_DICTIONARY" in kinds[name].encodings for name in columns if name != "label")
    assert not kinds["score:T1.5, left"].is_stats_set
