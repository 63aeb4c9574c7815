"""`mmkd import-reference`: the public MMKD-CLIP data layout -> the corpus and features that a recipe goes on from."""

from pathlib import Path

from mmkd.curation.curate import corpus_stage, curate
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import ReferenceSource
from mmkd.errors import DataError
from mmkd.features.extract import extract
from mmkd.features.from_reference import teacher_names
from mmkd.folders.stage import complete
from mmkd.report.curation import write_ledger
from mmkd.settings import Machine
from mmkd.teachers.zoo.settings import REFERENCE, ExtractSettings, TeacherSpec


def import_reference(root: Path, out: Path, val: float, seed: int, force: bool, machine: Machine) -> list[str]:
    """Write `out/corpus` and `out/features/<teacher>` and say how a recipe goes on from them; returns the teachers.

    The folders are those that a recipe with `[[curate.sources]] kind = "reference"` and teachers of
    `library = "reference"` makes, so such a recipe finds them complete. Raises DataError when the layout is another.
    """
    names = teacher_names(root)
    if not names:
        raise DataError(f"{root}: no record names a teacher in available_clips; expected the public MMKD-CLIP data")
    settings = CurateSettings(sources=[ReferenceSource(kind="reference", path=root.resolve())], val=val)
    stage = corpus_stage(out / "corpus", settings, settings.model_dump(mode="json"), seed)

    def make(folder: Path) -> dict[str, int]:
        counts = curate(settings, folder, machine, seed)
        write_ledger(folder, "corpus")
        return counts

    complete(stage, make, force)
    specs = [TeacherSpec(name=name, model=str(root.resolve()), library=REFERENCE) for name in names]
    extract(specs, ExtractSettings(), out / "corpus", out / "features", machine, force)
    print(f"corpus and features of {len(names)} teachers are in {out}; a recipe goes on from them with:\n")
    print(recipe_lines(root.resolve(), names, val))
    return names


def recipe_lines(root: Path, names: list[str], val: float) -> str:
    """The recipe sections that describe the imported folders."""
    lines = ["[curate]", f"val = {val}", "[[curate.sources]]", 'kind = "reference"', f'path = "{root}"']
    for name in names:
        lines += ["[[teachers]]", f'name = "{name}"', 'library = "reference"', f'model = "{root}"']
    return "\n".join(lines)
