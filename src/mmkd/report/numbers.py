"""How a metric's numbers are written: shares in %, indices and losses as they are."""

from dataclasses import dataclass

from mmkd.evaluation.format.results import PERCENT, Comparison, Result, unit_of

MISSING = "–"


@dataclass(frozen=True)
class Scale:
    """factor: times the stored value. unit: after values; of differences it is `points`."""

    factor: float
    digits: int
    unit: str
    points: str

    def value(self, value: float | None) -> str:
        return MISSING if value is None else f"{self.factor * value:.{self.digits}f}"

    def signed(self, value: float) -> str:
        return f"{self.factor * value:+.{self.digits}f}"

    def interval(self, low: float | None, high: float | None, sign: str = "") -> str:
        """The bounds in brackets; empty where there are none."""
        if low is None or high is None:
            return ""
        return "[" + ", ".join(f"{self.factor * bound:{sign}.{self.digits}f}" for bound in (low, high)) + "]"


def scale_of(metric: str) -> Scale:
    """The scale of a metric by its name."""
    unit = unit_of(metric)
    name = f" {unit.name}" if unit.name else ""
    return Scale(unit.scale, unit.decimals, name, " points" if unit == PERCENT else name)


def spread(row: Result) -> str:
    """Value with interval."""
    scale = scale_of(row.metric)
    return " ".join(filter(None, [scale.value(row.value) + scale.unit, scale.interval(row.low, row.high)]))


def gain(row: Comparison) -> str:
    """Difference with interval."""
    scale = scale_of(row.metric)
    return " ".join(filter(None, [scale.signed(row.difference) + scale.points, scale.interval(row.low, row.high, "+")]))


def p_text(p: float) -> str:
    """A p-value without false precision."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
