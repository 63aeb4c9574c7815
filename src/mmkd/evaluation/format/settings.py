"""The recipe section `[evaluate]`."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from mmkd.settings import RecipePath, Settings

Null = Literal["chance", "colour_and_size", "random_weights"]
NULLS: tuple[Null, ...] = ("chance", "colour_and_size", "random_weights")


class ProbeSettings(Settings):
    """Linear classifiers on frozen features. fractions: shares of the training labels, nested draws.

    draws: with seeds of their own, for each share below one; their metrics are averaged. penalties: inverse strengths
    (C of the logistic regression) to choose from, on the val split or by `folds`-fold cross-validation by groups.

    folds: of the cross-validation by groups, where there is no val split.
    """

    fractions: list[float] = [0.01, 0.1, 1.0]
    draws: PositiveInt = 3
    penalties: list[PositiveFloat] = Field([0.01, 0.1, 1.0, 10.0, 100.0], min_length=1)
    folds: int = Field(3, ge=2)

    @model_validator(mode="after")
    def _shares(self) -> "ProbeSettings":
        if not self.fractions or sorted(set(self.fractions)) != self.fractions or not self.fractions[0] > 0:
            raise ValueError(f"fractions must rise from above 0 to 1, found {self.fractions}")
        if self.fractions[-1] != 1.0:
            raise ValueError(f"the last fraction must be 1.0, found {self.fractions[-1]}")
        return self


class SlideSettings(Settings):
    """Classifiers of whole slides on frozen tile features, by patient-level folds.

    folds: of the cross-validation where the card has no train and test split. epochs, lr, weight_decay, hidden: of the
    gated attention network.
    """

    folds: int = Field(5, ge=2)
    epochs: PositiveInt = 40
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-3, ge=0)
    hidden: PositiveInt = 64


class SurvivalSettings(Settings):
    """Cox models by patient-level folds. folds: where the card has no train and test split. penalties: to choose from
    by inner folds. times: at how many times curves over time are evaluated."""

    folds: int = Field(5, ge=2)
    penalties: list[float] = Field([0.1, 1.0, 10.0, 100.0, 1000.0], min_length=1)
    times: PositiveInt = 10


class RetrievalSettings(Settings):
    """gallery: pairs that a query is ranked among, since recall depends on their number; without it all of the data
    set. draws: random divisions into galleries of that size, whose metrics are averaged."""

    gallery: int | None = Field(None, ge=2)
    draws: PositiveInt = 5


class VqaSettings(Settings):
    """Answer heads on frozen features of image and question.

    vocabulary: most frequent training answers that a head can give. components: principal ones of the features that it
    sees. penalties: inverse strengths to choose from, on the val split or on `held_out` of the training groups.

    held_out: share of the training groups that chooses the penalty where there is no val split.
    """

    vocabulary: int = Field(500, ge=2)
    components: PositiveInt = 256
    penalties: list[PositiveFloat] = Field([0.01, 0.1, 1.0], min_length=1)
    held_out: float = Field(0.25, gt=0.0, le=0.5)


class EvaluateSettings(Settings):
    """cards: data-set cards of one's own, TOML files. datasets: cards of the catalogue, by id, modality or task.

    data_root: the folder that has the catalogue's data, one folder for each id. variables: what `${NAME}` means in the
    cards, besides the environment. nulls: the encoders that know nothing, which every model has to beat. bootstrap:
    replicates. confidence: of the intervals. batch_size: images or texts a forward pass; it changes speed and memory
    only. gallery: pictures kept of each data set for the report. audit: look for the pictures of the data sets in the
    training corpus and in each other's splits. bags: keep every model's tile features of slides as HDF5 files too, in
    the layout of CLAM and TRIDENT.
    """

    cards: list[RecipePath] = []
    datasets: list[str] = []
    data_root: RecipePath | None = None
    variables: dict[str, str] = {}
    nulls: list[Null] = list(NULLS)
    bootstrap: PositiveInt = 5000
    batch_size: PositiveInt = 256
    confidence: float = Field(0.95, gt=0.0, lt=1.0)
    gallery: int = Field(12, ge=0)
    audit: bool = True
    bags: bool = False
    probe: ProbeSettings = ProbeSettings()
    slides: SlideSettings = SlideSettings()
    survival: SurvivalSettings = SurvivalSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    vqa: VqaSettings = VqaSettings()

    @model_validator(mode="after")
    def _something(self) -> "EvaluateSettings":
        if not self.cards and not self.datasets:
            raise ValueError("no data set: name cards or datasets")
        if self.datasets and self.data_root is None:
            raise ValueError("datasets of the catalogue need data_root, the folder that has their data")
        return self
