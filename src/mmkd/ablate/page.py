"""The summary as one page: a table, the differences with their intervals, and curves where variants lie on lines."""

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go

from mmkd.ablate.results import Row
from mmkd.ablate.settings import DEFAULT
from mmkd.ablate.summary import Summary
from mmkd.ablate.tables import HEAD, MEANING, SHARE, cells, limit_sentence
from mmkd.report import markup
from mmkd.report.theme import HUES, INK, MUTED, OURS, RIVAL, ROW_PX, label, styled

DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x")


def page(title: str, about: str, axis: str, lines: Sequence[Summary], rows: Sequence[Row]) -> str:
    """The whole document. axis: what the variants' `x` means."""
    return markup.page(f"mmkd ablation: {title}", list(_body(title, about, axis, lines, rows)))


def _body(title: str, about: str, axis: str, lines: Sequence[Summary], rows: Sequence[Row]) -> Iterator[str]:
    yield markup.heading(1, title)
    if about:
        yield markup.paragraph(about, kind="lead")
    if told := limit_sentence(rows):
        yield markup.paragraph(told)
    if any(line.line for line in lines):
        says = f"zero-shot accuracy of the student, mean over modalities and seeds, against: {axis}"
        yield markup.figure("curves", curves_figure(lines, axis), says)
    if compared := [line for line in lines if line.difference is not None]:
        says = "difference of each variant, in points of accuracy, with the paired t interval over seeds"
        if all(line.t is None for line in compared):
            says = "difference of each variant, in points of accuracy; one seed has no interval"
        yield markup.figure("differences", differences_figure(compared), says)
    main = [markup.Line(line.variant, [markup.Cell(text) for text in cells(line)[1:]], _kind(line)) for line in lines]
    yield markup.table(HEAD, main, "the student of each variant")
    yield markup.paragraph(MEANING, kind="muted")
    modalities = list(dict.fromkeys(name for line in lines for name in line.by_modality))
    each = [
        markup.Line(
            line.variant, [markup.Cell(SHARE.value(line.by_modality.get(name))) for name in modalities], _kind(line)
        )
        for line in lines
    ]
    yield markup.table(["variant", *modalities], each, "zero-shot accuracy in each modality, %, mean over seeds")
    if told_of := [[line.variant, line.about] for line in lines if line.about]:
        yield markup.text_table(["variant", "what it is"], told_of)


def _kind(line: Summary) -> str:
    return "ours" if line.variant == DEFAULT else ""


def differences_figure(lines: Sequence[Summary]) -> go.Figure:
    """A mark for each variant, with its interval where there is one."""
    figure = go.Figure()
    scale = SHARE.factor
    centre = [scale * (line.difference or 0.0) for line in lines]
    bars = [(0.0, 0.0) if line.t is None else (scale * line.t.low, scale * line.t.high) for line in lines]
    beyond = [low > 0 or high < 0 for low, high in bars]
    colours = [OURS if sure and x > 0 else RIVAL if sure else MUTED for sure, x in zip(beyond, centre, strict=True)]
    for line, x, (low, high), colour in zip(lines, centre, bars, colours, strict=True):
        has = line.t is not None
        figure.add_scatter(
            x=[x],
            y=[f"{label(line.variant)} − {label(line.against)}"],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high - x if has else 0],
                "arrayminus": [x - low if has else 0],
                "color": colour,
                "thickness": 2,
                "width": 0,
            },
            mode="markers",
            marker={"color": colour, "size": 10, "symbol": "circle" if has else "circle-open"},
            hovertemplate=f"{label(line.variant, 60)}: {x:+.1f} points<extra></extra>",
        )
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title={"text": "← behind · points · ahead →", "font": {"size": 12, "color": MUTED}})
    return styled(figure, ROW_PX * len(lines) + 84)


def curves_figure(lines: Sequence[Summary], axis: str) -> go.Figure:
    """A curve for each name of `line`, in the order in which they appear."""
    figure = go.Figure()
    for number, name in enumerate(dict.fromkeys(line.line for line in lines if line.line)):
        points = sorted(
            (line.x, SHARE.factor * line.mean) for line in lines if line.line == name and line.x is not None
        )
        colour = HUES[number % len(HUES)]
        figure.add_scatter(
            x=[x for x, _ in points],
            y=[value for _, value in points],
            name=label(name),
            mode="lines+markers",
            line={"color": colour, "width": 2.5, "dash": DASHES[number % len(DASHES)]},
            marker={"size": 8, "symbol": SYMBOLS[number % len(SYMBOLS)]},
            hovertemplate=f"{label(name)}, %{{x}}: %{{y:.1f}} %<extra></extra>",
        )
    figure.update_xaxes(title={"text": axis, "font": {"size": 12, "color": MUTED}})
    figure = styled(figure, 380, legend=True)
    figure.update_yaxes(ticksuffix=" %  ")
    return figure
