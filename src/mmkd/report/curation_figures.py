"""Figures of a corpus: how many records each step left, and how lengths and sizes are spread."""

from collections.abc import Mapping
from itertools import pairwise

from mmkd.curation.ledger.tally import binned, quantile
from mmkd.report.plot import Bar, Plot, Text, names, numeric
from mmkd.report.theme import ROW_PX

BINS = 40
FEW = 8  # counts, up to which ticks are whole numbers
CUT = 0.995  # a few values far out would press the rest into one bar; the last bar holds them


def funnel_plot(left: Mapping[str, int]) -> Plot:
    """A bar per step: what was left after it."""
    bars = [
        Bar((0, count), (place - 0.38, place + 0.38), says=f"{name}: {count:,} left")
        for place, (name, count) in enumerate(left.items())
    ]
    texts = [Text(count, place, f"{count:,}", shift=6) for place, count in enumerate(left.values())]
    x = numeric(list(left.values()), zero=True, whole=True, pad=0.12)
    return Plot(x, names(list(left)), ROW_PX * len(left), bars=bars, texts=texts)


def spread_plot(counts: Mapping[int, int], unit: str) -> Plot:
    """Bars of equal width. counts: value -> records; must not be empty."""
    most = quantile(counts, CUT)
    held: dict[int, int] = {}
    for value, times in counts.items():
        held[min(value, most)] = held.get(min(value, most), 0) + times
    edges, sums = binned(held, BINS)
    last = len(sums) - 1 if max(counts) > most else None
    spans = [f"{low} or more" if n == last else span_text(low, edges[n + 1]) for n, low in enumerate(edges[:-1])]
    bars = [
        Bar((low, high - 0.05 * (high - low)), (0, times), says=f"{span} {unit}: {times:,}")
        for (low, high), times, span in zip(pairwise(edges), sums, spans, strict=True)
    ]
    y = numeric(sums, "records", zero=True, whole=max(sums) < FEW)
    return Plot(numeric(edges, unit, whole=True, pad=0.01), y, 180, bars=bars)


def span_text(low: int, end: int) -> str:
    """The whole numbers from `low` up to, but not with, `end`."""
    return str(low) if end == low + 1 else f"{low} to {end - 1}"
