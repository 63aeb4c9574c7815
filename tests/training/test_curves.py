"""Every training below a folder is found and drawn; nothing that matters is lost by thinning."""

import html
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkd.folders.stage import Stage, complete, digest_of
from mmkd.report.training_page import PAGE, write_curves
from mmkd.training.records.curves import (
    MEASURES,
    find_metrics,
    have_written_since_page,
    loss_names,
    points,
    thinned,
    validation_names,
)
from mmkd.training.records.metrics_log import METRICS


def write(folder: Path, *records: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    (folder / METRICS).write_text("".join(json.dumps(record) + "\n" for record in records))


RECORD = {"step": 20, "lr": 0.1, "loss": 2.0, "contrastive": 1.5, "affinity": 0.5, "grad_norm": 3.0, "wait": 0.1}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    write(tmp_path / "mine" / "pretrain", RECORD, {**RECORD, "step": 40, "loss": None, "val_percentile": 0.75})
    write(tmp_path / "mine" / "rivals" / "mmkd", {**RECORD, "interactive": 4.0})
    write(tmp_path / "mine" / "distill", {**RECORD, "loss": 9.0})
    write(tmp_path / "mine" / "distill.partial", RECORD)
    write(tmp_path / "mine" / "specialists" / "<eye>", RECORD)
    return tmp_path / "mine"


def test_every_training_is_found_and_one_that_goes_on_replaces_the_finished_one(out: Path) -> None:
    found = find_metrics(out)
    assert list(found) == ["distill", "rivals/mmkd", "pretrain", "specialists/<eye>"]
    assert found["distill"] == out / "distill.partial" / METRICS


def test_whatever_is_no_measure_and_no_validation_is_a_loss() -> None:
    records = [{**{name: 1.0 for name, _, _ in MEASURES}, **RECORD}, {"step": 40, "val_percentile": 0.7, "heads": None}]
    assert loss_names(records) == ["contrastive", "affinity", "heads"]
    assert validation_names(records) == ["val_percentile"]


def test_points_leave_out_what_is_not_finite_or_not_there() -> None:
    records = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}, {"step": 3}, {"step": 4, "loss": 0.0}]
    assert points(records, "loss") == [(1, 0.5), (4, 0.0)]


@given(st.lists(st.floats(-1e6, 1e6), max_size=300), st.integers(1, 40).map(lambda half: 2 * half))
def test_thinning_keeps_order_and_extremes_and_invents_nothing(values: list[float], most: int) -> None:
    found = list(enumerate(values))
    kept = thinned(found, most)
    assert len(kept) <= most
    assert kept == sorted(set(kept))
    assert set(kept) <= set(found)
    if values:
        assert {min(values), max(values)} <= {value for _, value in kept}
    assert len(values) > most or kept == found


def drawn(page: str) -> dict[str, dict[str, tuple[str, str]]]:
    """Figure -> name of each training in it -> its colour and what its curve says."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for figure, inside in re.findall(r'<svg id="([^"]+)"(.*?)</figure>', page, re.DOTALL):
        curves = re.findall(r'<path class="c-(\w+)[^>]*><title>(.*?): (.*?)</title>', inside)
        found[figure] = {html.unescape(name): (colour, says) for colour, name, says in curves}
    return found


def test_the_page_draws_every_value_of_every_training_in_one_colour(out: Path) -> None:
    path = write_curves(out)
    assert path == out / PAGE
    page = path.read_text()
    found = drawn(page)
    expected = {"loss", "value-lr", "value-grad_norm", "value-wait", "value-val_percentile"}
    assert set(found) == expected | {f"value-{loss}" for loss in ("contrastive", "affinity", "interactive")}
    assert list(found["loss"]) == ["distill", "rivals/mmkd", "pretrain", "specialists/<eye>"]
    assert {says for _, says in found["loss"].values()} == {"2 at step 20; 2 to 2"}
    assert len({colour for colour, _ in found["loss"].values()}) == 4
    assert found["value-interactive"] == {"rivals/mmkd": (found["loss"]["rivals/mmkd"][0], "4 at step 20; 4 to 4")}
    assert "<eye>" not in page
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_equal_records_make_equal_pages_and_none_make_none(out: Path, tmp_path: Path) -> None:
    write_curves(out)
    before = (out / PAGE).read_bytes()
    write_curves(out)
    assert (out / PAGE).read_bytes() == before
    assert write_curves(tmp_path / "nowhere") is None
    (tmp_path / "empty").mkdir()
    assert write_curves(tmp_path / "empty") is None
    assert list((tmp_path / "empty").iterdir()) == []


def test_the_page_is_made_anew_when_a_training_has_written(out: Path) -> None:
    assert have_written_since_page(out)
    write_curves(out)
    page = out / PAGE
    assert not have_written_since_page(out)
    os.utime(out / "pretrain" / METRICS, ns=(0, page.stat().st_mtime_ns + 1))
    assert have_written_since_page(out)


def test_curves_change_no_stage(tmp_path: Path) -> None:
    stage = Stage("student", tmp_path / "distill", {}, {}, ("*.safetensors",))

    def body(folder: Path) -> dict[str, int]:
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / METRICS).write_text(json.dumps(RECORD) + "\n")
        return {}

    complete(stage, body)
    before = digest_of(stage.folder)
    write_curves(tmp_path)
    assert complete(stage, body)["digest"] == before
