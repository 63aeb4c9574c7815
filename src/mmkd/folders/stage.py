"""Stage folders: built beside their final name, complete when the manifest is there, resumed when they are not.

A stage reads finished folders and publishes one. While it works it owns `NAME.partial`; at the end the manifest is
written there, last of all files, and the folder is renamed to `NAME`. The same settings and inputs again mean *skip*
(complete) or *resume* (partial); other settings or inputs are refused, so that nothing is overwritten by accident.
"""

import json
import os
import platform
import re
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import mmkd
from mmkd.distributed import ALONE, World
from mmkd.errors import ConfigError, DataError, StaleError
from mmkd.folders.atomic import draft_of, may_be_written, write_json
from mmkd.folders.digests import file_digest, folder_digest, json_digest, remembered_digest
from mmkd.folders.intact import FILES, LOG, check_files, list_files
from mmkd.folders.locks import sole_owner
from mmkd.progress import say
from mmkd.renamed import with_new_names

SCHEMA = 1
DIGEST, LONGEST = 64, 300  # characters of a digest, and of a value that a message shows whole
MANIFEST = "manifest.json"
BEGUN = "begun.json"
OWN_FILES = (MANIFEST, BEGUN, FILES, LOG)  # what a stage keeps of itself beside its output
ANEW = "delete its folder and run again, which makes it anew"
NEEDED = {"kind": str, "settings": dict, "inputs": dict, "counts": dict, "digest": str}
"""What a manifest holds at least."""

SECTIONS = {
    **{"corpus": "curate", "world": "phantom", "features": "teachers", "evaluation": "evaluate"},
    **{"student": "distill", "measurement": "evaluate"},
}
"""Kind of a stage -> the recipe's section whose keys are its settings, where it has another name."""


@dataclass(frozen=True)
class Stage:
    """What makes a folder: its kind, where it goes, the settings and the finished inputs it is made from.

    inputs: name -> digest. outputs: globs of the files whose bytes identify the result (logs with times are left out).
    keyed: every file in the folder says what it was made from, so `force` goes on from what is there, not from nothing.
    link: where several runs share the folder, the place of this run's that leads to it. kept: settings of a manifest
    with paths as `settings` has them; releases before kept absolute ones.
    """

    kind: str
    folder: Path
    settings: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("**/*",)
    keyed: bool = False
    link: Path | None = None
    kept: Callable[[Any], Any] = copy

    def in_pool(self, pool: Path) -> "Stage":
        """The same stage in a folder named by what it is made from, for all runs that need the same."""
        name = f"{self.kind}-{json_digest(self.made_from, sort_keys=True)[:20]}"
        return replace(self, folder=pool / name, link=self.folder)

    @property
    def partial(self) -> Path:
        return self.folder.with_name(self.folder.name + ".partial")

    @property
    def old(self) -> Path:
        """Where the folder goes that this stage replaces, until it is removed."""
        return self.folder.with_name(self.folder.name + ".old")

    @property
    def made_from(self) -> dict[str, Any]:
        """The part of the manifest that must agree for a folder to be this stage's."""
        plain = json.loads(json.dumps({"settings": self.settings, "inputs": self.inputs}, default=str))
        return {"kind": self.kind, "schema": SCHEMA, **plain}


def complete(
    stage: Stage, body: Callable[[Path], Mapping[str, int]], force: bool = False, world: World = ALONE
) -> dict[str, Any]:
    """Run `body` on the stage's partial folder and publish it, unless a finished one is there already.

    `body` returns the counts that go into the manifest; it must be able to go on from what it left there before. All
    processes of the world call it; rank 0 decides, and publishes. Returns the manifest. Raises ConfigError when a
    folder made from other settings or inputs stands in the way. A stage that is shared waits for a run that is just
    making it.
    """
    if not world.first:
        if not world.agree(False):
            body(stage.partial)
        return world.agree({})
    if stage.link:
        check_link(stage, force)
    with sole_owner(stage.folder, wait=stage.link is not None):
        found = begin(stage, force)
        if world.agree(found is not None):
            say(f"{stage.kind}: {stage.folder} is complete, skipped")
        else:
            start = time.perf_counter()
            counts = body(stage.partial)
            found = publish(stage, counts, time.perf_counter() - start)
    if stage.link:
        write_link(stage.link, stage.folder)
    return world.agree(found or {})


def begin(stage: Stage, force: bool = False) -> dict[str, Any] | None:
    """The manifest of the finished folder, or None after preparing the partial folder to start or go on."""
    if (stage.partial / MANIFEST).is_file():  # killed between the manifest and the rename
        _rename(stage)
    if stage.folder.exists():
        _remove_old(stage)
    if stage.folder.exists():
        found = read_manifest(stage.folder)
        if _same(stage, found, stage.folder, force):
            return found
        if stage.keyed and not stage.partial.exists():
            _reopen(stage)
    if stage.partial.exists() and not _goes_on(stage, force):
        shutil.rmtree(stage.partial)
    stage.partial.mkdir(parents=True, exist_ok=True)
    for draft in stage.partial.rglob(".*.tmp"):  # of a run that was killed; workers on other machines may live on
        if not may_be_written(draft):
            draft.unlink(missing_ok=True)
    write_json(stage.partial / BEGUN, stage.made_from)
    return None


def _goes_on(stage: Stage, force: bool) -> bool:
    """Whether the partial folder is of use; not where the run was killed before it had begun, or had made nothing."""
    if not (stage.partial / BEGUN).is_file() or not _has_begun(stage):
        return False
    return _same(stage, _read_json(stage.partial / BEGUN), stage.partial, force) or stage.keyed


def _has_begun(stage: Stage) -> bool:
    """Whether a run that was cut off has left anything: one that failed at its inputs has not."""
    return any(path.name != BEGUN for path in stage.partial.iterdir())


def publish(stage: Stage, counts: Mapping[str, int], wall_s: float) -> dict[str, Any]:
    """Write the manifest into the partial folder, last, and give the folder its final name."""
    for draft in stage.partial.rglob(".*.tmp"):  # of workers that were lost
        draft.unlink(missing_ok=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    write_json(stage.partial / LOG, {"wall_s": round(wall_s, 3), "peak_memory_mb": memory})
    listed, files = list_files(stage.partial, (MANIFEST, BEGUN), stage.folder)
    digests = {stage.partial / name: digest for name, (_, digest) in listed.items()}
    of_content = digests.keys() & _matching(stage.partial, stage.outputs)
    manifest = {
        **stage.made_from,
        "counts": dict(counts),
        "digest": folder_digest(stage.partial, of_content, digests.__getitem__),
        "files": files,
        "versions": versions(),
    }
    write_json(stage.partial / MANIFEST, manifest)
    _rename(stage)
    counted = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items())
    say(f"{stage.folder.name}: {counted or 'done'} in {wall_s:.1f} s")
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished folder. Raises DataError when the folder is missing, was never finished or is damaged
    here."""
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"{folder}: no {MANIFEST} found, so no finished stage; run the stage that makes it first")
    found = _read_json(path)
    for key, kind in NEEDED.items():
        if not isinstance(found.get(key), kind):
            raise DataError(f"{path}: no {key} in it, so it is not as it was written; {ANEW}")
    return found


def read_log(folder: Path) -> dict[str, Any]:
    """How the making of a finished folder went: `wall_s`, `peak_memory_mb`; older folders have it in the manifest."""
    return _read_json(folder / (LOG if (folder / LOG).is_file() else MANIFEST))


def digest_of(folder: Path) -> str:
    """The digest of a finished folder's content, for the `inputs` of the stages that read it.

    Raises DataError where the files are not those that were written.
    """
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    return str(manifest["digest"])


def content_digest(folder: Path, patterns: tuple[str, ...], remember: bool = False) -> str:
    """SHA-256 over the names and bytes of all files that match, in the order of their names.

    remember: read large files again only when they have changed; for what this run does not write itself.
    """
    return folder_digest(folder, _matching(folder, patterns), remembered_digest if remember else file_digest)


def _matching(folder: Path, patterns: tuple[str, ...]) -> set[Path]:
    return {p for pattern in patterns for p in folder.glob(pattern) if p.is_file() and p.name not in OWN_FILES}


def versions() -> dict[str, str]:
    """Versions of what can change a result."""
    from importlib import metadata  # here: commands that only show would wait for its import

    named = ("torch", "open_clip_torch", "timm", "transformers", "datasets", "numpy", "pillow")
    return {"mmkd": mmkd.__version__, "python": platform.python_version(), **{n: metadata.version(n) for n in named}}


def check_link(stage: Stage, force: bool = False) -> None:
    """Raise ConfigError where this run's link leads to a folder made from something else, unless `force`."""
    if stage.link and (stage.link / MANIFEST).is_file() and not force:
        _same(stage, read_manifest(stage.link), stage.link, force)


def write_link(link: Path, folder: Path) -> None:
    """Make `link` lead to `folder`, at once, whatever it led to before; relative, so that both can be moved together.

    Raises ConfigError where something that is no link stands there.
    """
    if link.exists() and not link.is_symlink():
        raise ConfigError(f"{link} is a folder of its own, not a link into a pool; choose another --out")
    link.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_of(link)
    draft.unlink(missing_ok=True)
    draft.symlink_to(os.path.relpath(folder, link.parent))
    draft.replace(link)


def _same(stage: Stage, found: Mapping[str, Any], where: Path, force: bool) -> bool:
    changes = _changes(stage, found)
    if changes and not force:
        raise StaleError(str(where), [str(change) for change in changes])
    return not changes


class Change(NamedTuple):
    """A setting or an input that is another than the folder was made from."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key.removeprefix('settings.')} (was {_shortened(self.old)}, now {_shortened(self.new)})"


def compared(stage: Stage) -> tuple[str, list[Change]]:
    """`status` of the stage's folder, and what `complete` would refuse it for. Reads manifests, and changes nothing."""
    for state, place, name in (
        ("complete", stage.partial, MANIFEST),  # killed between the manifest and the rename
        ("complete", stage.folder, MANIFEST),
        ("partial", stage.partial, BEGUN),
    ):
        if (place / name).is_file() and (name == MANIFEST or _has_begun(stage)):
            return state, _changes(stage, _read_json(place / name))
    return "to do", []


def _changes(stage: Stage, found: Mapping[str, Any]) -> list[Change]:
    wanted, found = stage.made_from, _with_new_names(found)
    found = {**found, "settings": stage.kept(found.get("settings"))}
    return [change for part in wanted for change in _differing(part, found.get(part), wanted[part])]


def _differing(key: str, old: Any, new: Any) -> Iterator[Change]:
    """Of tables and lists, the innermost values. What is not there is None."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            yield from _differing(f"{key}.{name}", old.get(name), new.get(name))
    elif isinstance(old, list) and isinstance(new, list):
        for place, pair in enumerate(zip_longest(old, new)):
            yield from _differing(f"{key}[{place}]", *pair)
    elif old != new:
        yield Change(key, old, new)


def _shortened(value: Any) -> str:
    """Digests are told by their beginning; paths are left as they are."""
    text = repr(value)
    is_digest = isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{DIGEST}}}", value)
    most = DIGEST - 1 if is_digest else LONGEST
    return text if len(text) <= most else f"{text[: most // 5]}...{text[-3:]}"


def _with_new_names(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """A manifest of the release before, its settings and inputs under today's names."""
    section = SECTIONS.get(found.get("kind", ""), found.get("kind", ""))
    parts = {"settings": section, "inputs": "inputs"}
    return {**found, **{part: with_new_names(found[part], table) for part, table in parts.items() if part in found}}


def _rename(stage: Stage) -> None:
    if stage.folder.exists():  # only with --force: begin() has refused otherwise
        _remove_old(stage)
        stage.folder.replace(stage.old)
    (stage.partial / BEGUN).unlink(missing_ok=True)  # after the manifest: without either, the work would be thrown away
    stage.partial.replace(stage.folder)
    _remove_old(stage)


def _remove_old(stage: Stage) -> None:
    """What a replaced folder was; a run that was killed may have left it."""
    if stage.old.exists():
        shutil.rmtree(stage.old)


def _reopen(stage: Stage) -> None:
    """Make the finished folder the partial one; killed on the way, it is a finished one again."""
    stage.folder.replace(stage.partial)
    write_json(stage.partial / BEGUN, stage.made_from)
    (stage.partial / MANIFEST).unlink()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}); {ANEW}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, found {type(value).__name__}; {ANEW}")
    return value


def status(folder: Path) -> str:
    """complete, partial or to do."""
    if (folder / MANIFEST).is_file():
        return "complete"
    return "partial" if folder.with_name(folder.name + ".partial").exists() else "to do"
