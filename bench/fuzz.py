"""Damaged files through every parser: nothing but counted reasons may come of them, in time and in bounded memory.

    python bench/fuzz.py [--inputs 10000] [--seed 0] [--parser NAME ...] [--first 0] [--keep FOLDER]

Each parser of `fuzz_parsers.py` gets its share of the inputs, in a process of its own. A fault is an exception that is
none of mmkd's, the end of the process, more than LIMIT_S of processor time or more than LIMIT_MB of memory. Of each
fault a line gives the command that repeats it; --keep also keeps its input.
"""

import argparse
import gc
import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from fuzz_parsers import PARSERS, random_of

LIMIT_S, LIMIT_MB = 5, 512
HUNG_S = 60  # without an answer, on a machine that is busy: it waits for something
ROOM_BYTES = 4 * 2**30  # of address space beyond what the process has: protects the machine, decides nothing
FAULT = "fault: "


@dataclass
class Tally:
    """Of one parser. slowest: processor seconds. peak: MB beyond what the process had before."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0
    peak: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parser", nargs="+", choices=PARSERS, default=list(PARSERS), metavar="NAME")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--keep", type=Path, help="a folder for the inputs of faults")
    asked = parser.parse_args()
    each = -(-asked.inputs // len(asked.parser))
    found = {}
    for name in asked.parser:
        found[name] = tally(name, asked.seed, range(asked.first, asked.first + each), asked.keep)
        print(row(name, found[name]), flush=True)
    faults = [f"{name}: {fault}" for name, one in found.items() for fault in one.faults]
    total = Counter[str]()
    for one in found.values():
        total.update(one.outcomes)
    print(f"\n{total.total():,} inputs: " + listed(total) + f"; {len(faults)} faults (seed {asked.seed})")
    print("\n".join(faults))
    raise SystemExit(bool(faults))


def row(name: str, one: Tally) -> str:
    return (
        f"| {name} | {one.outcomes.total():,} | {listed(one.outcomes)} | {len(one.faults)} | {one.slowest:.1f} | "
        f"{one.peak:.0f} |"
    )


def listed(outcomes: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in outcomes.most_common())


def tally(name: str, seed: int, numbers: range, keep: Path | None) -> Tally:
    """All inputs of one parser; after the end of a process another one goes on behind the input that ended it."""
    found = Tally()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        while numbers:
            for number, outcome, seconds, megabytes in apart(name, seed, numbers, Path(folder)):
                numbers = range(number + 1, numbers.stop)
                found.slowest, found.peak = max(found.slowest, seconds), max(found.peak, megabytes)
                outcome = f"{FAULT}{megabytes:,.0f} MB" if megabytes > LIMIT_MB else outcome
                if outcome.startswith(FAULT):
                    found.faults.append(
                        f"{outcome.removeprefix(FAULT)}: --seed {seed} --parser '{name}' --first {number} --inputs 1"
                    )
                    kept(name, seed, number, keep)
                found.outcomes["fault" if outcome.startswith(FAULT) else outcome] += 1
    return found


def kept(name: str, seed: int, number: int, folder: Path | None) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        data = PARSERS[name].damaged(random_of(seed, name, number), PARSERS[name].seeds())
        (folder / f"{seed}-{number}-{Path(PARSERS[name].file).name}").write_bytes(data)


Answer = tuple[int, str, float, float]


def apart(name: str, seed: int, numbers: range, folder: Path) -> Iterator[Answer]:
    """Number, outcome, seconds and MB of each input, up to one that ends the process."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=work, args=(there, name, seed, numbers, folder))
    process.start()
    there.close()
    following = numbers.start
    try:
        while here.poll(HUNG_S):
            answer: Answer = here.recv()
            yield answer
            following = answer[0] + 1
        process.kill()
        yield following, f"{FAULT}hangs", HUNG_S, 0.0
    except EOFError:
        process.join()
        if following < numbers.stop:
            yield following, f"{FAULT}{how_it_ended(process.exitcode or 0)}", 0.0, 0.0
    process.join()


def how_it_ended(code: int) -> str:
    if code == -signal.SIGXCPU:
        return f"more than {LIMIT_S} s"
    return f"process ended by {signal.Signals(-code).name}" if code < 0 else f"process ended with {code}"


def work(answers: Connection, name: str, seed: int, numbers: range, folder: Path) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # C libraries report damage there
    warnings.simplefilter("ignore")
    os.environ["MMKD_CACHE"] = str(folder / "cache")
    parser = PARSERS[name]
    sound = parser.seeds()
    for place, data in enumerate(sound):  # libraries are imported, before anything is measured
        attempt(name, folder / f"sound{place}", data)
    resource.setrlimit(resource.RLIMIT_AS, (int(memory("VmSize") * 2**20) + ROOM_BYTES,) * 2)
    for number in numbers:
        data = parser.damaged(random_of(seed, name, number), sound)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is from here on
        before, start = memory("VmRSS"), time.process_time()
        resource.setrlimit(resource.RLIMIT_CPU, (int(start) + LIMIT_S + 1, resource.RLIM_INFINITY))
        outcome = attempt(name, folder / str(number), data)
        answers.send((number, outcome, time.process_time() - start, memory("VmHWM") - before))
        shutil.rmtree(folder / str(number), ignore_errors=True)
        if number % 100 == 0:
            gc.collect()


def attempt(name: str, folder: Path, data: bytes) -> str:
    try:
        return PARSERS[name].outcome(folder, data)
    except BaseException as error:  # also pyo3's panics, which are no Exception
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/mmkd/" in frame.filename]
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
        return f"{FAULT}{type(error).__name__} at {place} ({str(error)[:80]!r})"


def memory(name: str) -> float:
    """MB, by the kernel."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
