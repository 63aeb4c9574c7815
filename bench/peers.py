"""mmkd beside the programs that a user would take otherwise, on the same inputs, side by side in one process.

    python bench/peers.py [--only NAME ...] [--rounds 5] [--out FILE]

Every comparison of `peers_cases.py` runs in a process of its own with one thread; mmkd and the peer take turns, after
one turn that warms up. Printed is a table for docs/results.md: processor time of mmkd over the peer's (the median over
the rounds of the ratio within a round; below 1 mmkd is faster; in brackets the least and the largest), the peak of
memory of a side over what the process held before its first turn, and the largest difference of the two answers. A peer
that is not installed has a row that says so. Where mmkd is slower by more than a tenth, the row says why, or that no
reason is known. Writes bench/results/peers.json. Other measurements stand in files of their own: extraction in
`extract.py`, a step of stage 2 in `train.py`, search in `search.py`.
"""

import argparse
import ctypes
import gc
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when NumPy is imported

from peers_cases import COMPARISONS, Side, Sides

from mmkd.folders.atomic import write_json
from mmkd.folders.stage import versions

RESULT = Path(__file__).parent / "results" / "peers.json"
SLOWER = 1.1
HEADS = ("work", "size", "beside", "processor time, mmkd / peer", "mmkd, s", "peak MB, mmkd and peer")
MORE = ("largest difference", "note")
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=COMPARISONS, default=list(COMPARISONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--one", choices=COMPARISONS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(asked.one, asked.rounds)))
        return
    print(f"| {' | '.join((*HEADS, *MORE))} |\n|---|---|---|---:|---:|---:|---:|---|", flush=True)
    rows = {}
    for name in asked.only:
        rows[name] = in_a_process(name, asked.rounds)
        print(line(name, rows[name]), flush=True)
    write_json(asked.out, {"rows": rows, "rounds": asked.rounds, "versions": versions()})


def in_a_process(name: str, rounds: int) -> dict[str, Any]:
    """One comparison, or why there is none."""
    if COMPARISONS[name].missing:
        return {"missing": COMPARISONS[name].module}
    command = [sys.executable, __file__, "--one", name, "--rounds", str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["without a word"]
        return {"failed": last[0]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(name: str, rounds: int) -> dict[str, Any]:
    """Both sides in turns; which comes first changes with the round."""
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        return beside(COMPARISONS[name].make(Path(folder)), rounds)


def beside(sides: Sides, rounds: int) -> dict[str, Any]:
    """Seconds, their ratios, peaks and the difference of the answers."""
    both: dict[str, Side] = {"ours": sides.ours, "theirs": sides.theirs}
    first = {name: turn(side) for name, side in both.items()}
    seconds: dict[str, list[float]] = {name: [] for name in both}
    for number in range(rounds):
        for name in sorted(both, reverse=bool(number % 2)):
            seconds[name].append(turn(both[name])["seconds"])
    ratios = [a / max(b, 1e-9) for a, b in zip(seconds["ours"], seconds["theirs"], strict=True)]
    return {
        "given": sides.given,
        "ratio": median(ratios),
        "least": min(ratios),
        "largest": max(ratios),
        "seconds": {name: median(found) for name, found in seconds.items()},
        "peak_mb": {name: found["peak_mb"] for name, found in first.items()},
        "difference": sides.difference(first["ours"]["answer"], first["theirs"]["answer"]),
    }


def turn(side: Side) -> dict[str, Any]:
    """Processor seconds of one call, its answer, and the peak of resident memory above that before it."""
    gc.collect()
    before, start = reset_peak(), time.process_time()
    answer = side()
    return {"seconds": time.process_time() - start, "answer": answer, "peak_mb": max(0.0, peak_mb() - before)}


def reset_peak() -> float:
    """Let the kernel's record of this process's peak begin anew; returns the resident memory now, MB.

    What the C library keeps for later is given back first, so that a side does not begin in the other's leavings.
    """
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # of glibc
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mb()


def peak_mb() -> float:
    (found,) = [text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM")]
    return int(found.split()[1]) * 1024 / MIB


def line(name: str, row: dict[str, Any]) -> str:
    """A row of the table."""
    case = COMPARISONS[name]
    if "ratio" not in row:
        note = f"not installed (`{row['missing']}`)" if "missing" in row else f"failed: {row['failed']}"
        return f"| {case.what} | | {case.peer} | – | – | – | – | {note} |"
    apart = "–" if math.isnan(row["difference"]) else f"{row['difference']:.1e}"
    slow = (case.slower or "slower, and no reason is known") if row["ratio"] > SLOWER else ""
    return (
        f"| {case.what} | {row['given']} | {case.peer} | {row['ratio']:.2f} ({row['least']:.2f} to "
        f"{row['largest']:.2f}) | {row['seconds']['ours']:.3f} | {row['peak_mb']['ours']:,.0f}, "
        f"{row['peak_mb']['theirs']:,.0f} | {apart} | {slow} |"
    )


if __name__ == "__main__":
    main()
