"""The Python with the hosts that cannot be in the environment of the tests; `make hosts` makes it."""

import os
import subprocess
from pathlib import Path

import pytest

NAMED, OWN = os.environ.get("MMKD_HOSTS_PYTHON"), Path(__file__).parents[2] / ".venv-hosts"
PYTHON = Path(NAMED) if NAMED else OWN / "bin" / "python"
IS_THERE = PYTHON.is_file() and bool(NAMED or (OWN / ".ready").is_file())
needs_hosts = pytest.mark.skipif(not IS_THERE, reason=f"no whole environment of {PYTHON}: make hosts")


def run_in_hosts(home: Path, script: str, *arguments: object) -> None:
    """A script of this folder, with a home of its own and without mmkd."""
    own = {"HOME": str(home), "FIFTYONE_DO_NOT_TRACK": "1", "FIFTYONE_DATABASE_DIR": str(home / "db")}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | own
    command = [PYTHON, Path(__file__).with_name(script), *arguments]
    done = subprocess.run([str(part) for part in command], env=environment, timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
