"""One of several processes that train together, from its first line to its last: what it prints and how it ends."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mmkd.distributed import join_world
from mmkd.executors.failures import mendable
from mmkd.executors.plan import read_note, write_note
from mmkd.executors.remote import add_to_log, copied_to, print_to
from mmkd.output import NoTerminal, calm_libraries
from mmkd.processes import end_with_parent
from mmkd.training.loop import Place

Body = Callable[..., Mapping[str, int]]
STOPPED = 75  # exit code of a process that has saved after SIGTERM; any but 0, as torchrun waits for a result then

WAIT_S = 1.0  # longer than torchrun's launcher takes to see that a process has ended


@dataclass(frozen=True)
class End:
    """Why a process did not come to its end. at: seconds since 1970, by the machine's clock, which all of them share.

    stopped: by SIGTERM, everything is saved. error: class of `mmkd.errors`, "" for a defect. problem: its words.
    """

    rank: int
    at: float
    stopped: bool = False
    error: str = ""
    problem: str = ""


def log_of(logs: Path, rank: int) -> Path:
    """What the process prints."""
    return logs / f"process-{rank}.log"


def _note_of(logs: Path, rank: int) -> Path:
    return logs / f"process-{rank}.end"


def clear_ends(logs: Path) -> None:
    """Remove the notes of an earlier start."""
    for path in logs.glob("process-*.end"):
        path.unlink()


def ends_in(logs: Path) -> list[End]:
    """Of the processes that said why they ended, the first one first."""
    notes = [read_note(path) for path in logs.glob("process-*.end")]
    return sorted((End(**note) for note in notes if note), key=lambda end: end.at)


def train_together(body: Body, arguments: tuple[Any, ...], place: Place, logs: Path) -> Mapping[str, int]:
    """What each process does: `body(*arguments, place)` with the world that it is one of. Returns the body's counts.

    It prints to its log, the first process to the driver's streams, too. Ctrl-C ends it at once, wherever it is, and
    so does the end of the process that started it. Raises SystemExit, never anything else: with STOPPED when all is
    saved after SIGTERM, else with 1 when a note says why.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    end_with_parent()
    calm_libraries()
    rank, counts = int(os.environ["RANK"]), dict[str, int]()
    add_to_log(log_of(logs, rank), f"process {rank} of {os.environ['WORLD_SIZE']}, {time.strftime('%F %T')}")
    with _printing(rank, log_of(logs, rank)), _telling(logs, rank), join_world() as world, _telling(logs, rank):
        counts.update(body(*arguments, replace(place, world=world)))
    return counts


@contextmanager
def _telling(logs: Path, rank: int) -> Iterator[None]:
    """How the block ends, if not well, is told before the others find this process gone, and end for that."""
    try:
        yield
    except SystemExit as ended:
        if ended.code:
            raise
        _tell(logs, End(rank, time.time(), stopped=True))
        raise SystemExit(STOPPED) from None
    except Exception as error:
        _tell(logs, End(rank, time.time(), error=mendable(error), problem=f"{error}"))
        traceback.print_exc()
        if not mendable(error):  # maybe as another is gone, which is to be found first
            time.sleep(WAIT_S)
        raise SystemExit(1) from None


def _tell(logs: Path, end: End) -> None:
    write_note(_note_of(logs, end.rank), asdict(end))


@contextmanager
def _printing(rank: int, log: Path) -> Iterator[None]:
    if rank:
        print_to(log)
        yield
    else:
        with copied_to(log), redirect_stdout(NoTerminal(sys.stdout)):  # bars would fill the log
            yield
