"""Conditions on rows, as a small part of SQL: parsed and checked here, then written for each backend.

    condition = comparison | NOT condition | condition AND condition | condition OR condition | ( condition )
    comparison = column (= | != | <> | < | <= | > | >=) value | column [NOT] IN (value, ...)
               | column [NOT] LIKE 'text' | column IS [NOT] NULL

A value is 'text' (a quote in it is doubled) or a whole number. Every column but `slice` holds text, "" where it is not
known. NOT is carried down to the comparisons, so that a backend needs none; as in SQL, no comparison with a missing
`slice` holds.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from mmkd.archive.rows import FILTERED, SLICE
from mmkd.errors import ConfigError
from mmkd.validation import DEEPEST, nearest

LONGEST = 10_000  # characters of a condition
OPPOSITE = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)(?![\w.])|(?P<word>[A-Za-z_]\w*)|(?P<sign><>|!=|<=|>=|[=<>(),]))"
)
NUMBERS = range(-(2**31), 2**31)
Value = str | int


@dataclass(frozen=True)
class Compare:
    """sign: a key of OPPOSITE."""

    column: str
    sign: str
    value: Value


@dataclass(frozen=True)
class In:
    column: str
    values: tuple[Value, ...]
    negated: bool = False


@dataclass(frozen=True)
class Like:
    """pattern: % stands for any characters, _ for one; case counts."""

    column: str
    pattern: str
    negated: bool = False


@dataclass(frozen=True)
class IsNull:
    column: str
    negated: bool = False


@dataclass(frozen=True)
class Joined:
    """word: AND or OR."""

    word: str
    parts: tuple["Condition", ...]


Condition = Compare | In | Like | IsNull | Joined


def both(one: Condition | None, other: Condition) -> Condition:
    return other if one is None else Joined("AND", (one, other))


def columns_in(condition: Condition) -> list[str]:
    """The columns that it compares, in their order."""
    if not isinstance(condition, Joined):
        return [condition.column]
    return list(dict.fromkeys(name for part in condition.parts for name in columns_in(part)))


def parse_where(text: str) -> Condition:
    """Raises ConfigError that says what was found where, and what the columns are."""
    return _Parser(text).whole()


def sql(condition: Condition) -> str:
    """As SQL with every name quoted by backticks, which Lance reads. That a slice is known is said where its absence is
    asked for: `slice NOT IN (0) OR slice NOT IN (1)` is simplified to TRUE by DataFusion, for a missing one as well.
    """
    match condition:
        case Compare("slice", "!=", value):
            return f"(`slice` IS NOT NULL AND `slice` != {_literal(value)})"
        case In("slice", values, True):
            return f"(`slice` IS NOT NULL AND `slice` NOT IN ({', '.join(map(_literal, values))}))"
        case Compare(column, sign, value):
            return f"`{column}` {sign} {_literal(value)}"
        case In(column, values, negated):
            return f"`{column}` {'NOT ' if negated else ''}IN ({', '.join(map(_literal, values))})"
        case Like(column, pattern, negated):
            return f"`{column}` {'NOT ' if negated else ''}LIKE {_literal(pattern)}"
        case IsNull(column, negated):
            return f"`{column}` IS {'NOT ' if negated else ''}NULL"
        case Joined(word, parts):
            return f" {word} ".join(f"({sql(part)})" for part in parts)


def _literal(value: Value) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def _negation(condition: Condition) -> Condition:
    match condition:
        case Compare(column, sign, value):
            return Compare(column, OPPOSITE[sign], value)
        case Joined(word, parts):
            return Joined("OR" if word == "AND" else "AND", tuple(map(_negation, parts)))
        case _:
            return replace(condition, negated=not condition.negated)


class _Parser:
    """Recursive descent over the tokens of one condition."""

    def __init__(self, text: str) -> None:
        self._text, self._place, self._depth = text, 0, 0
        if len(text) > LONGEST:
            raise self._error(f"at most {LONGEST:,} characters", f"{len(text):,}")
        self._tokens = self._split()

    def _split(self) -> list[tuple[str, str]]:
        tokens, place = [], 0
        while self._text[place:].strip():
            found = TOKEN.match(self._text, place)
            if found is None:
                raise self._error("a column, a sign, 'text' or a whole number", repr(self._text[place:].strip()[:30]))
            kind = str(found.lastgroup)
            tokens.append((kind, found[kind]))
            place = found.end()
        return tokens

    def whole(self) -> Condition:
        condition = self._any()
        if self._place < len(self._tokens):
            raise self._error("AND, OR or the end", repr(self._tokens[self._place][1]))
        return condition

    def _any(self) -> Condition:
        return self._joined("OR", lambda: self._joined("AND", self._one))

    def _joined(self, word: str, part: Callable[[], Condition]) -> Condition:
        parts = [part()]
        while self._took(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error(f"at most {DEEPEST} conditions in one another", "more")
        if self._took("NOT"):
            condition = _negation(self._one())
        elif self._took("("):
            condition = self._any()
            self._expect(")")
        else:
            condition = self._comparison()
        self._depth -= 1
        return condition

    def _comparison(self) -> Condition:
        column = self._column()
        if self._took("IS"):
            negated = self._took("NOT")
            self._expect("NULL")
            return IsNull(column, negated)
        negated = self._took("NOT")
        if self._took("IN"):
            return In(column, self._values(column), negated)
        if self._took("LIKE"):
            if column == SLICE:
                raise self._error("LIKE with a column of text", f"the number {SLICE}")
            return Like(column, str(self._value(column)), negated)
        if negated:
            raise self._error("IN or LIKE behind NOT", self._seen())
        sign = "!=" if self._seen() == "'<>'" else self._seen().strip("'")
        if sign not in OPPOSITE:
            raise self._error("=, !=, <, <=, >, >=, IN, LIKE or IS", self._seen())
        self._place += 1
        return Compare(column, sign, self._value(column))

    def _column(self) -> str:
        kind, name = self._next("a column")
        if kind != "word" or name.lower() not in FILTERED:
            hint = f"; {nearest(name, FILTERED)}" if kind == "word" else ""
            raise self._error(f"a column ({', '.join(FILTERED)})", f"{name!r}{hint}")
        return name.lower()

    def _values(self, column: str) -> tuple[Value, ...]:
        self._expect("(")
        values = [self._value(column)]
        while self._took(","):
            values.append(self._value(column))
        self._expect(")")
        return tuple(values)

    def _value(self, column: str) -> Value:
        wanted = "a whole number" if column == SLICE else "'text' in single quotes"
        kind, text = self._next(wanted)
        if kind != ("number" if column == SLICE else "text"):
            raise self._error(f"{wanted} for {column}", text)
        if kind == "text":
            return text[1:-1].replace("''", "'")
        if int(text) not in NUMBERS:
            raise self._error("a number of 32 bits", text)
        return int(text)

    def _next(self, wanted: str) -> tuple[str, str]:
        if self._place == len(self._tokens):
            raise self._error(wanted, "the end")
        self._place += 1
        return self._tokens[self._place - 1]

    def _took(self, word: str) -> bool:
        """Whether the next token is this word or sign, which is then taken."""
        if self._place == len(self._tokens):
            return False
        kind, text = self._tokens[self._place]
        taken = kind in ("word", "sign") and text.upper() == word
        self._place += taken
        return taken

    def _expect(self, word: str) -> None:
        if not self._took(word):
            raise self._error(word, self._seen())

    def _seen(self) -> str:
        return repr(self._tokens[self._place][1]) if self._place < len(self._tokens) else "the end"

    def _error(self, expected: str, found: str) -> ConfigError:
        return ConfigError(
            f"the condition {self._text[:200]!r}: expected {expected}, found {found}. An example: modality = 'ct' AND "
            f"caption LIKE '%effusion%'; the columns are {', '.join(FILTERED)}"
        )
