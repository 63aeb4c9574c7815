"""Progress of a run: bars on a terminal and in a notebook, plain lines every 15 s elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

from mmkd.notebook import CellBar, in_notebook
from mmkd.output import is_quiet

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
PLAIN_EVERY_S = 15.0
CELL_EVERY_S = 0.2


def say(line: str) -> None:
    """A line on how the work goes, at once; none with `-q`. What a command is asked for is printed with `print`."""
    if not is_quiet():
        print(line, flush=True)


def console(columns: int) -> "Console":
    """For tables of so many columns, whose cells are text and no markup: `[a]` is printed as it is.

    As wide as the terminal, in a file wide enough.
    """
    from rich.console import Console

    width = None if sys.stdout.isatty() else max(100, 20 * columns)
    return Console(width=width, highlight=False, markup=False)


def print_table(heads: Sequence[str], lines: Iterable[Sequence[str]], texts: Container[str] = ()) -> None:
    """Lines of text cells under their heads; all but the first column and those of `texts` hold numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place == 0 or head in texts else "right", overflow="fold")
    for line in lines:
        table.add_row(*line)
    console(len(heads) + 2).print(table)


def counted(
    made: Iterable[object], label: str, total: int, unit: str, seen: Callable[[], int], inner: str, done: int = 0
) -> None:
    """Go through the items and say how far they are, also while a single one takes long.

    total and done count units, of which each item is one; seen: how many `inner` things were met so far, in all items.
    """
    start, before, number = time.perf_counter(), seen(), done

    def rest() -> str:
        took, things = time.perf_counter() - start, seen() - before
        left = f", {(total - number) * took / (number - done):,.0f} s left" if number > done else ""
        return f", {things:,} {inner}, {things / took:,.0f}/s{left}"

    bar = CellBar(label, done, total, unit) if in_notebook() and not is_quiet() else None

    def show() -> None:
        if bar:
            bar.show(number, rest())
        else:
            say(f"  {label}: {number:,} of {total:,} {unit}{rest()}")

    with repeated(show, CELL_EVERY_S if bar else PLAIN_EVERY_S):
        for _ in made:
            number += 1
    if bar:
        bar.show(number, f", {seen() - before:,} {inner}")


@contextmanager
def repeated(action: Callable[[], None], every_s: float) -> Iterator[None]:
    """Do it at this pace while the block runs, in a thread that a notebook takes for the cell's own."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(every_s):
            action()

    thread = threading.Thread(target=copy_context().run, args=(repeat,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def track(items: Iterable[T], label: str, total: int, unit: str, done: int = 0, weight: int = 1) -> Iterator[T]:
    """Yield the items and show how far they are, how fast and how long it will take.

    total and done count units; each item stands for `weight` of them (the last one may stand for fewer).
    """
    follow = _lines
    if not is_quiet():
        follow = _bar_in_cell if in_notebook() else _bar if sys.stdout.isatty() else _lines
    yield from follow(items, label, total, unit, done, weight)


def _bar(items: Iterable[T], label: str, total: int, unit: str, done: int, weight: int) -> Iterator[T]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit} {{task.speed:.0f}}/s" if total else unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        task = progress.add_task(label, total=total, completed=done)
        for item in items:
            yield item
            progress.advance(task, weight)


def _bar_in_cell(items: Iterable[T], label: str, total: int, unit: str, done: int, weight: int) -> Iterator[T]:
    start = shown = time.perf_counter()
    bar, number = CellBar(label, done, total, unit), done
    try:
        for item in items:
            yield item
            number += weight
            now = time.perf_counter()
            if now - shown >= CELL_EVERY_S and (number < total or not total):
                shown, rate = now, (number - done) / (now - start)
                left = f", {(total - number) / rate:,.0f} s left" if total else ""
                bar.show(number, f", {_rate(rate)}/s{left}")
    finally:  # also where the cell is interrupted: the line says how far it came
        bar.show(min(number, total or number))


def _lines(items: Iterable[T], label: str, total: int, unit: str, done: int, weight: int) -> Iterator[T]:
    start = shown = time.perf_counter()
    count = 0
    for item in items:
        yield item
        count += weight
        now = time.perf_counter()
        if now - shown >= PLAIN_EVERY_S and done + count < total:
            shown = now
            rate = count / (now - start)
            left = (total - done - count) / rate
            say(f"  {label}: {done + count:,} of {total:,} {unit}, {_rate(rate)}/s, {left:,.0f} s left")


def _rate(value: float) -> str:
    """Two digits of what is slow: a rate of 0 would say that nothing happens."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
