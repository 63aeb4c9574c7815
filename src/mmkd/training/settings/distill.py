"""The recipe section `[distill]`, which the rivals share."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from mmkd.progress import say
from mmkd.settings import Settings
from mmkd.training.settings.tables import OBJECTIVES, TERMS, WEIGHTINGS, Term, settings_read
from mmkd.training.settings.train import TrainSettings
from mmkd.validation import nearest

Targets = Literal["none", "centre", "standardise", "phi-s", "autoencoder"]
REFERENCES = ("mmkd", "mmkd-fixed")
OLD_KEYS: dict[str, tuple[str, ...]] = {
    **{name: ("terms", name) for name in ("heads", "interactive", "relational")},
    "caption_trust": ("caption_posterior",),
}
"""Keys of the release before and where they stand now; read for one more release."""


def _entry_of(table: Mapping[str, object]) -> AfterValidator:
    def known(name: str) -> str:
        if name not in table:
            raise ValueError(f"no entry {name!r}; {nearest(name, list(table))}")
        return name

    return AfterValidator(known)


class MmkdSettings(Settings):
    """The reference recipe; the defaults are what its public code does, each defect a switch.

    exp_scale: the interactive term's scale is exp(log 1/.07) = 14.3, not the logarithm itself, 2.66. train_scale: it is
    trained. normalise: projected targets are unit vectors. one_space: a pair's negatives come from the teacher that was
    drawn for the pair, not from whatever teacher each negative drew. shuffle: the order of the pairs changes with the
    epoch (the public stage 2 reads them in file order). gather_gradient: with several processes the other processes'
    embeddings carry gradients. fd, icl: weights of the feature distance (two MSE terms) and of the interactive term.
    projection: how a teacher's features reach the student's dimension. gate_rivals, gate_top: which teachers a sample
    has (`rank_gate`; of more than 65,536 pairs each is ranked among the same 1,024); top 1 admits every teacher.

    autoencoder_epochs: epochs in which a teacher's auto-encoder is fitted.
    """

    exp_scale: bool = False
    train_scale: bool = False
    normalise: bool = False
    one_space: bool = False
    shuffle: bool = False
    gather_gradient: bool = False
    projection: Literal["autoencoder", "linear"] = "autoencoder"
    autoencoder_epochs: PositiveInt = 5
    fd: NonNegativeFloat = 50.0
    icl: NonNegativeFloat = 1.0
    gate_rivals: PositiveInt = 64
    gate_top: float = Field(0.25, gt=0.0, le=1.0)

    def mended(self) -> "MmkdSettings":
        return self.model_copy(update=dict.fromkeys(DEFECTS, True))


DEFECTS = ("exp_scale", "train_scale", "normalise", "one_space", "shuffle", "gather_gradient")  # False is the defect


class DistillSettings(TrainSettings):
    """The recipe section `[distill]`: stage 2.

    objective: the main term. `stacked` (one image-text softmax of all teachers together, both ways, their cosines
    weighted and summed as `[reliability] method = "stacking"` fits it), `affinity` (the softmax of each teacher apart),
    `heads` (a light head per teacher and side towards its vectors), `interactive` (student against teacher captions and
    images, through those heads), `relational` (student's image-image and text-text structure), `contrastive` (stage 1
    continued), `mmkd` (the reference recipe) and `mmkd-fixed` (the same with every defect of it mended). contrastive:
    share of the contrastive term, the main term has the rest. terms: weights of other terms beside the main one, by
    their names; `patches`, which stands beside others only, has the cosines of the patches of a picture follow those in
    the teachers that have them (`[extract] patches`): not with `flip`, nor with a `shift` above half a patch.
    `contrastive`, `mmkd` and `mmkd-fixed` have no terms beside them, and shares of their own.
    joint_positives is false under `mmkd` unless it is given: the public code takes a caption's repeats for negatives.

    head_loss: of the heads. targets: what is done to a teacher's vectors before heads see them
    (`mmkd.training.experimental.targets`). min_weight: a teacher whose weight on a pair is not above it is ignored
    there. weighting: `soft` as measured; `best` only the best teacher of each modality or cluster; `trusted` equal
    weights for all with a weight above 0; `everyone` equal weights for all; `per_sample` all that rank this pair's
    caption high; `confidence` soft, times the teacher's probability of the pair to the power `confidence`; `dropping`
    at each step the teacher with the largest loss and each other one with probability `keep` (UNIC); `uncertainty` a
    trained variance per teacher (arXiv 1705.07115).
    without_teacher: what pairs on which no teacher has a weight learn from when `contrastive` is 0: their
    `captions`, or `nothing`. With a contrastive share they learn from their captions anyway.
    caption_posterior: 0 gives every caption the weight 1 in the contrastive term; above, the weight is the posterior
    of the caption being right, by how high the trusted teachers rank it, to this power.

    sharpness: of the term `stacked`; multiplies the fitted logits, so that 1 is the fit itself, and more is sharper.
    other_groups: of the same term; weight with which captions and pictures of other groups (modalities or clusters)
    count as wrong ones. 0 leaves them out, 1 makes one softmax of all.
    captionless: of the same term; pictures without a caption get one of their group from a "bank" at each step, as they
    do where this is not set, or teach "nothing". With other terms they are left out, and "bank" is refused.
    caption_evidence: of the same term; whether a pair's own caption counts as evidence beside the teachers, by the
    share of wrong captions that the reliability found in its group. Captions that the teachers call alike share it.
    self_teacher: of the same term; share of the target that comes from the average of the student's weights (mean
    teacher, arXiv 1703.01780), which needs `ema`: (1 - share) x the softmax of the stack + share x that of the average,
    over the same captions or pictures. The share is constant: at the first step the average is the student itself and
    hardly pulls.
    confidence: exponent of the weighting of that name. keep: probability of the weighting `dropping`.
    """

    objective: Annotated[str, _entry_of(OBJECTIVES)] = "stacked"
    contrastive: float = Field(0.0, ge=0.0, le=1.0)
    terms: dict[Annotated[str, _entry_of(TERMS)], NonNegativeFloat] = {}
    head_loss: Literal["cosine", "smooth_l1", "angle"] = "angle"
    targets: Targets = "centre"
    min_weight: float = Field(0.05, ge=0.0, lt=1.0)
    weighting: Annotated[str, _entry_of(WEIGHTINGS)] = "soft"
    sharpness: PositiveFloat = 1.0
    other_groups: NonNegativeFloat = 0.1
    caption_evidence: bool = True
    self_teacher: float = Field(0.0, ge=0.0, lt=1.0)
    captionless: Literal["bank", "nothing"] | None = None
    confidence: PositiveFloat = 1.0
    keep: float = Field(0.5, ge=0.0, le=1.0)
    without_teacher: Literal["captions", "nothing"] = "captions"
    caption_posterior: NonNegativeFloat = 0.0
    mmkd: MmkdSettings = MmkdSettings()

    @model_validator(mode="before")
    @classmethod
    def _old_keys_and_the_repeats_of_the_reference(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        data = _with_new_keys(data)
        return {"joint_positives": False, **data} if data.get("objective") == "mmkd" else data

    @model_validator(mode="after")
    def _matryoshka_without_heads(self) -> "DistillSettings":
        if self.matryoshka and (what := whole_vectors({"objective": self.objective, "terms": self.terms})):
            raise ValueError(
                f"matryoshka does not go with {what}, which maps vectors of all dimensions; take matryoshka out, or "
                "choose another objective"
            )
        return self

    @model_validator(mode="after")
    def _average_that_teaches(self) -> "DistillSettings":
        if self.self_teacher and not self.ema:
            raise ValueError(
                f"self_teacher is {self.self_teacher:g}, but ema is 0: there is no average of the weights that could "
                "teach; set ema, as to 0.99, or take self_teacher out"
            )
        return self

    @model_validator(mode="after")
    def _bank_that_is_read(self) -> "DistillSettings":
        if self.captionless == "bank" and not self.draws_captions:
            raise ValueError(
                f"captionless is \"bank\", but {self.pairs_alone}; expected the term 'stacked', "
                "with or without a contrastive share below 1; take captionless out, and pictures without captions are "
                "left out, or take the other out"
            )
        return self

    @model_validator(mode="after")
    def _patches_in_their_places(self) -> "DistillSettings":
        if self.follows_patches and self.augment.flip:
            raise ValueError(
                "augment.flip mirrors the student's pictures, but the teachers' patches of the term 'patches' stay in "
                "their places; set flip to false, or take the term out"
            )
        return self

    @property
    def trained_with(self) -> dict[str, Any]:
        """The keys that the student depends on; folders of releases without `self_teacher` are those of share 0, and
        those without `captionless` are those that do not set it."""
        unset = {"self_teacher": not self.self_teacher, "captionless": self.captionless is None}
        return self.model_dump(mode="json", exclude={name for name, is_unset in unset.items() if is_unset})

    @property
    def weights(self) -> dict[str, float]:
        """How the terms add up: the main one has what the captions leave; terms of weight 0 are left out."""
        weights = {**self.terms, self.objective: 1.0 - self.contrastive, "contrastive": self.contrastive}
        return {name: weight for name, weight in weights.items() if weight > 0}

    @property
    def is_stacked(self) -> bool:
        """Whether a term follows the stack of teachers, and so needs its slopes."""
        return any(term.stack for term in self._selected)

    @property
    def self_taught(self) -> bool:
        return self.self_teacher > 0 and self.is_stacked

    @property
    def reads_weights(self) -> bool:
        """Whether anything but the stack decides which teachers a pair has."""
        return not self._selected or any(term.reads_weighting for term in self._selected)

    @property
    def follows_patches(self) -> bool:
        """Whether a term follows the patches of pictures, and so needs those of student and teachers."""
        return any(term.patches for term in self._selected)

    def patch_problem(self, grid: int) -> str:
        """Why the term `patches` cannot follow a grid of this side; "" where it can, or where there is no such term."""
        if not self.follows_patches:
            return ""
        if grid < 2:
            return (
                f"the term 'patches' compares the patches of a picture, and [extract] patches is {grid}; set it to the "
                "side of a grid, such as 4, or take the term out"
            )
        if self.augment.shift > 0.5 / grid:
            return (
                f"augment.shift {self.augment.shift:g} moves pictures by more than half a patch of a grid of {grid} x "
                f"{grid}, but the teachers' patches of the term 'patches' stay in their places; set shift to "
                f"{0.5 / grid:g} or less, or [extract] patches smaller"
            )
        return ""

    @property
    def draws_captions(self) -> bool:
        """Whether pictures without a caption take part: no term but those of the stack learns from a pair."""
        return self.captionless != "nothing" and not self.pairs_alone

    @property
    def pairs_alone(self) -> str:
        """What learns from pairs with captions of their own only, in words; "" where pictures alone teach, too."""
        if self.objective not in TERMS:
            own = [f"objective {self.objective!r}"]
        elif not self._selected:
            own = ["a contrastive share of 1"]
        else:
            names = [name for name in self.weights if name in TERMS and not TERMS[name].stack]
            own = [f"objective {name!r}" if name == self.objective else f"the term {name!r}" for name in names]
        return f"{' and '.join(own)} learn{'s' * (len(own) == 1)} from pairs alone" if own else ""

    @property
    def _selected(self) -> list[Term]:
        """The terms that count; none for an objective without terms."""
        return [TERMS[name] for name in self.weights if name in TERMS] if self.objective in TERMS else []

    @property
    def without_effect(self) -> list[str]:
        """Keys that were changed although nothing reads them with this objective, these terms and this weighting."""
        read = {*TrainSettings.model_fields, *settings_read(self.objective, self.terms, self.weighting)}
        default = DistillSettings()
        own = [name for name in type(self).model_fields if name not in read]
        return [name for name in own if getattr(self, name) != getattr(default, name)]

    @property
    def problem(self) -> str:
        keys = ", ".join(self.without_effect)
        return (
            f"{keys} would have no effect with objective {self.objective!r}, weighting {self.weighting!r} and the "
            f"terms beside it ({', '.join(self.terms) or 'none'}); take {keys} out, or select what reads it"
        )

    @property
    def of_untrusted(self) -> str:
        """What stage 2 does with pairs on which no teacher passed the rank test, in words."""
        if self.objective == "contrastive":
            return "are learned from their captions alone, like all others"
        everyone = self.reads_weights and self.weighting in ("everyone", "uncertainty", "per_sample")
        if self.is_reference or everyone:
            return f"are learned from teachers all the same, as objective {self.objective!r} has it"
        if self.contrastive or self.without_teacher == "captions":
            return "are learned from their captions alone"
        return "are not learned from"

    @property
    def is_reference(self) -> bool:
        """Whether this is the reference recipe, as it is or mended: one drawn teacher a pair, behind a gate."""
        return self.objective in REFERENCES

    @property
    def reference(self) -> MmkdSettings:
        """The reference recipe as this objective means it: mended under `mmkd-fixed`."""
        return self.mmkd.mended() if self.objective == "mmkd-fixed" else self.mmkd


def whole_vectors(settings: Mapping[str, Any]) -> str:
    """Which part of a table `[distill]` maps the student's whole vectors, in words; "" where none does."""
    objective = settings.get("objective", "stacked")
    if objective in REFERENCES:
        return f"objective {objective!r}"
    named = [objective, *(name for name, weight in dict(settings.get("terms", {})).items() if weight)]
    return next((f"the term {name!r}" for name in named if name in TERMS and TERMS[name].heads), "")


def _with_new_keys(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings with the keys of `OLD_KEYS` where they stand now; a key under both names is left to fail."""
    found = dict(data)
    for old, (new, *inner) in OLD_KEYS.items():
        held = found.get(new, {}) if inner else found
        if old not in found or not isinstance(held, Mapping) or (inner[0] if inner else new) in held:
            continue
        value = found.pop(old)
        found[new] = {**held, inner[0]: value} if inner else value
        _say_once(f"[distill] {old} is now called {'.'.join((new, *inner))}; the old name goes with the next release")
    return found


@cache
def _say_once(line: str) -> None:
    say(line)
