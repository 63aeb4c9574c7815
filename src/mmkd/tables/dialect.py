"""How a text table is written: its encoding, delimiter, quoting and line ends."""

import codecs
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator

from mmkd.settings import Settings

Quoting = Literal["csv", "none"]
UTF8 = "utf-8"
CURE = (
    'say how the table is written: delimiter = ";", quoting = "csv" or "none", encoding = "cp1252" (in commands '
    "--delimiter, --quoting, --encoding)"
)
NOT_UTF8 = (
    'bytes found that are no UTF-8; a table in another encoding is read with, for instance, encoding = "cp1252" '
    "(--encoding cp1252)"
)


@dataclass(frozen=True)
class Dialect:
    """Of one file. begin: the byte behind a byte order mark and a line `sep=;`, where the header stands.

    quoting: "csv" (a field that begins with a quotation mark ends with the next single one), or "none", where
    quotation marks are letters as any other.
    """

    delimiter: str = ","
    quoting: Quoting = "csv"
    encoding: str = UTF8
    line_end: str = "\n"
    begin: int = 0

    def __str__(self) -> str:
        ends = ", lines that end with CR" if self.line_end == "\r" else ""
        quoting = "CSV quoting" if self.quoting == "csv" else "no quoting"
        return f"read as {self.encoding} with the delimiter {self.delimiter!r} and {quoting}{ends}"


@dataclass(frozen=True)
class Declared:
    """What a recipe or card says of the dialect; "" where the file has to tell."""

    delimiter: str = ""
    quoting: Literal["", "csv", "none"] = ""
    encoding: str = ""

    def __bool__(self) -> bool:
        return bool(self.delimiter or self.quoting or self.encoding)


def _one_character(delimiter: str) -> str:
    if delimiter and (len(delimiter) > 1 or not delimiter.isascii() or delimiter in '"\r\n'):
        raise ValueError(f"delimiter {delimiter!r} is not one ASCII character other than quotation marks")
    return delimiter


def _known_encoding(encoding: str) -> str:
    if not encoding:
        return encoding
    try:
        name = codecs.lookup(encoding).name.removesuffix("-sig")
        as_ascii = '\n\r\t,;"a'.encode(name) == b'\n\r\t,;"a'
    except (LookupError, UnicodeError, TypeError):
        raise ValueError(f"encoding {encoding!r} is not known to Python, expected one such as 'cp1252'") from None
    if not as_ascii and not name.startswith("utf-16"):
        raise ValueError(f"encoding {encoding!r} cannot be read line by line; convert the table to UTF-8")
    return name


class TextTable(Settings):
    """Keys of tables that are text, for where the file itself leaves it open.

    delimiter: between the fields; not given, that of the header line. quoting: "csv", or "none" where quotation marks
    are part of the text; not given, CSV has it and of other tables both readings are compared. encoding: such as
    "cp1252" or "utf-16"; not given, that of the byte order mark, else UTF-8.
    """

    delimiter: Annotated[str, AfterValidator(_one_character)] = ""
    quoting: Literal["", "csv", "none"] = ""
    encoding: Annotated[str, AfterValidator(_known_encoding)] = ""

    @property
    def declared(self) -> Declared:
        """All three."""
        return Declared(self.delimiter, self.quoting, self.encoding)
