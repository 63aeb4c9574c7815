"""How the folders of a run stand: what is finished, what would be made, and what would be refused and why."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mmkd.errors import MmkdError
from mmkd.folders.locks import is_owned
from mmkd.folders.stage import Stage, compared

COMPLETE, PARTIAL, TO_DO, RUNNING = "complete", "partial", "to do", "running"
STALE, ANEW, OPEN, BROKEN = "refused", "anew", "open", "broken"
_UNMADE = "made before: "


@dataclass(frozen=True)
class Standing:
    """state: complete; partial (goes on); to do; running (in another process); refused (`why`, unless with --force);
    anew (`why`, with --force); open: it stays, if the folders in `after` come out as they were; broken: what it is made
    from cannot be read (`why`)."""

    state: str
    why: str = ""
    after: tuple[str, ...] = ()

    @property
    def is_work(self) -> bool:
        """Whether the folder will be another than it is now, as far as one can tell."""
        return self.state != COMPLETE

    def is_made(self, force: bool) -> bool:
        """Whether the run works on the folder, as far as one can tell."""
        return self.state in (TO_DO, PARTIAL, ANEW) or (force and self.state == OPEN)

    def __str__(self) -> str:
        if self.after:
            return f"stays if {', '.join(self.after)} come{'s' * (len(self.after) == 1)} out as before"
        return self.why


def unmade(name: str) -> str:
    """Stands for the digest of a folder that is not made yet."""
    return f"{_UNMADE}{name}"


def stand(folder: Path, made_from: Callable[[], Stage], earlier: Mapping[str, Standing], force: bool) -> Standing:
    """How a folder stands, by the comparison that `complete` makes. earlier: of the folders that are made before."""
    if is_owned(folder):
        return Standing(RUNNING, "another process is working on it")
    if not folder.exists() and not folder.with_name(f"{folder.name}.partial").exists():
        return Standing(TO_DO)
    try:
        state, changes = compared(made_from())
    except MmkdError as error:
        after = tuple(name for name, one in earlier.items() if one.is_work)
        return Standing(OPEN, after=after) if after else Standing(BROKEN, str(error))
    after = tuple(str(one.new).removeprefix(_UNMADE) for one in changes if str(one.new).startswith(_UNMADE))
    if changed := [str(one) for one in changes if not str(one.new).startswith(_UNMADE)]:
        return Standing(ANEW if force else STALE, f"made from other {', '.join(changed)}")
    return Standing(OPEN if after else state, after=after)


def consequences(standings: Mapping[str, Standing]) -> str:
    """What --force would make anew, what may follow from that, and what it keeps."""

    def named(*states: str) -> str:
        return ", ".join(name for name, one in standings.items() if one.state in states)

    anew, after, kept = named(STALE, ANEW), named(OPEN), named(COMPLETE)
    then = f", then {after} if what they read comes out different" if after else ""
    return f"--force makes {anew or 'nothing'} anew{then}, and keeps {kept or 'everything else'}"
