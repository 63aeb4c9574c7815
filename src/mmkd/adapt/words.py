"""What an adaptation says of itself, on the page, on the terminal and in the model card."""

from collections.abc import Sequence

from mmkd.adapt.classifier import Facts
from mmkd.adapt.measure import METRICS, Measured, Value
from mmkd.adapt.methods import METHODS

HEADS = (
    "labels a class",
    "used",
    "zero-shot",
    "adapted",
    "gain [95 % interval]",
    "gain in accuracy",
    "seeds",
    "verdict",
    "chosen",
)


def percent(value: Value, sign: str = "") -> str:
    """In percent, with its interval."""
    if value.low is None or value.high is None:
        return _points(value.value, sign)
    return f"{_points(value.value, sign)} [{_points(value.low, sign)}, {_points(value.high, sign)}]"


def _points(value: float, sign: str) -> str:
    return f"{round(100 * value, 1) + 0:{sign}.1f}"  # + 0: no -0.0


def heads_and_lines(rows: Sequence[Measured]) -> tuple[list[str], list[list[str]]]:
    """The table, without columns that have nothing to say, such as seeds of which there was one."""
    lines = _lines(rows)
    kept = [place for place in range(len(HEADS)) if any(line[place] for line in lines)]
    return [HEADS[place] for place in kept], [[line[place] for place in kept] for line in lines]


def methods_in(rows: Sequence[Measured]) -> list[str]:
    """What the names in the column `chosen` mean."""
    used = [one for one in METHODS if any(one.name in row.methods for row in rows)]
    return [f"{one.name}: {one.what} ({one.source})." for one in used]


def _lines(rows: Sequence[Measured]) -> list[list[str]]:
    return [
        [
            row.name,
            f"{row.labels:,.0f}",
            percent(row.zero_shot[METRICS[0]]),
            percent(row.adapted[METRICS[0]]),
            percent(row.gain[METRICS[0]], "+"),
            percent(row.gain[METRICS[1]], "+"),
            "" if row.spread[0] == row.spread[1] else f"{100 * row.spread[0]:+.1f} to {100 * row.spread[1]:+.1f}",
            row.verdict,
            ", ".join(f"{name} {count}x" for name, count in row.methods.items()),
        ]
        for row in rows
    ]


def verdict(row: Measured) -> str:
    """One sentence on the number of labels that the published classifier has."""
    gain = percent(row.gain[METRICS[0]], "+")
    said = {
        "better": f"Adaptation is better than zero-shot: balanced accuracy {gain} points.",
        "worse": f"Warning: adaptation is worse than zero-shot: balanced accuracy {gain} points.",
    }
    unclear = f"Warning: no gain over zero-shot is shown: balanced accuracy {gain} points, and the interval holds zero."
    return said.get(row.verdict, unclear)


def chosen(facts: Facts, why: str) -> str:
    """What was published, and why."""
    if facts.method == "zero-shot":
        return f"Published: zero-shot, the model is not adapted ({why})."
    return f"Published: {facts.method}, {facts.setting} ({facts.source}; {why})."
