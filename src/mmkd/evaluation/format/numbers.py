"""How metrics are written: their names, and their numbers as shares in %, indices and losses as they are."""

from dataclasses import dataclass

from mmkd.evaluation.format.results import ALIKE, Comparison, Overall, Result

MISSING = "–"
NO_INTERVAL = "(no interval: replicates alike)"
LABELS = (
    ("image_to_text_", "I→T "),
    ("text_to_image_", "T→I "),
    ("recall@", "R@"),
    ("harrell_c", "Harrell C"),
    ("uno_c", "Uno C"),
    ("auc", "AUC"),
)


@dataclass(frozen=True)
class Scale:
    """factor: times the stored value. unit: after values, with a space before it; of differences it is `points`."""

    factor: float
    digits: int
    unit: str = ""

    @property
    def points(self) -> str:
        return " points" if self == PERCENT else self.unit

    def value(self, value: float | None) -> str:
        return MISSING if value is None else f"{self.factor * value:.{self.digits}f}"

    def signed(self, value: float) -> str:
        return f"{self.factor * value:+.{self.digits}f}"

    def interval(self, low: float | None, high: float | None, sign: str = "") -> str:
        """The bounds in brackets; empty where there are none."""
        if low is None or high is None:
            return ""
        return "[" + ", ".join(f"{self.factor * bound:{sign}.{self.digits}f}" for bound in (low, high)) + "]"


PERCENT, INDEX = Scale(100, 1, " %"), Scale(1, 3)
PLAIN = {
    **dict.fromkeys(("harrell_c", "uno_c", "dynamic_auc", "brier", "brier_gain"), INDEX),
    "nll": Scale(1, 3, " nats"),
    "median_rank": Scale(1, 1),
    "set_size": Scale(1, 2),
    "corruption_error": INDEX,
}
"""Ending of a metric's name -> its scale; all others are shares."""


def scale_of(metric: str) -> Scale:
    return next((scale for ending, scale in PLAIN.items() if metric.endswith(ending)), PERCENT)


def metric_label(metric: str) -> str:
    for name, shown in LABELS:
        metric = metric.replace(name, shown)
    return metric.replace("_", " ")


def spread(row: Result) -> str:
    """Value with interval."""
    scale = scale_of(row.metric)
    return f"{scale.value(row.value)}{scale.unit} {bounds(row)}".rstrip()


def gain(row: Comparison) -> str:
    """Difference with interval."""
    scale = scale_of(row.metric)
    return f"{scale.signed(row.difference)}{scale.points} {bounds(row)}".rstrip()


def bounds(row: Result | Comparison) -> str:
    """The interval in brackets, with signs of a difference; where replicates say nothing, that; else empty."""
    if ALIKE in row.note:
        return NO_INTERVAL
    return scale_of(row.metric).interval(row.low, row.high, "+" if isinstance(row, Comparison) else "")


def rank_text(row: Overall) -> str:
    """Mean rank with interval."""
    return f"{row.mean_rank:.2f} [{row.mean_rank_low:.2f}, {row.mean_rank_high:.2f}]"


def firsts_text(row: Overall) -> str:
    """Number of firsts with interval; halves and thirds where places are shared."""
    return f"{row.firsts:.3g} [{row.firsts_low:.3g}, {row.firsts_high:.3g}]"


def p_text(p: float) -> str:
    """A p-value without false precision."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def shown_p(p: float) -> str:
    """The same in a column of p-values."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"
