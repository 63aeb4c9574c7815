"""Findings that a user types, and those that the run of a model knows with their prompts."""

import json
from pathlib import Path

from mmkd.evaluation.summary.summary import CARDS
from mmkd.serve.engine.answers import Classes
from mmkd.serve.engine.limits import INVALID, RequestError


def known_findings(export: Path) -> dict[str, Classes]:
    """Classes of the data sets that the run beside an export evaluated; empty where there is none."""
    path = export.resolve().parent / "evaluate" / CARDS
    if not path.is_file():
        return {}
    cards = [json.loads(row) for row in path.read_text(encoding="utf-8").splitlines()]
    return {
        card["id"]: {one["name"]: one["prompts"] for one in card["classes"]}
        for card in cards
        if len(card.get("classes") or ()) > 1
    }


def classes_of(text: str, known: Classes) -> Classes:
    """One finding a line. Those of the chosen data set have its prompts, others are their own prompt.

    Raises RequestError for less than two, or one that is there twice.
    """
    names = [name for row in text.splitlines() if (name := " ".join(row.split()))]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise RequestError(INVALID, f"the finding {twice[0]!r} twice", "each finding once", "remove one of the lines")
    if len(names) < 2:
        found = "no finding" if not names else f"one finding, {names[0]!r}"
        cure = "add what else it may be, for example 'no pneumothorax': probabilities are shared among the findings"
        raise RequestError(INVALID, found, "two or more, one a line", cure)
    return {name: known.get(name, [name]) for name in names}
