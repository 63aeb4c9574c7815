"""What every task answers; N samples, B bootstrap replicates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mmkd.evaluation.card import Card
from mmkd.evaluation.embeddings import Embeddings
from mmkd.evaluation.readers import Sample
from mmkd.evaluation.statistics.metrics import Array

Columns = Mapping[str, Array]
"""What is predicted for each sample: column name -> (N,)."""


@dataclass(frozen=True)
class Task:
    """One way to ask a model about a data set; registered in `tasks.table`.

    title: as tables and figures print it.
    complaint: what the card lacks for this task, or "".
    texts: what a model must embed besides the images.
    group: what a sample is resampled with, or "". labels: the classes that resampling keeps apart, or None.
    predict: from the embeddings of the members of an ensemble (one for a plain model) to columns of a prediction file.
    measure: from such columns and weights (B, N) to metrics, each (B,). primary: the one that ranks models.
    lower_is_better: the metrics of which the lowest is best.
    protocol: the definitions a reader needs to compare the numbers with others'.
    """

    title: str
    complaint: Callable[[Card], str]
    texts: Callable[[Card, Sequence[Sample]], list[str]]
    group: Callable[[Sample], str]
    labels: Callable[[Columns], Array | None]
    predict: Callable[[Card, Sequence[Sample], Sequence[Embeddings]], dict[str, Array]]
    measure: Callable[[Columns, Array], dict[str, Array]]
    primary: str
    protocol: str
    lower_is_better: tuple[str, ...] = ()
