"""Commands of mmkd, each a process of its own, that meet a full disk, Ctrl-C or kill -9 at a chosen place.

As a script it reads lines, each a list of jobs `{"arguments": [...], "fault": [kind, place]}`, and answers each with
how they ended: the exit code (minus a signal) and the lines left on standard error. Processes are forked from one that
has imported all libraries, which takes longer than most of the commands, and opened nothing.

kinds: `full`, `interrupt`, `kill` at a file of a pattern, when all of it is written and it has no name yet, half of it
gone for `kill`; the second of such files where the pattern ends in `:2`. `limit`: no file may be larger than so many
bytes, which the system enforces for every library. `rows-full`, `rows-interrupt`, `rows-kill`: when rows are added to
an archive for the n-th time.
"""

import errno
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mmkd.archive import index as indexing
from mmkd.archive.lance import LanceStore
from mmkd.cli import main
from mmkd.inference import blocks

SYNC = os.fsync


def strike(kind: str) -> None:
    if kind.endswith("full"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.kill(os.getpid(), signal.SIGINT if kind.endswith("interrupt") else signal.SIGKILL)


def at_draft(kind: str, place: str) -> None:
    pattern, _, number = place.partition(":")
    left = iter(range(int(number or 1) - 1, -1, -1))

    def dying(handle: int) -> None:
        draft = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if draft.suffix == ".tmp" and fnmatch(draft.name, f".{pattern}.*.tmp") and next(left, 1) == 0:
            if kind == "kill":
                os.truncate(draft, draft.stat().st_size // 2)
            strike(kind)
        SYNC(handle)

    os.fsync = dying  # type: ignore[assignment]


def at_rows(kind: str, place: str) -> None:
    put, left = LanceStore.put, iter(range(int(place) - 1, -1, -1))

    def dying(self: LanceStore, *given: Any) -> None:
        if next(left, 1) == 0:
            strike(kind)
        put(self, *given)

    LanceStore.put = dying  # type: ignore[method-assign, assignment]


def at_size(kind: str, place: str) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(place), int(place)))


FAULTS: dict[str, Callable[[str, str], None]] = {
    **dict.fromkeys(("full", "interrupt", "kill"), at_draft),
    **dict.fromkeys(("rows-full", "rows-interrupt", "rows-kill"), at_rows),
    "limit": at_size,
}


def life(arguments: list[str], fault: list[str]) -> tuple[int, list[str]]:
    """Exit code and standard error."""
    read, write = os.pipe()  # no file: those have the limit of the fault
    with os.fdopen(read, "rb") as told, open(os.devnull, "r+") as nowhere:
        if not (process := os.fork()):
            os.dup2(write, 2)
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 0)
            sys.argv = ["mmkd", *arguments]
            signal.signal(signal.SIGINT, signal.default_int_handler)
            code: object = 1
            try:
                if fault:
                    FAULTS[fault[0]](*fault)
                main()
                code = 0
            except SystemExit as ended:
                code = ended.code or 0
            except BaseException:
                import traceback

                traceback.print_exc()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 1)
        os.close(write)
        lines = told.read().decode(errors="replace").splitlines()
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), lines


if __name__ == "__main__":
    import lancedb  # noqa: F401
    import onnx  # noqa: F401
    import torch
    import transformers  # noqa: F401

    import mmkd.adapt.adapt
    import mmkd.archive.hits
    import mmkd.export.export
    import mmkd.labels.page
    import mmkd.teachers.load  # noqa: F401

    torch.set_num_threads(1)
    blocks.BLOCK, indexing.READ, indexing.COMMITTED_ROWS = 4, 4, 4
    for line in sys.stdin:
        ended = [life(job["arguments"], job["fault"]) for job in json.loads(line)]
        print("ended", json.dumps(ended), flush=True)
