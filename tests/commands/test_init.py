"""`mmkd init`: what it guesses of a table, and that its recipe reads it."""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from mmkd.cards.catalogue import read_card
from mmkd.cli import app
from mmkd.corpus.schema import Corpus
from mmkd.errors import ConfigError, DataError

REPORTS = [f"no focal consolidation in picture {number}" for number in range(4)]


def pictures(folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (32, 32), (60 * number, 0, 90)).save(folder / f"{number}.png")
    return [folder / f"{number}.png" for number in range(4)]


def csv(folder: Path, heads: Sequence[str], *columns: Sequence[object]) -> Path:
    folder.mkdir(exist_ok=True)
    rows = [",".join(map(str, row)) for row in (heads, *zip(*columns, strict=True))]
    (folder / "pairs.csv").write_text("\n".join(rows) + "\n")
    return folder / "pairs.csv"


def init(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


def source_of(table: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The source that is written for the table, whose four pictures a dry run reads."""
    monkeypatch.chdir(folder)
    done = init(table)
    assert done.exit_code == 0, done.output
    plan = CliRunner().invoke(app, ["-q", "curate", "my.toml", "--dry-run", "--json"], catch_exceptions=False)
    (found,) = json.loads(plan.output)
    assert (found["records"], found["kept"]) == (4, 1.0)
    return tomllib.loads(Path("my.toml").read_text())["curate"]["sources"][0]


def test_columns_are_guessed_by_name_and_by_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [path.name for path in pictures(tmp_path / "scans")]
    table = csv(tmp_path / "scans", ["path", "scan", "befund", "patient_id"], "abcd", files, REPORTS, [7, 7, 8, 8])
    source = source_of(table, tmp_path, monkeypatch)
    assert source["path"] == "scans/pairs.csv"
    assert source["columns"] == {"image": "scan", "caption": "befund", "group": "patient_id"}
    assert "images" not in source


def test_pictures_are_looked_for_in_folders_and_with_suffixes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures(tmp_path / "scans" / "train")
    table = csv(tmp_path / "scans", ["image", "caption"], range(4), REPORTS)
    assert source_of(table, tmp_path, monkeypatch)["images"] == "train/{}.png"


def test_pictures_elsewhere_get_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = csv(tmp_path / "tables", ["image", "caption"], pictures(tmp_path / "archive" / "deep"), REPORTS)
    assert source_of(table, tmp_path, monkeypatch)["root"] == str(tmp_path / "archive" / "deep")


def test_a_hubs_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [{"bytes": path.read_bytes(), "path": path.name} for path in pictures(tmp_path / "scans")]
    pq.write_table(pa.table({"image": images, "text": [[text] for text in REPORTS]}), tmp_path / "pairs.parquet")
    source = source_of(tmp_path / "pairs.parquet", tmp_path, monkeypatch)
    assert (source["columns"], source["captions"]) == ({"caption": "text"}, "all")


def test_a_table_of_windows_and_captions_that_tell_the_modality(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = csv(tmp_path, ["Bild", "Röntgen"], [path.name for path in pictures(tmp_path / "a")], REPORTS)
    table.write_text(table.read_text().replace("no focal", "Größe: chest radiograph; no focal"), encoding="cp1252")
    refused = init(table)
    assert "the header has bytes that are not utf-8" in str(refused.exception)
    table.write_bytes(table.read_bytes().replace("Röntgen".encode("cp1252"), b"Rontgen"))
    assert "4 of 5 lines are not utf-8" in str(init(table).exception)
    assert init(table, "--encoding", "cp1252").exit_code == 0
    done = CliRunner().invoke(app, ["-q", "curate", "my.toml", "--out", "run", "--set", "machine.workers=0"])
    assert done.exit_code == 0, done.output
    rows = Corpus(Path("run/corpus"))
    assert set(rows.column("modality")) == {"x-ray"}
    assert rows.column("caption")[0] == "Größe: chest radiograph; no focal consolidation in picture 0"


@pytest.mark.parametrize(
    ("name", "told"), [("scans", "a folder, expected a table; "), ("a.tar", "ends in one of .csv")]
)
def test_what_is_no_table_is_told_its_kind(name: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "a.tar").write_bytes(b"")
    done = init(tmp_path / name)
    assert isinstance(done.exception, ConfigError)
    assert told in str(done.exception)
    assert "kind = dicom, nifti, folders or webdataset" in str(done.exception)


def test_the_card_beside_it_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "a")
    table = csv(tmp_path, ["image", "caption"], [f"a/{number}.png" for number in range(4)], REPORTS)
    assert init(table, "--recipe", "Chest x.toml").exit_code == 0
    card = read_card(tmp_path / "Chest x-held-out.toml", {"out": "runs/x"})
    assert (card.id, card.tasks) == ("chest-x-held-out", ["retrieval"])
    assert tomllib.loads((tmp_path / "Chest x.toml").read_text())["name"] == "Chest-x"


@pytest.mark.parametrize(
    ("heads", "arguments", "message"),
    [
        (["a", "caption"], [], "no column looks like images among a, caption; name it: --image COLUMN"),
        (["image", "b"], ["--caption", "c"], "no column 'c' among image, b; name it: --caption COLUMN"),
        (["image", "caption", "c"], [], "no row can be read; the first: 2 fields found, the header has 3"),
        (["image", "caption"], ["--encoding", "x"], "--encoding 'x': encoding 'x' is not known to Python"),
        (["image", "caption"], ["--recipe", "taken.toml"], "taken.toml exist already; move them, or give another name"),
    ],
)
def test_what_is_not_certain_is_refused(
    heads: list[str], arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.toml").write_text("name = 'mine'")
    done = init(csv(tmp_path, heads, [1, 2], [3, 4]), *arguments)
    assert isinstance(done.exception, ConfigError | DataError)
    assert message in str(done.exception)
    assert not (tmp_path / "my.toml").exists()
    assert (tmp_path / "taken.toml").read_text() == "name = 'mine'"
