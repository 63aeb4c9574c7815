"""Run by the Python that has Label Studio's SDK: what is wrong with the predictions of a file, as JSON."""

import json
import sys
from pathlib import Path

from label_studio_sdk.label_interface import LabelInterface
from label_studio_sdk.label_interface.objects import TaskValue

tasks, out = (Path(name) for name in sys.argv[1:])
interface = LabelInterface(tasks.with_suffix(".xml").read_text())
interface.validate()
found = [TaskValue(**task) and task for task in json.loads(tasks.read_text())]
predictions = [one for task in found for one in task["predictions"]]
errors = [error for one in predictions for error in interface.validate_prediction(one, return_errors=True)]
Path(out).write_text(json.dumps({"predictions": len(predictions), "errors": errors}))
