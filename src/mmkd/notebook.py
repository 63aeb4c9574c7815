"""Whether a notebook runs this process, and a line with a bar under its cell."""

import html
import sys
from typing import Any


def in_notebook() -> bool:
    """Whether this process is a Jupyter kernel; its worker processes, and IPython on a terminal, are none."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None) is not None


class CellBar:
    """One line with a bar under the cell, each time in the same place. total: 0 where it is not known."""

    def __init__(self, label: str, number: int, total: int, unit: str) -> None:
        from IPython.display import display

        self.label, self.total, self.unit = label, total, unit
        self.handle = display(self._bundle(number, ""), raw=True, display_id=True)

    def show(self, number: int, more: str = "") -> None:
        """So many are done. more: behind it in the line."""
        self.handle.update(self._bundle(number, more), raw=True)

    def _bundle(self, number: int, more: str) -> dict[str, Any]:
        known = f' value="{min(number, self.total)}" max="{self.total}"' if self.total else ""
        of_all = f" of {self.total:,}" if self.total else ""
        line = f"{self.label}: {number:,}{of_all} {self.unit}{more}"
        return {"text/plain": line, "text/html": f"<progress{known}></progress> {html.escape(line)}"}
