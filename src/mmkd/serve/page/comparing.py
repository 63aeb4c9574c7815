"""Two models before the same pictures."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from mmkd.serve.engine.answers import Answer, Classes
from mmkd.serve.engine.service import Service
from mmkd.serve.page.uploads import Upload
from mmkd.serve.page.views import Row

AT_ONCE = 4


def compare(
    service: Service, uploads: Sequence[Upload], classes: Classes, models: tuple[str, str]
) -> tuple[list[Row], bool]:
    """Rows in the order of the pictures, and whether the probabilities of both models are calibrated."""

    def answers(upload: Upload) -> list[Answer]:
        return service.classify(upload.data, classes, models)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(answers, uploads))
    rows = [Row(one.shown, (a.scores[0], b.scores[0])) for one, (a, b) in zip(uploads, found, strict=True)]
    return rows, all(answer.calibrated for pair in found for answer in pair)
