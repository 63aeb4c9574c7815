"""What the page shows, as HTML: all data is escaped, every picture lies inside and has an alternative text."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from mmkd.archive.archive import Hit
from mmkd.markdown import line
from mmkd.report.plot import COLOURS
from mmkd.report.render import data_address
from mmkd.serve.engine.answers import About, Answer, Evidence, ModelFacts, Score
from mmkd.serve.page.heat import marked, place_of

MOST_BARS = 20
MOST_MAPS = 4
SHOWN_PX = 640
THUMBNAIL_PX = 160


@dataclass(frozen=True)
class Shown:
    """A picture on the page. width, height: of the file's picture, not of the copy that is shown."""

    name: str
    address: str
    width: int
    height: int


@dataclass(frozen=True)
class Figure:
    """Where a finding is, with what a reader who sees no pictures is told."""

    name: str
    address: str
    alt: str
    says: str


@dataclass(frozen=True)
class Row:
    """A picture before two models. tops: the most probable finding of each."""

    picture: Shown
    tops: tuple[Score, Score]

    @property
    def same(self) -> bool:
        return self.tops[0].name == self.tops[1].name


def shown(name: str, image: Image.Image, size: int = SHOWN_PX) -> Shown:
    small = image.copy()
    small.thumbnail((size, size))
    return Shown(name, _address(small), *image.size)


def pictures(found: Sequence[Shown], wrong: Sequence[str] = ()) -> str:
    """wrong: of each file that is no picture, why."""
    return _render("pictures.html", pictures=found, wrong=wrong)


def note(text: str) -> str:
    return _render("note.html", text=text)


def answers(found: Sequence[Answer], models: Sequence[ModelFacts]) -> str:
    return _render("answers.html", answers=found, roles={one.name: one.role for one in models})


def where(evidence: Evidence, order: Sequence[str]) -> str:
    """order: of the findings, the most probable first."""
    figures = [_figure(name, evidence) for name in order[:MOST_MAPS]]
    return _render("where.html", figures=figures, model=evidence.model, more=len(order) > MOST_MAPS)


def hits(found: Sequence[Hit], model: str) -> str:
    return _render("hits.html", hits=found, model=model)


def compared(rows: Sequence[Row], models: tuple[str, str], calibrated: bool, said: str = "") -> str:
    """Pictures on which the two models differ stand first. said: which pictures they are, if nobody uploaded them."""
    from scipy.stats import binomtest

    same = sum(row.same for row in rows)
    interval = binomtest(same, len(rows)).proportion_ci(method="wilson")
    differing_first = sorted(rows, key=lambda row: row.same)
    return _render(
        "compared.html",
        rows=differing_first,
        first=models[0],
        second=models[1],
        same=same,
        low=interval.low,
        high=interval.high,
        calibrated=calibrated,
        said=said,
    )


def about(found: About) -> str:
    return _render("about.html", about=found)


def head(found: About) -> str:
    return _render("head.html", about=found)


def style() -> str:
    return _render("page.css", colours=COLOURS)


def card(model: ModelFacts) -> str:
    """Its model card in Markdown, without the front matter."""
    text = model.card.strip()
    if text.startswith("---\n"):
        text = text.partition("\n---\n")[2].strip()
    return text or f"{line(model.name)} has no model card."


def percent(value: float) -> str:
    """0.0 % and 100.0 % only for what is exactly that; nobody is to read a rounded 100 % as certainty."""
    if 0 < value < 0.001:
        return "< 0.1 %"
    if 0.999 < value < 1:
        return "> 99.9 %"
    return f"{100 * value:.1f} %"


def _figure(name: str, evidence: Evidence) -> Figure:
    loss_GG = evidence.maps[name]
    highest = max(float(one_GG.max()) for one_GG in evidence.maps.values())
    if (found := float(loss_GG.max())) <= 0 or found < 0.1 * highest:
        place, says = "nowhere in particular", "No place speaks for it."
        loss_GG = np.zeros_like(loss_GG)
    else:
        place = place_of(loss_GG)
        says = f"Mostly {place}; covered there, its score falls by {found:.3f}."
    return Figure(
        name, _address(marked(evidence.view, loss_GG, highest)), f"Where {line(name)!r} is seen: {place}", says
    )


def _address(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=88)
    return data_address(stream.getvalue())


def _render(template: str, **view: object) -> str:
    return _environment().get_template(template).render(view)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("mmkd.serve.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"line": line, "percent": percent, "data_address": data_address}
    made.globals |= {"most": MOST_BARS}
    return made
