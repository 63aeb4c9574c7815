"""How much is printed, what libraries print, and what happens when nobody reads standard output any more."""

import logging
import os
import sys
import warnings
from functools import cache
from typing import Any, TextIO

VERBOSITY = "MMKD_VERBOSITY"  # "quiet" or "verbose"; in the environment, so that worker processes know it
CALM = {  # what libraries look at when they are imported: no bars, which log files would be full of, and no hints
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "HF_HUB_VERBOSITY": "error",
}
LONGEST = 300  # characters of a library's warning


def is_quiet() -> bool:
    """Whether only errors and results are wanted (`-q`)."""
    return os.environ.get(VERBOSITY) == "quiet"


def is_verbose() -> bool:
    """Whether all warnings of libraries and the traceback of an error are wanted (`-v`)."""
    return os.environ.get(VERBOSITY) == "verbose"


@cache
def announce_hub(repository: str) -> None:
    """Instead of the hub's progress bars: a line on standard error, once for each repository."""
    if not is_quiet():
        print(
            f"{repository}: from the hub's cache, or fetched now, which may take minutes", file=sys.stderr, flush=True
        )


def calm_libraries() -> None:
    """No progress bars of other libraries, and one line for each place in them that warns, on standard error."""
    for name, value in CALM.items():
        os.environ.setdefault(name, value)
    warnings.showwarning = _log_warning
    if not logging.root.handlers:
        logging.root.addHandler(_OneLineEach())


def _log_warning(
    message: Any, category: type[Warning], filename: str, lineno: int, file: Any = None, line: str | None = None
) -> None:
    text = f"{category.__name__}: {message}"
    logging.root.handle(logging.LogRecord("warnings", logging.WARNING, filename, lineno, text, None, None))


class _OneLineEach(logging.StreamHandler[TextIO]):
    """Prints the first message of each place in the code, cut to one line; with `-v` all of them, as they are."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[tuple[str, int]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        place = (record.pathname, record.lineno)
        if is_verbose() or place not in self._seen:
            self._seen.add(place)
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        if is_verbose():
            return f"{record.pathname}:{record.lineno}: {super().format(record)}"
        text = " ".join(record.getMessage().split())
        return f"{record.levelname.lower()}: {text if len(text) <= LONGEST else text[: LONGEST - 1] + '…'}"


class NoTerminal:
    """A stream that says it is no terminal, so that progress is told in lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        return False


class UntilClosed:
    """A stream that ends the program with code 0 when its reader has gone (`mmkd ... | head -1`)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            if self._is_closed:
                raise BrokenPipeError
            count = self._stream.write(text)
            self._stream.flush()  # else the interpreter's own flush at the end would be the first to fail
        except BrokenPipeError:
            self._is_closed = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # what is still buffered goes there
            raise SystemExit(0) from None
        return count
