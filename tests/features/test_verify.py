"""Stored vectors name the variant that made them, and no other; whatever is missing or unreadable is named."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from tiny_reference import CAPTIONS, IMAGES, write_reference
from tiny_zoo import open_clips_vectors, save_weights, tiny_entry, tiny_network, use_zoo
from typer.testing import CliRunner

from mmkd.cli import app
from mmkd.errors import ConfigError, DataError
from mmkd.features.verify import TeacherVerdict, verify_reference
from mmkd.teachers.zoo.entry import ZooEntry
from tolerance import assert_rounding

CPU = torch.device("cpu")
ENTRIES = {
    "tiny": tiny_entry(),
    "lone": tiny_entry("lone", variants={}, default="", default_reason=""),
    "unknown-there": tiny_entry("unknown-there", reference=""),
}


@pytest.fixture(autouse=True)
def nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Weights of both teachers; stored vectors of tiny's variant `quick`, and of lone, which two records lack."""
    quick, lone = tiny_network(1, quick=True), tiny_network(2)
    save_weights(quick, tmp_path / "weights" / "tiny")
    save_weights(lone, tmp_path / "weights" / "lone")
    vectors = {name: open_clips_vectors(net, IMAGES, CAPTIONS) for name, net in (("TINY", quick), ("LONE", lone))}
    write_reference(tmp_path / "data", vectors, {"LONE": {0, 2}})
    return tmp_path


def verify(world: Path, *names: str, entries: Mapping[str, ZooEntry] = ENTRIES, **more: Any) -> list[TeacherVerdict]:
    more = {"weights_root": world / "weights"} | more
    return list(verify_reference(world / "data", entries, names, CPU, **more))


def test_exactly_the_variant_that_made_the_vectors_fits(world: Path) -> None:
    (found,) = verify(world, "tiny")
    plain, quick = found.variants
    assert (plain.variant, plain.verdict) == ("plain", "does not fit")
    assert (quick.variant, quick.verdict) == ("quick", "fits")
    assert plain.agreement
    assert min(plain.agreement.image_N) < 0.999
    assert quick.agreement
    assert_rounding(quick.agreement.image_N + quick.agreement.text_N, 1.0, dtype=np.float32)
    assert found.summary == 'Tiny: variant quick fits; the default is plain: set variant = "quick" in the recipe'
    assert (found.records, found.without, found.fits) == (4, 0, True)


def test_the_default_variant_needs_no_setting(world: Path, tmp_path: Path) -> None:
    network = tiny_network(1)
    write_reference(tmp_path / "other" / "data", {"TINY": open_clips_vectors(network, IMAGES, CAPTIONS)}, {})
    (found,) = verify(tmp_path / "other", "tiny", weights_root=world / "weights")
    assert found.summary == "Tiny: variant plain fits"


def test_without_names_all_that_may_be_stored_are_compared(world: Path) -> None:
    tiny, lone = verify(world)
    assert (tiny.teacher, lone.teacher) == ("tiny", "lone")
    assert lone.summary == "Lone: fits"
    assert (lone.records, lone.without) == (2, 2)
    assert [one.variant for one in lone.variants] == [""]


def test_other_weights_fit_nowhere(world: Path) -> None:
    save_weights(tiny_network(7), world / "weights" / "tiny")
    (found,) = verify(world, "tiny")
    assert found.summary == "Tiny: none of the variants fits"
    assert not found.fits
    assert [one.verdict for one in found.variants] == ["does not fit"] * 2


def test_of_several_that_fit_the_nearest_is_named_first(world: Path) -> None:
    """Two variants that differ by less than the threshold: means that are off by a little."""
    near = {"reason": "", "set": {"preprocess": {"mean": [0.52, 0.4, 0.3]}}}
    quick = {"config": {"quick_gelu": True}}
    variants = {"near": near | {"set": near["set"] | quick}, "quick": {"reason": "", "set": quick}}
    (found,) = verify(world, "tiny", entries={"tiny": tiny_entry(variants=variants)})
    assert found.fitting == ["quick", "near"]
    assert found.summary.startswith("Tiny: variants quick, near fit, quick best; the default is plain")


def test_one_side_that_differs_is_enough_to_fail(world: Path) -> None:
    network = tiny_network(1, quick=True)
    with torch.no_grad():
        network.text_projection.copy_(tiny_network(7).text_projection)
    save_weights(network, world / "weights" / "tiny")
    (found,) = verify(world, "tiny")
    quick = found.variants[1]
    assert quick.verdict == "does not fit"
    assert quick.agreement
    assert min(quick.agreement.image_N) > 0.999 > min(quick.agreement.text_N)


def test_variants_may_have_folders_of_their_own(world: Path) -> None:
    (world / "weights" / "tiny").rename(world / "weights" / "moved")
    (world / "weights" / "tiny").mkdir()
    (world / "weights" / "moved").rename(world / "weights" / "tiny" / "quick")
    (found,) = verify(world, "tiny")
    assert [one.verdict for one in found.variants] == ["weights missing", "fits"]
    assert found.variants[0].message == f"looked in {world / 'weights' / 'tiny'}"


def test_weights_are_found_in_the_environments_folder(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (missing,) = verify(world, "lone", weights_root=None)
    assert missing.summary == "Lone: weights missing"
    assert missing.variants[0].message == "looked in $MMKD_TEACHERS/lone (not set), hf.co/lab/lone"
    monkeypatch.setenv("MMKD_TEACHERS", str(world / "weights"))
    (found,) = verify(world, "lone", weights_root=None)
    assert found.fits


def test_weights_in_the_hubs_cache_are_found_with_their_commit(world: Path) -> None:
    commit = "c0ffee" + "0" * 34
    home = Path(constants.HF_HUB_CACHE) / "models--lab--lone"
    save_weights(tiny_network(2), home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    (found,) = verify(world, "lone", weights_root=None)
    assert found.fits
    assert found.variants[0].revision == commit


def test_weights_of_another_shape_do_not_load(world: Path) -> None:
    save_weights(tiny_network(1, dim=8), world / "weights" / "tiny")
    (found,) = verify(world, "tiny")
    assert [one.verdict for one in found.variants] == ["does not load"] * 2
    assert "have another shape" in found.variants[0].message
    assert not found.fits


def test_vectors_of_another_length_do_not_fit(world: Path) -> None:
    small = ENTRIES["lone"].model_dump() | {"dim": 8, "config": {**ENTRIES["lone"].config, "embed_dim": 8}}
    save_weights(tiny_network(2, dim=8), world / "weights" / "lone")
    (found,) = verify(world, "lone", entries={"lone": ZooEntry(**small)})
    assert found.summary == "Lone: does not fit"
    assert "found vectors (2, 8), stored (2, 16)" in found.variants[0].message


def test_only_the_first_records_are_compared(world: Path) -> None:
    (found,) = verify(world, "tiny", limit=3)
    assert (found.records, found.without) == (3, 0)
    assert found.variants[1].agreement
    assert len(found.variants[1].agreement.image_N) == 3


def test_a_teacher_that_no_record_has_is_said_to_be_absent(world: Path) -> None:
    (found,) = verify(world, "gone", entries={"gone": tiny_entry("gone")})
    assert found.summary == "Gone: no record has vectors of GONE"
    assert (found.records, found.without, found.fits) == (0, 4, False)


@pytest.mark.parametrize(
    ("name", "message"),
    [("tinny", "is not in the zoo; did you mean 'tiny'"), ("unknown-there", "has no vectors in the public data")],
)
def test_names_without_stored_vectors_are_refused(name: str, message: str, world: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        verify(world, name)


def test_every_record_that_cannot_be_read_is_named(world: Path) -> None:
    features = world / "data" / "features"
    (features / "r0" / "figure.png").write_bytes(b"no image")
    (features / "r1" / "clips_output.pt").write_bytes(b"no tensors")
    (features / "r3" / "figure.png").unlink()
    lines = (world / "data" / "meta.jsonl").read_text().splitlines()
    row = json.loads(lines[2])
    del row["txt"]
    lines[2] = json.dumps(row)
    (world / "data" / "meta.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError) as caught:
        verify(world, "tiny")
    assert "4 records cannot be read" in str(caught.value)
    for part in (
        "r0: .*image cannot be decoded",
        "r1: .*not loadable",
        "r2: no caption",
        "r3: .*figure.png: no such file",
    ):
        assert sum(bool(re.search(part, line)) for line in str(caught.value).splitlines()) == 1, (
            part
        )  # a line of its own


@pytest.mark.parametrize("change", ["missing", "not finite", "matrix", "length"])
def test_stored_vectors_that_are_none_are_named(change: str, world: Path) -> None:
    path = world / "data" / "features" / "r1" / "clips_output.pt"
    stored = torch.load(path, weights_only=True)
    vector = stored.pop("TINY_txt")
    changed = {"not finite": vector * torch.nan, "matrix": vector[None], "length": vector[:-1]}
    torch.save(stored | ({} if change == "missing" else {"TINY_txt": changed[change]}), path)
    message = r"TINY_txt: records have \[15, 16\] dim" if change == "length" else "r1: .*no finite vector TINY_txt"
    with pytest.raises(DataError, match=message):
        verify(world, "tiny")


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match=r"no meta\.jsonl found"):
        verify(tmp_path)
    (tmp_path / "data" / "meta.jsonl").write_text('{"image": 1}\n')
    with pytest.raises(DataError, match="no usable record"):
        verify(tmp_path)


def test_the_command_prints_the_verdict_and_its_exit_code_says_it(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_zoo(monkeypatch, *ENTRIES.values())
    command = ["teachers", "verify-reference", str(world / "data"), "--weights-root", str(world / "weights")]
    done = CliRunner().invoke(app, [*command, "tiny"])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Tiny: variant quick fits;")
    assert lines[0].endswith("(4 records to compare, 0 without it)")
    assert lines[1].split()[:3] == ["plain", "does", "not"]
    assert lines[2].split()[:5] == ["quick", "fits:", "image", "cosine", "min"]
    assert lines[2].count("1.00000") == 4
    rows = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert [(row["teacher"], row["fits"]) for row in rows] == [("tiny", True), ("lone", True)]
    assert len(rows[1]["variants"][0]["agreement"]["text"]["cosines"]) == 2
    save_weights(tiny_network(7), world / "weights" / "lone")
    assert CliRunner().invoke(app, command).exit_code == 2


def test_the_real_records_are_read_and_the_weights_missed(realdata: Path, tmp_path: Path) -> None:
    data = realdata / "embeddings" / "MMKDCLIP_DATA"
    done = CliRunner().invoke(
        app, ["teachers", "verify-reference", str(data), "--weights-root", str(tmp_path), "--json"]
    )
    assert done.exit_code == 2
    rows = {row["teacher"]: row for row in json.loads(done.stdout)}
    assert {name: rows[name]["records"] for name in ("biomedclip", "pmc-clip")} == {"biomedclip": 8, "pmc-clip": 1}
    assert rows["pmc-clip"]["without"] == 7
    assert {one["verdict"] for row in rows.values() for one in row["variants"]} == {"weights missing"}
