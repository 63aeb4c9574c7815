"""A finished run of a tiny recipe, which several tests share."""

from pathlib import Path
from typing import Any

import pytest
from ablation_files import write_files

from mmkd.commands.options import open_run
from mmkd.folders import digests
from mmkd.pipeline.work import work_all
from mmkd.teachers import load
from mmkd.teachers.files.open_clip_folder import WEIGHTS
from tiny import save_tiny


class Counts:
    """How often the files of the recipe's own teacher were hashed, and how often it was loaded."""

    def __init__(self) -> None:
        self.hashed = self.loaded = 0


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Counts]:
    """A finished run of a recipe with a teacher that it does not train, and what its weights have been through."""
    folder = tmp_path_factory.mktemp("finished")
    write_files(folder)
    save_tiny(folder / "given")
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text() + '[[teachers]]\nname = "given"\nmodel = "local-dir:given"\n')
    counts = Counts()
    with pytest.MonkeyPatch.context() as patch:
        count_hashes(patch, counts)
        count_loads(patch, counts)
        work_all(open_run(recipe, folder / "run", []))
    return recipe, counts


def count_hashes(patch: pytest.MonkeyPatch, counts: Counts) -> None:
    hashed = digests.file_digest

    def counting(path: Path) -> str:
        counts.hashed += path.name == WEIGHTS and path.parent.name == "given"
        return hashed(path)

    patch.setattr(digests, "file_digest", counting)


def count_loads(patch: pytest.MonkeyPatch, counts: Counts) -> None:
    opened = load.LIBRARIES["open_clip"]

    def counting(spec: Any) -> Any:
        counts.loaded += spec.name == "given"
        return opened(spec)

    patch.setitem(load.LIBRARIES, "open_clip", counting)
