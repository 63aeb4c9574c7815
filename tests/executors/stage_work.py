"""A stage by an executor: features of the tiny corpus, as the bytes of their files."""

from pathlib import Path

from mmkd.executors.executor import Executor
from mmkd.features.extract import extract
from mmkd.teachers.zoo.settings import ExtractSettings, TeacherSpec
from tiny import MACHINE


def extracted(executor: Executor, corpus: Path, teachers: list[TeacherSpec], folder: Path) -> dict[str, bytes]:
    """Name of each file -> its bytes; manifests tell times."""
    extract(teachers, ExtractSettings(batch_size=10, shard_rows=30), corpus, folder, MACHINE, executor=executor)
    assert not list(folder.parent.rglob(".units"))
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.arrow")}
    assert len(files) >= 8
    return {name: path.read_bytes() for name, path in files.items()}
