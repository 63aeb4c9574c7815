"""Every long step of curation says how far it is."""

from pathlib import Path

import pytest
from corpus_samples import png, run, write_tar

from mmkd import progress
from mmkd.corpus.settings import CurateSettings
from mmkd.report.curation import write_ledger


def test_steps_after_the_parts_tell_their_rate_and_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.0)
    (tmp_path / "tars").mkdir()
    for tar in range(2):
        pair = [("a.png", png(tar)), ("a.txt", f"finding {tar}".encode())]
        write_tar(tmp_path / f"tars/{tar}.tar", pair)
    source = {"kind": "webdataset", "name": "w", "path": tmp_path / "tars"}
    run(CurateSettings.model_validate({"sources": [source], "shard_rows": 1}), tmp_path / "out")
    write_ledger(tmp_path / "out", "corpus")
    said = capsys.readouterr().out.splitlines()
    steps = {
        "curate": "1 of 2 parts, 1 records",
        "look for duplicates": "1 of 2 parts",
        "list what is dropped": "1 of 2 parts",
        "write the corpus": "1 of 2 shards",
        "ledger: rows": "1 of 2 shards",
        "ledger: counts": "1 of 2 shards",
    }
    for step, how_far in steps.items():
        (line,) = [line for line in said if line.startswith(f"  {step}: {how_far}, ")]
        assert line.endswith(" s left")
