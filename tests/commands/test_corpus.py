"""`mmkd corpus`: single pairs, samples, numbers, the ledger and exports, as a user calls them."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from corpus_samples import png, run, settings_for, table
from typer.testing import CliRunner, Result

from mmkd.commands.corpus import LISTED, app
from mmkd.commands.options import open_run
from mmkd.corpus.schema import COLUMNS, Corpus
from mmkd.curation.curate import corpus_stage
from mmkd.errors import ConfigError, DataError
from mmkd.features.extract import extract
from mmkd.folders.stage import content_digest, read_manifest
from mmkd.pipeline.table import STAGES
from mmkd.teachers.zoo.settings import ExtractSettings, TeacherSpec
from tiny import MACHINE


def corpus(*arguments: object) -> Result:
    """The command's result; the exceptions that `mmkd` turns into messages are raised."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(done.exception, ConfigError | DataError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pairs of two modalities and a rejected record."""
    rows = [
        {"id": f"r{i}", "image": f"{i}.png", "caption": f"finding <{i}>", "modality": ("ct", "mri")[i % 2],
         "licence": f"licence {i}"}
        for i in range(6)
    ]  # fmt: skip
    rows.append({"id": "blank", "image": "0.png", "caption": ""})
    made = run(
        settings_for(table(tmp_path, rows, {f"{i}.png": png(i) for i in range(6)}), shard_rows=4), tmp_path / "c"
    )
    return made.folder


def test_a_record_is_shown_with_its_picture(folder: Path, tmp_path: Path) -> None:
    told = json.loads(corpus("show", folder, "r5", "--json", "--image", tmp_path / "p" / "r5.png").stdout)
    assert told.keys() == {*COLUMNS, "image_bytes"} - {"image"}
    assert (told["caption"], told["modality"]) == ("finding <5>", "mri")
    assert (tmp_path / "p" / "r5.png").read_bytes() == png(5)
    assert "finding <5>" in corpus("show", folder, "r5").stdout


def test_a_rejected_record_is_shown_with_its_reason(folder: Path, tmp_path: Path) -> None:
    told = json.loads(corpus("show", folder, "blank", "--json").stdout)
    assert (told["reason"], told["kept"]) == ("empty_caption", False)
    with pytest.raises(DataError, match="pictures of rejected records are not kept"):
        corpus("show", folder, "blank", "--image", tmp_path / "x.png")
    with pytest.raises(DataError, match=r"no record 'r9', neither kept nor rejected; ids here look like 'r0'"):
        corpus("show", folder, "r9")


def test_a_sample_is_fixed_by_its_seed_and_of_different_pairs(folder: Path) -> None:
    def drawn(*arguments: object) -> list[str]:
        return [row["id"] for row in json.loads(corpus("sample", folder, "--json", *arguments).stdout)]

    assert drawn("-n", 3, "--seed", 1) == drawn("-n", 3, "--seed", 1)
    assert {tuple(drawn("-n", 3, "--seed", seed)) for seed in range(8)} > {tuple(drawn("-n", 3, "--seed", 0))}
    assert drawn("-n", 99) == [f"r{i}" for i in range(6)]
    assert drawn("--modality", "mri") == ["r1", "r3", "r5"]
    with pytest.raises(ConfigError, match="no pair of modality 'mrt'; did you mean 'mri'"):
        drawn("--modality", "mrt")


def test_a_sample_is_a_table_or_a_small_page(folder: Path, tmp_path: Path) -> None:
    assert "finding <1>" in corpus("sample", folder).stdout
    corpus("sample", folder, "-n", 4, "--html", tmp_path / "s.html")
    page = (tmp_path / "s.html").read_text()
    assert page.count('src="data:image/jpeg') == 4
    assert "4 pairs" in page
    assert "finding &lt;" in page
    assert len(page) < 100_000


def test_numbers_are_printed_and_counted(folder: Path) -> None:
    told = json.loads(corpus("stats", folder, "--json").stdout)
    assert told["pairs"] == 6
    assert told["modality"] == {"ct": 3, "mri": 3}
    assert told["split"] == {name: Corpus(folder).column("split").count(name) for name in told["split"]}
    assert told["characters"]["median"] == len("finding <0>")
    assert told["repeats"]["groups"]["distinct"] == 6
    shown = corpus("stats", folder).stdout
    assert "6 pairs" in shown
    assert "50.0%" in shown
    assert "more; --json has all" not in shown


def test_long_tables_say_that_they_are_cut(tmp_path: Path) -> None:
    rows = [{"image": "0.png", "caption": f"finding {i}", "licence": f"l{i}"} for i in range(LISTED + 3)]
    made = run(settings_for(table(tmp_path, rows, {"0.png": png()})), tmp_path / "c")
    assert "and 3 more; --json has all" in corpus("stats", made.folder).stdout


def test_the_ledger_is_written_for_a_corpus_that_has_none(folder: Path) -> None:
    (folder / "curation.html").unlink(missing_ok=True)
    assert "curation.html" in corpus("ledger", folder).stdout
    assert (folder / "curation.html").is_file()
    assert (folder / "curation.parquet").is_file()


def test_an_export_is_made_and_left_alone_the_second_time(folder: Path, tmp_path: Path) -> None:
    asked = ("export", folder, "--format", "csv", "--out", tmp_path / "e", "--split", "train")
    assert "1 shards" in corpus(*asked).stdout
    before = (tmp_path / "e" / "train.tsv").stat().st_mtime_ns
    assert "is complete, skipped" in corpus(*asked).stdout
    assert (tmp_path / "e" / "train.tsv").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="no layout 'zip'"):
        corpus("export", folder, "--format", "zip", "--out", tmp_path / "z")


def test_near_duplicates_by_a_teachers_features_are_listed(tmp_path: Path, tiny_teachers: list[TeacherSpec]) -> None:
    rows = [{"id": f"r{i}", "image": f"{i}.png", "caption": f"finding {i}"} for i in range(6)]
    pictures = {f"{i}.png": png(i % 5) for i in range(6)}  # r5 shows what r0 shows
    made = run(settings_for(table(tmp_path, rows, pictures)), tmp_path / "c").folder
    extract(tiny_teachers[:1], ExtractSettings(batch_size=8), made, tmp_path / "features", MACHINE)
    asked = ("near-duplicates", made, "--features", tmp_path / "features" / "narrow", "--cosine", "0.9999")
    assert ("r0", "r5") in {(one["first"], one["second"]) for one in json.loads(corpus(*asked, "--json").stdout)}
    assert "r5" in corpus(*asked).stdout


RECIPE = """
name = "mine"
[curate]
sources = [{ kind = "table", path = "pairs.jsonl" }]
[student]
model = "ViT-B-32"
[[teachers]]
name = "one"
model = "local-dir:one"
licence = "MIT"
[evaluate]
datasets = ["busi"]
data_root = "."
"""


def test_curation_of_a_recipe_leaves_the_ledger_beside_the_corpus(tmp_path: Path) -> None:
    rows = [{"id": f"r{i}", "image": "0.png", "caption": f"finding {i}"} for i in range(3)]
    table(tmp_path, [*rows, rows[0]], {"0.png": png()})
    (tmp_path / "recipe.toml").write_text(RECIPE)
    STAGES["curate"].work(open_run(tmp_path / "recipe.toml", tmp_path / "run", None))
    folder = tmp_path / "run" / "corpus"
    assert "4 records were read and 3 kept (75.0%)" in (folder / "curation.html").read_text()
    assert pq.read_metadata(folder / "curation.parquet").num_rows == 4
    manifest = read_manifest(folder)
    outputs = corpus_stage(folder, open_run(tmp_path / "recipe.toml", None, None).recipe.curate, {}, 0).outputs
    for name in ("curation.html", "curation.parquet", "dropped.arrow"):
        (folder / name).unlink()
    assert content_digest(folder, outputs) == manifest["digest"]


@pytest.mark.parametrize("command", ["show", "sample", "stats", "ledger"])
def test_what_is_no_corpus_is_told(command: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no corpus"):
        corpus(command, tmp_path, *(["x"] if command == "show" else []))


def test_the_group_loads_nothing_heavy() -> None:
    code = (
        "import sys, mmkd.commands.corpus; print(sorted({'torch', 'datasets', 'pyarrow', 'jinja2'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
