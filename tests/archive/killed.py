"""Index pictures again and again, killed by kill -9 at a random moment after some writes, while a reader looks on.

As a script: `killed.py SOURCE ARCHIVE DEATHS SEED`. Prints how often it was killed and how many rows were there
each time. Each life is a process of its own, forked from one that has imported all but opened nothing.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import lancedb  # noqa: F401
from archive_world import FACTS, ColourModel

from mmkd.archive import index as module
from mmkd.archive.archive import Archive
from mmkd.archive.index import Options, index


def life(source: Path, place: Path) -> int:
    """Process number of one that indexes the source, some rows at a time."""
    module.READ, module.COMMITTED_ROWS = 32, 32
    if child := os.fork():
        return child
    try:
        index(source, ColourModel(), Archive.create(place, FACTS), Options())
        os._exit(0)
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(1)


def has_ended(child: int) -> bool:
    """Whether it found nothing more to do; it can still be waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def writes(place: Path) -> int:
    """How many there have been: each leaves a version of the table, until old ones are cleared."""
    return sum(1 for _ in place.glob("pictures.lance/_versions/*"))


def rows(place: Path) -> int:
    """How many rows a new process reads, all of whose vectors are whole; -1 where there is no archive yet."""
    read, write = os.pipe()
    if child := os.fork():
        os.close(write)
        with os.fdopen(read) as stream:
            found = stream.read()
        assert os.waitpid(child, 0)[1] == 0, "the archive cannot be read"
        return int(found)
    try:
        count = -1
        if (place / "pictures.lance").is_dir():
            archive = Archive.open(place)
            ids = list(archive.states())
            assert len(ids) == len(set(ids)) == len(archive)
            assert len(archive.search(ColourModel().encode_texts(["red"])[0], 10_000)) == len(ids)
            count = len(ids)
        os.write(write, str(count).encode())
        os._exit(0)
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(1)


def main() -> None:
    source, place, deaths, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    drawn, counts, killed = random.Random(seed), [], 0
    for _ in range(deaths):
        before = writes(place)
        child = life(source, place)
        wanted, latest = before + drawn.randrange(3), time.monotonic() + 20
        while writes(place) < wanted and not has_ended(child) and time.monotonic() < latest:
            time.sleep(0.001)
        time.sleep(drawn.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        counts.append(rows(place))
    child = life(source, place)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print("ended", json.dumps({"killed": killed, "counts": counts, "last": rows(place), "exit": ended}))


if __name__ == "__main__":
    main()
