"""`mmkd curate`, as a user calls it: what a dry run counts and estimates, and what a stopped run goes on from."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from corpus_samples import TABLE_RECIPE, many, png, settings_for, table, write_files
from typer.testing import CliRunner

from mmkd.cli import app
from mmkd.curation.plan import plan_curation
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.shard_cache import cache_shard
from mmkd.curation.shards import FilteredShard, filter_shard
from mmkd.errors import ConfigError, DataError
from mmkd.folders.stage import read_manifest
from mmkd.tables import text as text_tables


def test_shards_and_records_are_counted_and_the_first_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_tables, "ROWS_PER_SHARD", 4)
    rows = [{"image": f"{i % 2}.png", "caption": "finding" if i else "x"} for i in range(12)]
    path = table(tmp_path, rows, {f"{i}.png": png(i) for i in range(2)})
    (plan,) = plan_curation(settings_for(path))
    assert (plan.name, plan.shards, plan.records) == ("t", 3, 12)
    assert plan.kept == 3 / 4
    assert (plan.looked_at, plan.rejected) == (4, {"short_caption": 1})
    assert plan.bytes_each == pytest.approx((len(png(0)) + 2 * len(png(1))) / 3)
    assert plan.bytes_kept == pytest.approx(12 * plan.kept * plan.bytes_each)
    assert plan.hours(2) == pytest.approx(plan.hours(1) / 2)
    (short,) = plan_curation(settings_for(path), sample=1)
    assert (short.records, short.kept, short.bytes_each) == (12, 0.0, 0.0)


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    path = many(tmp_path, 3)
    recipe = tmp_path / "r.toml"
    recipe.write_text(TABLE_RECIPE.format(curate="", path=path))
    shown = CliRunner().invoke(app, ["curate", str(recipe), "--out", str(tmp_path / "run"), "--dry-run", "--json"])
    assert shown.exit_code == 0, shown.output
    (plan,) = json.loads(shown.stdout)
    assert (plan["records"], plan["rejected"]) == (3, {})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("cache_shards", ["false", "true"])
def test_with_a_higher_limit_the_same_command_goes_on_from_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_shards: str
) -> None:
    rows = [{"id": f"r{i}", "image": f"{i}.png", "caption": f"finding {i}"} for i in range(9)]
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        TABLE_RECIPE.format(curate="", path=table(tmp_path, rows, {f"{i}.png": png(i) for i in range(3)}))
    )
    read: list[int] = []

    def noting(shard: FilteredShard, settings: CurateSettings, make: Callable[..., None] = filter_shard) -> None:
        read.append(shard.number)
        make(shard, settings)

    def curated(out: str, *changes: str) -> BaseException | None:
        given = [text for change in ("machine.workers=0", *changes) for text in ("--set", change)]
        return CliRunner().invoke(app, ["curate", str(recipe), "--out", str(tmp_path / out), *given]).exception

    monkeypatch.setattr(text_tables, "ROWS_PER_SHARD", 4)
    monkeypatch.setattr("mmkd.curation.shards.filter_shard", noting)
    monkeypatch.setattr("mmkd.curation.shard_cache.cache_shard", partial(noting, make=cache_shard))
    kept = f"curate.cache_shards={cache_shards}"
    with pytest.raises(DataError, match=r"6 of 9 records rejected, .* goes on from what was read"):
        raise curated("run", kept) or AssertionError
    assert read == [0, 1, 2]
    assert curated("run", kept, "curate.max_rejected=0.7") is None
    assert read == [0, 1, 2], "no shard is filtered twice"
    assert curated("run") is None, "skipped: no limit and no cached shard changes a corpus"
    assert curated("lenient", "curate.max_rejected=1.0") is None
    manifests = [read_manifest(tmp_path / out / "corpus") for out in ("run", "lenient")]
    assert manifests[0]["digest"] == manifests[1]["digest"]
    assert manifests[0]["inputs"] == manifests[1]["inputs"]
    with pytest.raises(ConfigError, match=r"made from other val"):
        raise curated("run", "curate.val=0.5") or AssertionError


def test_a_dry_run_says_why_records_fail(tmp_path: Path) -> None:
    rows = [{"image": "0.png", "caption": caption} for caption in ("a finding", "x", "y", "<p></p>")]
    path = table(tmp_path, rows, {"0.png": png(0)})
    (tmp_path / "r.toml").write_text(TABLE_RECIPE.format(curate="", path=path))
    shown = CliRunner().invoke(app, ["curate", str(tmp_path / "r.toml"), "--out", str(tmp_path / "run"), "--dry-run"])
    assert f"{tmp_path.name}: of 4 records looked at 3 fail: 2 short_caption, 1 empty_caption" in shown.stdout


def test_at_the_end_every_source_says_what_it_lost(tmp_path: Path) -> None:
    rows = [{"image": "0.png", "caption": caption} for caption in ("a finding", "x", "y", "<p></p>")]
    (tmp_path / "r.toml").write_text(
        TABLE_RECIPE.format(curate="max_rejected = 0.9", path=table(tmp_path, rows, {"0.png": png(0)}))
    )
    done = CliRunner().invoke(app, ["curate", str(tmp_path / "r.toml"), "--out", str(tmp_path / "run")])
    assert f"{tmp_path.name}: 4 read, 1 kept; rejected: 1 empty_caption, 2 short_caption; rejected.parquet says" in (
        done.stdout
    )


def test_a_dry_run_shows_what_the_list_would_say_of_a_record(tmp_path: Path) -> None:
    rows = "image,caption\n0.png,a finding\n0.png,Größe\n".encode("cp1252")
    write_files(tmp_path, {"0.png": png(0), "t.csv": rows})
    (tmp_path / "r.toml").write_text(TABLE_RECIPE.format(curate="", path=tmp_path / "t.csv"))
    shown = CliRunner().invoke(app, ["curate", str(tmp_path / "r.toml"), "--out", str(tmp_path / "run"), "--dry-run"])
    assert "not_utf8, such as t.csv:1: bytes found that are no UTF-8" in shown.stdout
    assert 'encoding = "cp1252"' in shown.stdout


def test_shards_without_a_record_are_read_on_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_tables, "ROWS_PER_SHARD", 2)
    row = {"image": "0.png", "caption": "a finding"}
    rows = [["no"], ["no"], row, row, row, row]
    write_files(tmp_path, {"0.png": png(0), "t.jsonl": "\n".join(map(json.dumps, rows)).encode()})
    (plan,) = plan_curation(settings_for(tmp_path / "t.jsonl"))
    assert (plan.shards, plan.looked_at, plan.records, plan.rejected) == (3, 4, 6, {"unreadable_row": 2})


@pytest.mark.parametrize("command", [["curate", "--dry-run"], ["curate"], ["check"]])
def test_a_corpus_inside_its_own_source_is_refused(command: list[str], tmp_path: Path) -> None:
    rows = [{"image": "0.png", "caption": "a finding"}]
    table(tmp_path / "archive", rows, {"0.png": png(0)})
    (tmp_path / "r.toml").write_text(TABLE_RECIPE.format(curate="", path=tmp_path / "archive"))
    done = CliRunner().invoke(
        app, [command[0], str(tmp_path / "r.toml"), "--out", str(tmp_path / "archive/run"), *command[1:]]
    )
    assert "archive/run/corpus lies in its folder" in str(done.exception)
    assert not (tmp_path / "archive/run").exists()
