"""The tables that the stage `reliability` prints."""

import math

from mmkd.progress import console
from mmkd.reliability.rank_test import RankTest
from mmkd.reliability.table import GroupReliability, GroupStack, ReliabilityTable

Z_95 = 1.96
SHOWN = 0.005  # weights below it print as nothing


def print_table(reliability: ReliabilityTable) -> None:
    """Own caption's percentile within the group (.50 = chance), its 95 % interval, and the weight where it is not 0."""
    from rich.table import Table

    names = [teacher.name for teacher in reliability.teachers]
    table = Table(
        reliability.group_word,
        "pairs",
        *names,
        title=f"rank test within the {reliability.group_word}: percentile [95 %] (weight)",
    )
    cell = {(c.group, c.teacher): c for c in reliability.cells}
    for group in reliability.group_names:
        row = [cell[group, name] for name in names]
        shown = [_percentile(c) + (f" ({c.weight:.2f})" if c.weight else "") for c in row]
        table.add_row(group, str(max(c.n for c in row)), *shown)
    table.add_section()
    table.add_row("logit scale", "", *[f"{teacher.scale:.1f}" for teacher in reliability.teachers])
    table.add_row(
        "dispersion", "", *[f"{t.image_dispersion:.2f} / {t.text_dispersion:.2f}" for t in reliability.teachers]
    )
    console(2 + len(names)).print(table)


def _percentile(cell: GroupReliability) -> str:
    """`.se` of few rows is often 0, so the interval is no narrower than that of a teacher that guesses."""
    guessing = math.sqrt(RankTest(cell.percentile, cell.se, cell.n).variance) / 2
    half = Z_95 * max(cell.se, guessing)
    low, high = max(0.0, cell.percentile - half), min(1.0, cell.percentile + half)
    return f"{cell.percentile:.2f} [{low:.2f}, {high:.2f}]"


def print_stacks(reliability: ReliabilityTable) -> None:
    """Weights per standard deviation of the cosines, wrong captions and gain in held-out nats a pair, with 95 %
    intervals. Where modalities are divided, beside it the gain with the ratio of the modality's weights."""
    from rich.table import Table

    names = [teacher.name for teacher in reliability.teachers]
    divided = ["modality"] if any(stack.whole for stack in reliability.stacks) else []
    columns = [reliability.group_word, "pairs", *names, "wrong captions", "nats a pair", "best teacher", *divided]
    title = "stack of teachers: weight per standard deviation [95 %]; held-out likelihood over guessing"
    table = Table(*columns, title=title)
    cell = {(c.group, c.teacher): c for c in reliability.cells}
    for stack in reliability.stacks:
        weights = [_weight(cell[stack.group, name]) for name in names]
        table.add_row(stack.group, str(stack.n), *weights, *_of_group(stack, any(weights), bool(divided)))
    console(len(columns)).print(table)


def _weight(cell: GroupReliability) -> str:
    if cell.z_weight < SHOWN:
        return ""
    low, high = (bound * cell.z_weight / cell.slope for bound in (cell.slope_low, cell.slope_high))
    return f"{cell.z_weight:.2f} [{low:.2f}, {high:.2f}]"


def _of_group(stack: GroupStack, has_stack: bool, divided: bool) -> list[str]:
    wrong = f"{stack.wrong_captions:.2f} [{stack.wrong_low:.2f}, {stack.wrong_high:.2f}]" if has_stack else "no stack"
    of_whole = [f"{stack.gain_whole:.3f}" if stack.whole else ""] if divided else []
    return [wrong, f"{stack.gain:.3f}", f"{stack.gain_best:.3f}", *of_whole]
