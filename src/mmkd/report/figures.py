"""Figures of results and differences: rows in, plotly figures out."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from mmkd.evaluation.format.results import MEAN, Comparison, Ranking, Result
from mmkd.report.numbers import Scale, gain, p_text, scale_of, spread
from mmkd.report.theme import GRID, HUES, INK, LIMIT, MUTED, OURS, PAPER, ROW_PX, WEAK, kind_colour, kind_symbol, label
from mmkd.report.theme import styled as _styled


def means_figure(rows: Sequence[Result], main: str, teachers: Sequence[str]) -> go.Figure:
    """A line per row (model) with its interval, in the order given."""
    scale = scale_of(rows[0].metric)
    figure = go.Figure()
    for row in rows:
        colour = kind_colour(row.model, main, teachers)
        figure.add_scatter(
            x=[scale.factor * row.value],
            y=[label(row.model)],
            error_x={**_bars([row], scale), "color": colour},
            mode="markers",
            marker={
                "color": colour,
                "size": 13 if row.model == main else 10,
                "symbol": kind_symbol(row.model, main, teachers),
                "line": {"width": 2, "color": colour},
            },
            hovertemplate=f"%{{y}}: {spread(row)}<extra></extra>",
        )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(ticksuffix=scale.unit)
    return _styled(figure, ROW_PX * len(rows) + 64)


def rivals_figure(rows: Sequence[Comparison], main: str, teachers: Sequence[str]) -> go.Figure:
    """A line per rival: what the main model gains on it; right of zero it is ahead."""
    return forest_figure({row.rival: [row] for row in rows}, main, teachers)


def forest_figure(
    groups: Mapping[str, Sequence[Comparison]], main: str, teachers: Sequence[str], emphasised: Sequence[str] = ()
) -> go.Figure:
    """A line per group with a mark per rival in it: difference and interval. emphasised: groups that are means."""
    rivals = list(dict.fromkeys(row.rival for rows in groups.values() for row in rows))
    one_each = all(len(rows) == 1 for rows in groups.values())
    figure = go.Figure()
    places = {name: place for place, name in enumerate(groups)}
    for number, rival in enumerate(rivals):
        found = [(name, row) for name, rows in groups.items() for row in rows if row.rival == rival]
        scale = scale_of(found[0][1].metric)
        colour = kind_colour(rival, main, teachers) if one_each else (OURS, LIMIT, *HUES)[number % 12]
        shift = 0.0 if one_each else 0.32 * (number / max(1, len(rivals) - 1) - 0.5)
        figure.add_scatter(
            x=[scale.factor * row.difference for _, row in found],
            y=[places[name] + shift for name, _ in found],
            error_x={**_bars([row for _, row in found], scale), "color": colour},
            mode="markers",
            name=f"against {label(rival)}",
            marker={
                "color": colour,
                "size": [12 if name in emphasised else 8 for name, _ in found],
                "symbol": ["diamond" if name in emphasised else ("circle", "square")[number % 2] for name, _ in found],
            },
            customdata=[f"{label(name, 60)}: {gain(row)}, {p_text(row.p)}" for name, row in found],
            hovertemplate="%{customdata}<extra></extra>",
        )
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    figure.update_yaxes(
        tickvals=list(places.values()),
        ticktext=[f"<b>{label(name)}</b>" if name in emphasised else label(name) for name in places],
        range=[len(places) - 0.4, -0.6],
    )
    unit = scale_of(next(iter(groups.values()))[0].metric).points.strip() or "difference"
    figure.update_xaxes(title={"text": f"← behind · {unit} · ahead →", "font": {"size": 12, "color": MUTED}})
    return _styled(figure, ROW_PX * len(places) + 84, legend=not one_each)


def radar_figure(
    table: Mapping[str, Mapping[str, float]], modalities: Sequence[str], main: str, scale: Scale
) -> go.Figure:
    """A ring per model. table: model -> modality -> value; the main model is filled, models without a value are cut."""
    figure = go.Figure()
    dashes = ("solid", "dash", "dot", "dashdot")
    others = [model for model in table if model != main]
    values = [scale.factor * value for row in table.values() for value in row.values()]
    for model, row in table.items():
        reached = [row.get(name) for name in [*modalities, modalities[0]]]
        colour = OURS if model == main else HUES[others.index(model) % len(HUES)]
        figure.add_scatterpolar(
            r=[None if value is None else scale.factor * value for value in reached],
            theta=[*modalities, modalities[0]],
            name=label(model),
            mode="lines+markers",
            fill="toself" if model == main else None,
            fillcolor=colour + WEAK,
            line={"color": colour, "width": 3 if model == main else 1.8}
            | ({} if model == main else {"dash": dashes[others.index(model) % len(dashes)]}),
            marker={"size": 6 if model == main else 5},
            hovertemplate=f"{label(model)}, %{{theta}}: %{{r:.{scale.digits}f}}<extra></extra>",
        )
    low, high = min(values), max(values)
    axis = {"gridcolor": GRID, "linecolor": GRID}
    figure.update_polars(
        bgcolor="rgba(0,0,0,0)",
        radialaxis={
            **axis,
            "range": [max(0.0, low - 0.15 * (high - low) - 1e-6), high],
            "ticksuffix": scale.unit,
            "tickfont": {"size": 11, "color": MUTED},
            "nticks": 5,
            "angle": 90,
            "tickangle": 90,
        },
        angularaxis={**axis, "direction": "clockwise", "rotation": 90},
    )
    figure = _styled(figure, 420, legend=True)
    figure.update_layout(
        margin={"l": 70, "r": 70, "t": 20, "b": 40},
        legend={"y": -0.08, "yanchor": "top", "x": 0.5, "xanchor": "center"},
        meta={"narrow": {"height": 440, "margin": {"l": 94, "r": 94, "t": 20, "b": 40}}},
    )
    return figure


def critical_difference_figure(ranking: Ranking, main: str, teachers: Sequence[str]) -> go.Figure:
    """Mean ranks on a line, best left; a bar joins models that the data sets do not tell apart (Demšar 2006)."""
    figure = go.Figure()
    rank = dict(zip(ranking.models, ranking.mean_ranks, strict=True))
    count = len(rank)
    for line, (model, value) in enumerate(rank.items(), start=1):
        colour = kind_colour(model, main, teachers)
        figure.add_scatter(
            x=[value, value],
            y=[0, -line],
            mode="lines",
            line={"color": colour, "width": 1.5},
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=[value],
            y=[-line],
            mode="markers",
            marker={"color": colour, "size": 8, "symbol": kind_symbol(model, main, teachers)},
            hovertemplate=f"{label(model)}: mean rank {value:.2f}<extra></extra>",
        )
        right = value <= (1 + count) / 2
        figure.add_annotation(
            x=value,
            y=-line,
            text=f"<b>{label(model, 22)}</b> {value:.2f}" if model == main else f"{label(model, 22)} {value:.2f}",
            showarrow=False,
            xanchor="left" if right else "right",
            xshift=9 if right else -9,
            font={"color": colour, "size": 12},
            bgcolor=PAPER,
        )
    bars = [group for group in ranking.alike if len(group) > 1]
    for height, group in enumerate(bars, start=1):
        ends = [min(rank[model] for model in group) - 0.03, max(rank[model] for model in group) + 0.03]
        figure.add_scatter(
            x=ends, y=[0.55 * height] * 2, mode="lines", line={"color": INK, "width": 5}, hoverinfo="skip"
        )
    top = 0.55 * (len(bars) + 1) + 0.5
    figure.add_scatter(
        x=[1, min(count, 1 + ranking.difference)], y=[top] * 2, mode="lines", line={"color": MUTED}, hoverinfo="skip"
    )
    figure.add_annotation(
        x=1, y=top, text=f"critical difference {ranking.difference:.2f}", showarrow=False, yshift=10, xanchor="left",
        font={"size": 12, "color": MUTED},
    )  # fmt: skip
    figure.add_hline(y=0, line={"color": INK, "width": 1})
    figure.update_yaxes(visible=False, range=[-count - 0.8, top + 1])
    figure.update_xaxes(
        range=[0.8, count + 0.2], dtick=1, title={"text": "mean rank (1 is best)", "font": {"size": 12}}
    )
    return _styled(figure, 24 * (count + len(bars)) + 130)


def mean_rows(rows: Sequence[Result], metric: str) -> list[Result]:
    """The rows of the mean over all data sets."""
    return [row for row in rows if row.modality == MEAN and row.metric == metric]


def _bars(rows: Sequence[Result | Comparison], scale: Scale) -> dict[str, object]:
    centres = [row.value if isinstance(row, Result) else row.difference for row in rows]
    above = [0.0 if row.high is None else scale.factor * (row.high - x) for row, x in zip(rows, centres, strict=True)]
    below = [0.0 if row.low is None else scale.factor * (x - row.low) for row, x in zip(rows, centres, strict=True)]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 2, "width": 0}
