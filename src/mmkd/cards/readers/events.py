"""What the values of an event column mean: the event happened, or the patient was last seen without it."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from mmkd.cards.card import Card
from mmkd.cards.layouts import RowKeys
from mmkd.cards.readers.cells import Row
from mmkd.errors import DataError

FLAGS: Mapping[str, bool] = {
    **dict.fromkeys(("0", "false", "f", "no", "n"), False),
    **dict.fromkeys(("1", "true", "t", "yes", "y"), True),
}
WORDS: Mapping[str, bool] = {
    **dict.fromkeys(("alive", "living", "censored"), False),
    **dict.fromkeys(("dead", "deceased", "died", "uncensored"), True),
}
SPELLINGS = "0/1, False/True, no/yes, Alive/Dead, Living/Deceased, 0:TEXT/1:TEXT"
NUMBERED = re.compile(r"([01]):(.+)")  # cBioPortal: 0:LIVING, 1:DECEASED, 0:DiseaseFree, 1:Recurred/Progressed
# A flag below such a name often means the opposite: 1 = censored, 1 = alive.
OPPOSITE = re.compile(r"cens|^(?!.*(event|dea(d|th)|deceas|died)).*(alive|living|surviv)", re.IGNORECASE | re.DOTALL)
SHOWN = 8  # values in a message


def event_meanings(card: Card, layout: RowKeys, rows: Sequence[Row]) -> Mapping[str, bool]:
    """Value of the event column, as the rows spell it -> whether the event happened; nothing where no outcome is read.

    By the declared values of both sides; with one side declared, the known opposite of a flag is the other; with none,
    the known spellings. Raises DataError that lists the values with their counts for a value without a meaning, for a
    flag below a name like `censorship`, and where everybody or nobody has the event.
    """
    found = Counter(row.needed("event") for row in rows if has_outcome(card, row))
    if not found:
        return {}
    column = layout.columns.get("event", "event")
    what = f"{card.id}: column {column!r} of events holds {_counted(found)}"
    known = _known(layout, what)
    meaning = {value: known.get(_normal(value)) for value in found}
    if strangers := [value for value, happened in meaning.items() if happened is None]:
        raise DataError(
            f"{what}; {', '.join(map(repr, strangers[:SHOWN]))} has no known meaning; {_cure(layout)}, "
            "or leave such rows out with `include`"
        )
    if not (layout.event or layout.censored) and OPPOSITE.search(column) and any(map(_is_flag, found)):
        raise DataError(f"{what}; the name does not say which of them is the event; {_cure(layout)}")
    known_meaning = {value: bool(happened) for value, happened in meaning.items()}
    if len(set(known_meaning.values())) < 2:
        who = "everybody has" if known_meaning.popitem()[1] else "nobody has"
        raise DataError(f"{what}; by that {who} the event, and there is nothing to predict; {_cure(layout)}")
    return known_meaning


def has_outcome(card: Card, row: Row) -> bool:
    """Whether this patient was followed up. A row with neither time nor event was not; one alone is an error.

    Outcomes are read for the task survival, and where the card names a column of theirs.
    """
    if "survival" not in card.tasks and not {"time", "event"} & row.columns.keys():
        return False
    if not (row.has("time") and row.has("event")) or not (row.field("time") or row.field("event")):
        return False
    row.needed("time")
    row.needed("event")
    return True


def _known(layout: RowKeys, what: str) -> Mapping[str, bool]:
    """Normal form of a value -> whether the event happened."""
    event, censored = ({_normal(value) for value in side} for side in (layout.event, layout.censored))
    if both := sorted(event & censored):
        raise DataError(f"{what}; the layout declares {both[0]!r} as event and as censored; expected one of them")
    declared = dict.fromkeys(event, True) | dict.fromkeys(censored, False)
    if event and censored:
        return declared
    if any(FLAGS.get(value, happened) != happened for value, happened in declared.items()):
        return {value: not happened for value, happened in FLAGS.items()} | declared  # 1 = censored
    return {**FLAGS, **WORDS, **declared}


def _normal(value: str) -> str:
    """Lower case; numbers alike (tables made by pandas spell 1 as 1.0); a numbered status as its number."""
    folded = value.strip().casefold()
    if (numbered := NUMBERED.fullmatch(folded)) and WORDS.get(numbered[2].strip(), numbered[1] == "1") == (
        numbered[1] == "1"
    ):
        return numbered[1]
    try:
        return f"{float(folded):g}"
    except ValueError:
        return folded


def _is_flag(value: str) -> bool:
    return _normal(value) in FLAGS and not NUMBERED.fullmatch(value.strip())


def _counted(found: Counter[str]) -> str:
    shown = ", ".join(f"{value!r} {count:,} times" for value, count in found.most_common(SHOWN))
    return shown + (f" and {len(found) - SHOWN} other values" if len(found) > SHOWN else "")


def _cure(layout: RowKeys) -> str:
    declared = _declared("event", layout.event) + _declared("censored", layout.censored)
    expected = "" if layout.event and layout.censored else f" (known without that: {SPELLINGS})"
    has = f"; the layout has {', '.join(declared)}" if declared else ""
    return f"declare the values of both sides in [layout], event = [...] and censored = [...]{expected}{has}"


def _declared(name: str, values: Collection[str]) -> list[str]:
    return [f"{name} = {list(values)}"] if values else []
