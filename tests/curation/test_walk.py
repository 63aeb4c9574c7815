"""The files of mmkd that a record goes through on its way from a tar to a row of a corpus."""

import json
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from corpus_samples import HERE, encoded, noise, write_tar

import mmkd
from mmkd.curation import curate as stage
from mmkd.curation.settings.curate import CurateSettings

SOURCE = f"{Path(mmkd.__file__).parent}/"
STEPS = ("filter_shards", "select", "write_corpus")
COUNTING = {"progress.py", "notebook.py", "output.py", "processes.py"}  # they see how many records there are
HANDING_OUT = ("executors/", "folders/leases.py", "folders/digests.py", "folders/atomic.py")  # they see no record
MOST = 27


class Walk:
    """What functions run while a step of curation does.

    files: of mmkd, in the order in which they are entered first. returns: those in a folder that was entered before and
    of which no function is at work."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.returns: list[str] = []

    def step(self, body: Any) -> Any:
        def traced(*given: object) -> object:
            sys.setprofile(self._entered)
            try:
                return body(*given)
            finally:
                sys.setprofile(None)

        return traced

    def _entered(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call" or not (name := file_of(frame)) or name in {*self.files, *COUNTING}:
            return
        if name.startswith(HANDING_OUT):
            return
        at_work, caller = {"curation"}, frame.f_back  # the stage itself calls the steps
        while caller is not None:
            at_work.add(folder_of(file_of(caller)))
            caller = caller.f_back
        if folder_of(name) in {*map(folder_of, self.files)} - at_work:
            self.returns.append(name)
        self.files.append(name)


def file_of(frame: FrameType) -> str:
    """Below the folder of mmkd; "" for a file of others."""
    path = frame.f_code.co_filename
    return path.removeprefix(SOURCE) if path.startswith(SOURCE) else ""


def folder_of(name: str) -> str:
    return name.rpartition("/")[0]


def test_a_record_goes_through_few_files_and_once_through_each_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = json.dumps({"article_license": "CC BY", "article_accession_id": "PMC1"}).encode()
    picture = encoded(noise(1, 48, 64), "JPEG")
    tar = write_tar(tmp_path / "a.tar", [("k.jpg", picture), ("k.txt", b"Axial CT of the liver"), ("k.json", meta)])
    settings = CurateSettings.model_validate({"sources": [{"kind": "webdataset", "name": "w", "path": tar}]})
    for name in ("first", "out"):
        (tmp_path / name).mkdir()
    stage.curate(settings, tmp_path / "first", HERE, 7)  # which imports the libraries
    walk = Walk()
    for step in STEPS:
        monkeypatch.setattr(stage, step, walk.step(getattr(stage, step)))
    assert stage.curate(settings, tmp_path / "out", HERE, 7)["kept"] == 1
    assert {"curation/shards.py", "images/decode.py", "curation/selection.py"} <= {*walk.files}
    assert len(walk.files) < MOST, walk.files
    assert not walk.returns
