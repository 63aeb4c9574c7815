"""The recipe section `[evaluate]`, with a section below it for each task that has settings."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from pydantic import Field, PositiveInt, create_model, model_validator

from mmkd.evaluation.corruptions.families import Family
from mmkd.evaluation.format.results import NULLS, Null
from mmkd.evaluation.tasks.table import TASKS
from mmkd.evaluation.tasks.task import NoSettings, Task
from mmkd.settings import RecipePath, Settings


class CommonSettings(Settings):
    """cards: data-set cards of one's own, TOML files. datasets: cards of the catalogue, by id, modality or task.

    data_root: the folder that has the catalogue's data, one folder for each id. variables: what `${NAME}` means in the
    cards, besides the environment. nulls: the null models, which every model has to beat. bootstrap:
    replicates. confidence: of the intervals. least_groups: a data set with fewer groups (samples, where no groups are
    known) in its test split has its own rows, and no part in means, rankings and ranks. batch_size: images or texts a
    forward pass; it changes speed and memory only. gallery: images kept of each data set for the report. audit: look
    for the images of the data sets in the training corpus and in each other's splits. bags: keep every model's tile
    features of slides as HDF5 files too, in the layout of CLAM and TRIDENT.

    corruptions: zero-shot classification of corrupted test pictures too, by every model but the null models: `true` for
    the families of MedMNIST-C that belong to the data set's modality, or a list of families for all data sets. With
    five severities a family costs five times the test pictures. corruption_baseline: the model whose errors on
    corrupted pictures are 1; without it there are no such ratios.
    """

    cards: list[RecipePath] = []
    datasets: list[str] = []
    data_root: RecipePath | None = None
    variables: dict[str, str] = {}
    nulls: list[Null] = list(NULLS)
    bootstrap: PositiveInt = 5000
    batch_size: PositiveInt = 256
    confidence: float = Field(0.95, gt=0.0, lt=1.0)
    least_groups: PositiveInt = 1
    gallery: int = Field(12, ge=0)
    corruptions: bool | list[Family] = False
    corruption_baseline: str = ""
    audit: bool = True
    bags: bool = False

    @model_validator(mode="after")
    def _something(self) -> "CommonSettings":
        if not self.cards and not self.datasets:
            raise ValueError("no data set: name cards or datasets")
        if self.datasets and self.data_root is None:
            raise ValueError("datasets of the catalogue need data_root, the folder that has their data")
        if self.corruption_baseline and not self.corruptions:
            raise ValueError("corruption_baseline needs corruptions")
        return self

    @property
    def evaluated_with(self) -> dict[str, Any]:
        """What an evaluation depends on; those without `least_groups`, of older releases, are those of 1."""
        return self.model_dump(mode="json", exclude={"least_groups"} if self.least_groups == 1 else None)

    def of_task(self, task: Task[Any]) -> Settings:
        found: Settings = getattr(self, task.section) if task.section else NoSettings()
        return found


def with_sections(tasks: Mapping[str, Task[Any]]) -> "type[EvaluateSettings]":
    """The settings with the sections of these tasks."""
    sections: dict[str, Any] = {
        task.section: (task.settings, task.settings()) for task in tasks.values() if task.section
    }
    return cast(
        "type[EvaluateSettings]",
        create_model(
            "EvaluateSettings", __base__=CommonSettings, __module__=__name__, __doc__=CommonSettings.__doc__, **sections
        ),
    )


if TYPE_CHECKING:

    class EvaluateSettings(CommonSettings):
        """What `with_sections` makes of the table of tasks."""

else:
    EvaluateSettings = with_sections(TASKS)
