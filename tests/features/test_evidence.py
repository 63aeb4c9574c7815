"""The stage `evidence`: votes beside the corpus, trusted as far as they were right, the same after any kill."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from deaths import assert_same, live_through
from mmkd.cli import main
from mmkd.commands.options import open_run
from mmkd.curation.modality.votes import NAMED, SOURCE_TRUST, Vote, weigh
from mmkd.errors import ConfigError, DataError
from mmkd.features.evidence.corpus_votes import corpus_votes
from mmkd.features.evidence.evidence import evidence
from mmkd.features.evidence.settings import EvidenceSettings, NearDuplicateSettings
from mmkd.features.evidence.stored import FACTS_FILE, ROWS_FILE, SCHEMA, StoredEvidence
from mmkd.folders.stage import Stage, complete, content_digest, digest_of, read_manifest
from mmkd.pipeline.table import STAGES
from mmkd.report.evidence import PAGE
from seen_world import RECIPE, SHOWN, SeenWorld, make_seen_world
from tiny import MACHINE

SETTINGS = EvidenceSettings()


def made(world: SeenWorld, *teachers: str, settings: EvidenceSettings = SETTINGS) -> StoredEvidence:
    corpus, features = world.folder / "corpus", world.folder / "features"
    stage = Stage(
        "evidence", world.folder / "evidence", settings.model_dump(mode="json"), {"corpus": digest_of(corpus)}
    )
    complete(stage, lambda folder: evidence(settings, corpus, features, teachers, folder, MACHINE), force=True)
    return StoredEvidence(stage.folder, corpus)


@pytest.fixture
def world(tmp_path: Path) -> SeenWorld:
    """Row 13 is stated to be an MRI and is; row 14 is stated and captioned as CT and shows an ultrasound image."""
    return make_seen_world(
        tmp_path,
        caption={14: "Axial CT number 14"},
        modality_stated={13: "MRI", 14: "Computed tomography"},
    )


def test_a_lone_teacher_that_was_always_right_is_not_certain(world: SeenWorld) -> None:
    world.add("sharp", 1.0, seed=1)
    found = made(world, "sharp")
    confidence_N = found.column("image_confidence")
    assert (confidence_N > 0.9).all()
    assert (confidence_N <= NAMED).all()
    expected = np.array(SHOWN)[world.truth_N]
    assert (found.column("image_modality") == expected).all()
    assert found.facts["teachers"][0]["accuracy"] > 0.98


def test_a_row_that_nobody_names_has_the_teachers_verdict(world: SeenWorld) -> None:
    world.add("sharp", 1.0, seed=1)
    row = made(world, "sharp").row("pair 1")
    assert (row["modality"], row["modality_evidence"], row["disputed"]) == ("mri", "image", False)
    assert row["image_confidence"] > 0.9
    alone = weigh({"image": Vote("mri", row["image_confidence"])})
    assert row["modality_confidence"] == pytest.approx(alone.confidence, rel=1e-6)


def test_a_plot_is_other_or_silent(world: SeenWorld) -> None:
    world.add("sharp", 1.0, seed=1)
    plots_N = world.truth_N == SHOWN.index("other")
    silent_N = np.arange(240) // 4 % 4 == 0
    assert (made(world, "sharp").column("image_modality")[plots_N & silent_N] == "other").all()
    few = made(world, "sharp", settings=EvidenceSettings(min_rows=60))  # no modality has so many votes
    assert (few.column("image_modality") == "").all()


def test_a_conflict_appears(world: SeenWorld) -> None:
    world.add("sharp", 1.0, seed=1)
    found = made(world, "sharp")
    row = found.row("pair 14")
    assert (row["modality"], row["modality_evidence"], row["disputed"]) == ("ct", "source+caption+!image", True)
    image = Vote("ultrasound", row["image_confidence"])
    expected = weigh({"source": Vote("ct", SOURCE_TRUST), "caption": Vote("ct", NAMED), "image": image})
    assert row["modality_confidence"] == pytest.approx(expected.confidence, rel=1e-4)
    assert found.facts["conflicts"] == [
        {
            "id": "pair 14",
            "row": 14,
            "said": {"source": "ct", "caption": "ct", "image": "ultrasound"},
            "trust": {"source": SOURCE_TRUST, "caption": NAMED, "image": pytest.approx(row["image_confidence"])},
            "verdict": "ct",
            "confidence": pytest.approx(row["modality_confidence"], abs=1e-6),
        }
    ]
    assert found.facts["disputed"] == found.column("disputed").sum() == 1
    agreement = {(one["one"], one["other"]): one for one in found.facts["agreement"]}
    assert found.facts["spoken"] == {"source": 2, "caption": 135, "image": 240}  # plots' captions name no modality
    assert agreement["caption", "image"]["share"] == pytest.approx(134 / 135)
    assert (agreement["image", "source"]["records"], agreement["image", "source"]["share"]) == (2, 0.5)


def test_a_guesser_says_nothing(world: SeenWorld) -> None:
    world.add("guesser", 0.0, seed=2)
    found = made(world, "guesser")
    assert (found.column("image_modality") == "").all()
    assert (found.column("image_confidence") == 0).all()
    assert not any(cell["speaks"] for cell in found.facts["trust"])


def test_the_corpus_is_not_touched(world: SeenWorld) -> None:
    world.add("sharp", 1.0, seed=1)
    before = content_digest(world.folder / "corpus", ("**/*",)), world.corpus.digest
    found = made(world, "sharp")
    assert (content_digest(world.folder / "corpus", ("**/*",)), world.corpus.digest) == before
    assert found.column("id").tolist() == world.corpus.column("id")
    assert pq.read_schema(world.folder / "evidence" / ROWS_FILE).equals(SCHEMA)


def test_evidence_on_another_corpus_is_refused(world: SeenWorld, tmp_path: Path) -> None:
    world.add("sharp", 1.0, seed=1)
    made(world, "sharp")
    other = make_seen_world(tmp_path / "other")
    with pytest.raises(DataError, match="evidence on another corpus"):
        StoredEvidence(world.folder / "evidence", other.folder / "corpus")


@pytest.mark.slow
def test_killed_and_resumed_it_has_the_same_bytes(world: SeenWorld, tmp_path: Path) -> None:
    world.add("sharp", 1.0, seed=1)
    world.add("dim", 0.3, seed=2)
    job = {
        "stage": "evidence",
        "settings": {"near_duplicates": {"teacher": "dim", "cosine": 0.9}},
        "world": str(world.folder),
    }
    deaths = [("draft", ROWS_FILE), ("draft", FACTS_FILE), ("draft", PAGE), ("draft", "manifest.json")]
    whole, cut = live_through({**job, "teachers": ["sharp", "dim"]}, deaths, tmp_path)
    assert_same(whole, cut)
    assert (whole / ROWS_FILE).read_bytes() == (cut / ROWS_FILE).read_bytes()
    assert json.loads((cut / FACTS_FILE).read_text())["teachers"]


def test_the_command_votes_once_and_shows_what_it_found(
    world: SeenWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add("sharp", 1.0, seed=1)
    (tmp_path / "mine.toml").write_text(RECIPE)

    def mmkd(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["mmkd", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code
        return capsys.readouterr().out

    asked = ("evidence", str(tmp_path / "mine.toml"), "--out", str(world.folder))
    told = mmkd(*asked)
    assert "pair 14 source: ct, caption: ct, image: ultrasound" in told
    assert "1 pairs with contradicting evidence" in told
    page = world.folder / "evidence" / PAGE
    assert f"with pictures: {page}" in told.splitlines()
    assert "pair 14" in page.read_text()
    kept = content_digest(page.parent, (ROWS_FILE, FACTS_FILE))
    assert read_manifest(page.parent)["digest"] == kept  # another look of the page changes nothing that is made from it
    again = mmkd(*asked, "--list", "0", "--json")
    assert "is complete, skipped" in again
    facts = json.loads((world.folder / "evidence" / FACTS_FILE).read_text())
    assert json.loads(again[again.index("{") :]) == facts
    beside = ("--evidence", str(world.folder / "evidence"), "--json")
    shown = json.loads(mmkd("corpus", "show", str(world.folder / "corpus"), "pair 14", *beside))
    assert shown["evidence"]["modality_evidence"] == "source+caption+!image"
    counts = json.loads(mmkd("corpus", "stats", str(world.folder / "corpus"), *beside))["evidence"]
    assert (counts["disputed"], counts["near_duplicates"], sum(counts["image_modality"].values())) == (1, 0, 240)


def test_a_run_votes_only_where_its_recipe_asks(world: SeenWorld, tmp_path: Path) -> None:
    world.add("sharp", 1.0, seed=1)
    (tmp_path / "mine.toml").write_text(RECIPE)
    STAGES["evidence"].work(open_run(tmp_path / "mine.toml", world.folder, None))
    assert not (world.folder / "evidence").exists()
    asked = open_run(tmp_path / "mine.toml", world.folder, ["evidence.min_rows=30"])
    STAGES["evidence"].work(asked)
    assert STAGES["evidence"].paths(asked) == [world.folder / "evidence"]
    manifest = read_manifest(world.folder / "evidence")
    assert manifest["inputs"].keys() == {"corpus", "features/sharp"}
    assert "mmkd/modalities.toml" in manifest["settings"]["tables"]


def test_the_earlier_row_of_a_near_duplicate_is_named(tmp_path: Path) -> None:
    world = make_seen_world(tmp_path)
    world.add("sharp", 1.0, seed=1, blind=slice(0, 1))
    settings = EvidenceSettings(near_duplicates=NearDuplicateSettings(teacher="sharp", cosine=0.9))
    found = made(world, "sharp", settings=settings).column("alike_of")
    assert found[0] == ""
    teacher_ND = world.add("copy", 1.0, seed=1).take(np.arange(240))[0].astype(np.float64)
    cosine_NN = teacher_ND @ teacher_ND.T
    for row in np.flatnonzero(found != ""):
        earlier = int(found[row].removeprefix("pair "))
        assert earlier < row
        assert found[earlier] == ""
        assert cosine_NN[row, earlier] > 0.899
    assert (found != "").sum() > 100
    with pytest.raises(ConfigError, match=r"no teacher 'sharpe'; did you mean 'sharp'"):
        made(world, "sharp", settings=EvidenceSettings(near_duplicates=NearDuplicateSettings(teacher="sharpe")))


def test_shards_read_by_several_processes_give_the_same_votes(tmp_path: Path) -> None:
    one, several = make_seen_world(tmp_path / "1"), make_seen_world(tmp_path / "3", shards=3)
    whole, parts = corpus_votes(one.folder / "corpus", 0), corpus_votes(several.folder / "corpus", 2)
    assert parts.votes == whole.votes
    for name in ("place_NK", "known_N", "group_N"):
        assert (getattr(parts, name) == getattr(whole, name)).all()
