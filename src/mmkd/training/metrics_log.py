"""`metrics.jsonl`: one record per logged step; TensorBoard beside it where that is installed."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmkd.stage import atomic_file

METRICS = "metrics.jsonl"


class MetricsLog:
    """Appends records; after a resume the records of steps that will be repeated are dropped first."""

    def __init__(self, folder: Path, first_step: int) -> None:
        self.path = folder / METRICS
        kept = [record for record in read_metrics(self.path) if record["step"] <= first_step]
        with atomic_file(self.path) as stream:
            stream.write("".join(json.dumps(record) + "\n" for record in kept).encode())
        self._stream = self.path.open("a")
        self._board: Any = None
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(folder / "tensorboard", purge_step=first_step)

    def write(self, record: dict[str, float]) -> None:
        """Append one record; it must have `step`."""
        self._stream.write(json.dumps(record) + "\n")
        self._stream.flush()
        if self._board is not None:
            for name, value in record.items():
                self._board.add_scalar(name, value, record["step"])

    def close(self) -> None:
        self._stream.close()
        if self._board is not None:
            self._board.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The records of a metrics file; a last line that was cut off by a kill is left out."""
    records = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records
