"""What the stacks of method "stacking" cost: `python bench/stacking.py`, seconds of the processor and memory.

Vectors are made up when they are asked for: every teacher knows a third of the groups, half as well the next third, and
nothing of the others. Prints the time of the fit without that of making vectors, the peak of memory above that before,
and how far the share of wrong captions is from the true one.
"""

import argparse
import resource
import time
from typing import Any, cast

import numpy as np

from mmkd.reliability.settings import ReliabilitySettings
from mmkd.reliability.stack_stage import fit_stacks

WRONG = 0.3
MATCHES = (0.35, 0.2, 0.0)  # how much of an image's vector is in that of its caption


class MadeUp:
    """In place of a teacher's stored features; see `TeacherFeatures`."""

    def __init__(self, number: int, rows: int, groups: int, dim: int) -> None:
        self.number, self.rows, self.groups, self.dim = number, rows, groups, dim
        self.wrong_N = np.random.default_rng(0).random(rows * groups) < WRONG
        self.seconds = 0.0

    def valid(self) -> np.ndarray:
        return np.ones(self.rows * self.groups, dtype=bool)

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        start = time.process_time()
        group = int(rows[0]) // self.rows
        rng = np.random.default_rng((self.number, group))
        match = MATCHES[(self.number + group) % len(MATCHES)]
        image_ND, text_ND = rng.normal(size=(2, len(rows), self.dim))
        text_ND += match * np.where(self.wrong_N[rows][:, None], rng.normal(size=image_ND.shape), image_ND)
        sides = [
            (side / np.linalg.norm(side, axis=1, keepdims=True)).astype(np.float16) for side in (image_ND, text_ND)
        ]
        self.seconds += time.process_time() - start
        return sides[0], sides[1], np.ones(len(rows), dtype=bool)


class Rows:
    """In place of a corpus whose rows belong to no patient."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def column(self, name: str) -> list[str]:
        return [""] * self.rows


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teachers", type=int, default=9)
    parser.add_argument("--rows", type=int, default=20_000, help="of a group")
    parser.add_argument("--groups", type=int, default=9)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--stack-rows", type=int, nargs="+", default=[1_024, 2_048, 4_096])
    options = parser.parse_args()
    rows, groups = options.rows, {f"g{k}": np.arange(options.rows) + k * options.rows for k in range(options.groups)}
    print(f"{options.teachers} teachers, {options.groups} groups of {rows:,} pairs, {options.dim} dimensions")
    for fitted in options.stack_rows:
        teachers = [MadeUp(number, rows, options.groups, options.dim) for number in range(options.teachers)]
        settings = ReliabilitySettings(method="stacking", stack_rows=fitted)
        before, start = peak_mb(), time.process_time()
        found = fit_stacks(cast(Any, teachers), groups, cast(Any, Rows(rows * options.groups)), settings, 0)
        seconds = time.process_time() - start - sum(one.seconds for one in teachers)
        missed = np.mean([abs(stack.wrong - WRONG) for stack in found.values()])
        print(
            f"stack_rows {fitted:,}: {seconds:.1f} s of the processor, {peak_mb() - before:,.0f} MB; share of wrong "
            f"captions within {missed:.3f} of {WRONG} on average"
        )


if __name__ == "__main__":
    main()
