"""`mmkd verify`: whether all files of a run are as they were written."""

from pathlib import Path
from typing import Annotated

import typer

from mmkd.errors import DataError


def verify(run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]) -> None:
    """Read every file of a run's finished folders and compare it with what was written.

    Stages look at the sizes and times of what they read, and at the content of what has changed; this reads all of it.
    Ends with 2 where a folder is damaged.
    """
    from mmkd.folders.intact import damage
    from mmkd.folders.stage import read_manifest
    from mmkd.pipeline.status import finished_folders
    from mmkd.progress import say

    found = finished_folders(run)
    if not found:
        raise DataError(f"{run}: no finished folder in it; give the folder of a run")
    damaged = []
    for folder in found:
        try:
            files = read_manifest(folder).get("files", "")
            problems = list(damage(folder, files, everything=True))
        except DataError as error:
            files, problems = "", [str(error)]
        state = "damaged" if problems else "ok" if files else "unknown: it was made before mmkd listed files"
        say(f"{folder.relative_to(run).as_posix():24s} {state}")
        for problem in problems:
            say(f"  {problem}")
        damaged += [folder] if problems else []
    if damaged:
        raise DataError(
            f"{len(damaged)} of {len(found)} folders are damaged. Copy them back from where they are whole, or delete "
            f"them and run again, which makes them anew: {', '.join(map(str, damaged))}"
        )
