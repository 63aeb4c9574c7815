"""Label Studio's own validation takes the pre-annotations of `mmkd label --label-studio`."""

import json
from pathlib import Path
from typing import Any

import pytest
from hosts_python import needs_hosts, run_in_hosts
from typer.testing import CliRunner

from mmkd.cli import make_app

pytestmark = [pytest.mark.slow, needs_hosts]
CHOICE = {"type": "choices", "from_name": "label", "to_name": "image"}


def errors(tasks: Path, home: Path) -> Any:
    run_in_hosts(home, "label_studio_errors.py", tasks, home / "errors.json")
    return json.loads((home / "errors.json").read_text())


@pytest.mark.parametrize("threshold", [0, 1])
def test_tasks_are_valid(threshold: int, host_export: Path, host_images: list[Path], tmp_path: Path) -> None:
    tasks, options = tmp_path / "tasks.json", ["--device", "cpu", "--classes", 'a & "b",c', "--threshold", threshold]
    options += ["--model", host_export, "--out", tmp_path / "labels.csv", "--label-studio", tasks]
    done = CliRunner().invoke(make_app(), ["label", str(host_images[0].parent), *map(str, options)])
    assert done.exit_code == 0, done.output
    assert errors(tasks, tmp_path) == {"predictions": 4, "errors": []}
    changed = json.loads(tasks.read_text())
    for task in changed:
        task["predictions"][0]["result"] = [{**CHOICE, "value": {"choices": ["no class"]}}]
    tasks.write_text(json.dumps(changed))
    assert len(errors(tasks, tmp_path)["errors"]) == 4
