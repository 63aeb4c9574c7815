"""How long the large loads take on how many nodes, from measured unit times: a simulation, nothing of it is run.

    python bench/scale.py [--nodes 1 2 4 8 16 32] [--loads curation extraction evaluation] [--figures FILE]
                          [--cores 64] [--gpus 8] [--memory-gb 512] [--tflops 300] [--disk-gb-s 2] [--slow 5]
                          [--split 1]
    python bench/scale.py --measure [NAME ...]

The loads: curation of 24 million records, 2.9 million pairs through nine teachers with what stage 2 needs of them, and
58 data sets x 10 models. The figures (`scale_figures.json`) stand with the command that measured each; --measure
measures those that take seconds on this machine and writes all into bench/results/scale_figures.json, for --figures.
What a node is, what a GPU sustains and what the file system delivers are assumptions, given by options.

Columns: dynamic, hours of the parallel part where a free worker takes the next unit; static, where worker w of W has
the units w, w + W, ...; both again with one node of --slow times less speed; the whole with the steps of one process;
efficiency, the ideal of the parallel part over its time; what is read a second. Behind each table: from how many nodes
on which limit is reached, and what was done about it. Limits: memory of a step over that of a node, reading over what
the file system delivers, one process's steps over half of the time, efficiency of the parallel part below .9.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scale_measure import MEASURES
from scale_simulation import dynamic, static
from scale_workloads import LOADS, Figures, Load, Node

from mmkd.folders.atomic import write_json

FIGURES = Path(__file__).parent / "scale_figures.json"
MEASURED = Path(__file__).parent / "results" / "scale_figures.json"
HOUR, GIGA = 3600.0, 1e9
EFFICIENT, SERIAL_SHARE = 0.9, 0.5
HEADS = ("nodes", "workers", "dynamic, h", "static, h", "one slow: dynamic, h", "static, h", "whole, h")
MORE = ("efficiency", "read, GB/s")


@dataclass(frozen=True)
class Row:
    """One number of nodes. Times in seconds; slow: with one slow node."""

    nodes: int
    workers: int
    dynamic: float
    static: float
    slow_dynamic: float
    slow_static: float
    slow_ideal: float
    whole: float
    efficiency: float
    read_gb_s: float

    def cells(self) -> list[str]:
        times = (self.dynamic, self.static, self.slow_dynamic, self.slow_static, self.whole)
        shown = [f"{seconds / HOUR:,.2f}" for seconds in times]
        return [f"{self.nodes}", f"{self.workers:,}", *shown, f"{self.efficiency:.2f}", f"{self.read_gb_s:.2f}"]


def row(load: Load, nodes: int, slow: float) -> Row:
    """Simulate one number of nodes. slow: how many times slower one of them is, in the columns of that name."""
    workers = nodes * load.workers
    even = [1.0] * workers
    uneven = [1 / slow] * load.workers + [1.0] * (workers - load.workers)
    fast = dynamic(load.work, even)
    return Row(
        nodes,
        workers,
        fast,
        static(load.work, even),
        dynamic(load.work, uneven),
        static(load.work, uneven),
        load.work.ideal / sum(uneven),
        fast + sum(load.serial.values()),
        load.work.ideal / workers / fast,
        load.read_bytes / fast / GIGA,
    )


def limits(load: Load, rows: Sequence[Row], node: Node) -> Iterator[tuple[int, str, str]]:
    """Number of nodes from which on a limit is reached, its kind, and in words."""
    for step, size in load.memory_gb.items():
        if size > node.memory_gb:
            yield 1, "memory", f"{step or 'the workers'}: {size:,.0f} GB, a node has {node.memory_gb:,.0f}"
    serial = sum(load.serial.values())
    steps = ", ".join(f"{name} {seconds / HOUR:.2f} h" for name, seconds in load.serial.items())
    tests: tuple[tuple[str, Callable[[Row], bool], str], ...] = (
        ("reading", lambda one: one.read_gb_s > node.disk_gb_s, f"more than {node.disk_gb_s:g} GB/s are read"),
        ("serial", lambda one: serial > SERIAL_SHARE * one.whole, f"one process has half of the time ({steps})"),
        ("hand-out", lambda one: one.efficiency < EFFICIENT, f"efficiency of the parallel part below {EFFICIENT}"),
    )
    for kind, reached, words in tests:
        if found := [one.nodes for one in rows if reached(one)]:
            yield found[0], kind, words


def show(load: Load, rows: Sequence[Row], node: Node, slow: float) -> None:
    """The table of a load, and what limits it."""
    print(f"\n{load.name}: {load.work.ideal / HOUR:,.1f} hours of one worker\n")
    print(f"| {' | '.join((*HEADS, *MORE))} |\n|{'---:|' * len((*HEADS, *MORE))}")
    for one in rows:
        print(f"| {' | '.join(one.cells())} |")
    over = ", ".join(f"{one.slow_dynamic / one.slow_ideal - 1:.0%} ({one.nodes})" for one in rows)
    print(f"\nOne node {slow:g} times slower: dynamic hand-out is over the ideal by {over} on so many nodes.")
    for step, size in load.memory_gb.items():
        print(f"Memory of {step or 'the workers of a node'}: {size:,.1f} GB.")
    found = sorted(limits(load, rows, node))
    for place, (nodes, kind, words) in enumerate(found):
        opening = "First to break" if not place else "Then"
        print(f"{opening}, from {nodes} node{'s' * (nodes > 1)} on: {words}. Done about it: {load.mended[kind]}.")
    if not found:
        print("No limit is reached.")


def figures_of(path: Path) -> dict[str, Any]:
    """The figures with where they come from."""
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def measure(names: Sequence[str]) -> None:
    """Measure the named figures, all of those that can be without names."""
    found = figures_of(FIGURES)
    for name in names or MEASURES:
        found[name] |= {"value": MEASURES[name](), "source": f"python bench/scale.py --measure {name}"}
        print(f"{name}: {found[name]['value']:.3g}, {found[name]['what']}", flush=True)
    write_json(MEASURED, found)
    print(f"--figures {MEASURED}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=list(LOADS))
    parser.add_argument("--figures", type=Path, default=FIGURES)
    parser.add_argument("--cores", type=int, default=Node.cores)
    parser.add_argument("--gpus", type=int, default=Node.gpus)
    parser.add_argument("--memory-gb", type=float, default=Node.memory_gb)
    parser.add_argument("--tflops", type=float, default=Node.tflops)
    parser.add_argument("--disk-gb-s", type=float, default=Node.disk_gb_s)
    parser.add_argument("--slow", type=float, default=5.0)
    parser.add_argument("--split", type=int, default=1, help="units are cut into so many")
    parser.add_argument("--measure", nargs="*", choices=MEASURES)
    asked = parser.parse_args()
    if asked.measure is not None:
        measure(asked.measure)
        return
    figures: Figures = {name: float(one["value"]) for name, one in figures_of(asked.figures).items()}
    node = Node(asked.cores, asked.gpus, asked.memory_gb, asked.tflops, asked.disk_gb_s)
    print(f"A node: {node.cores} cores, {node.gpus} GPUs of {node.tflops:g} TFLOP/s, {node.memory_gb:,.0f} GB.")
    for name in asked.loads:
        load = LOADS[name](figures, node)
        load = replace(load, work=load.work.split(asked.split))
        show(load, [row(load, nodes, asked.slow) for nodes in sorted(asked.nodes)], node, asked.slow)


if __name__ == "__main__":
    main()
