"""What `[distill]` can name: loss terms, weightings and objectives, each in one entry with the settings that it reads.

Adding one is an entry here and its code; the recipe knows it by the entry, and the laws in the tests iterate over
the tables. An entry names its code instead of importing it, so that reading a recipe imports no torch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

DISTILLED = ("contrastive", "terms", "weighting", "min_weight", "caption_posterior", "without_teacher")
UNREAD_BY_STACKS = ("weighting",)
OBJECTIVE_CODE, EXPERIMENTAL = "mmkd.training.objectives", "mmkd.training.experimental"
SOFT = "mmkd.training.targets.teacher_targets:soft"
HEADS = ("targets", "head_loss")


@dataclass(frozen=True)
class Entry:
    """code: `module:name`. settings: keys of `[distill]` that are read where this entry is selected."""

    code: str
    settings: tuple[str, ...] = ()

    def load(self) -> Any:
        module, _, name = self.code.partition(":")
        return getattr(import_module(module), name)


@dataclass(frozen=True)
class Term(Entry):
    """A loss of the student against one teacher; code: (View, TeacherInputs) -> a value for each own pair (B,).

    As the main term its weight is what the contrastive share leaves; beside another one, that of `[distill.terms]`.
    heads: it sees the teacher through heads, which are trained for it. scale: and with a trained scale.
    stack: it follows all teachers at once by their slopes, and reads no weighting; code: (View, DistillSettings) -> a
    value for each own pair (B,) and how much it counts (B,).
    patches: it follows the patches of pictures, by slopes where a term of the stack stands beside it and by weights
    else; code: as of a stack. It trains no vectors of whole pictures, so it stands beside another term only.
    """

    heads: bool = False
    scale: bool = False
    stack: bool = False
    patches: bool = False

    @property
    def reads_weighting(self) -> bool:
        """Whether it makes `weighting` have an effect wherever it stands; patches leave that to the terms beside."""
        return not self.stack and not self.patches


@dataclass(frozen=True)
class Weighting(Entry):
    """How much each teacher counts on a pair; code: (soft_NT, available_NT) -> weights (N, T), once for a stage.

    step: code of a `StepWeighting`, which changes weights or losses at each step. gated: of each pair, only teachers
    that rank its caption high are available.
    """

    step: str = ""
    gated: bool = False

    def load_step(self) -> Any:
        """The class that `step` names, None without one."""
        return Entry(self.step).load() if self.step else None


TERMS: Mapping[str, Term] = {
    "affinity": Term(f"{OBJECTIVE_CODE}.distilled:affinity_term"),
    "heads": Term(f"{EXPERIMENTAL}.heads:heads_term", HEADS, heads=True),
    "interactive": Term(f"{EXPERIMENTAL}.heads:interactive_term", ("targets",), heads=True, scale=True),
    "patches": Term(f"{EXPERIMENTAL}.patches:patches_term", patches=True),
    "relational": Term(f"{EXPERIMENTAL}.relational:relational_term"),
    "stacked": Term(
        f"{OBJECTIVE_CODE}.stacked:stacked_term",
        ("sharpness", "other_groups", "caption_evidence", "self_teacher"),
        stack=True,
    ),
}
WEIGHTINGS: Mapping[str, Weighting] = {
    "soft": Weighting(SOFT),
    "best": Weighting(f"{EXPERIMENTAL}.weightings:best"),
    "trusted": Weighting(f"{EXPERIMENTAL}.weightings:trusted"),
    "everyone": Weighting(f"{EXPERIMENTAL}.weightings:everyone"),
    "per_sample": Weighting(f"{EXPERIMENTAL}.weightings:per_sample", ("mmkd",), gated=True),
    "confidence": Weighting(SOFT, ("confidence",), step=f"{EXPERIMENTAL}.weightings:Confidence"),
    "dropping": Weighting(SOFT, ("keep",), step=f"{EXPERIMENTAL}.weightings:Dropping"),
    "uncertainty": Weighting(f"{EXPERIMENTAL}.weightings:everyone", step=f"{EXPERIMENTAL}.weightings:Uncertainty"),
}
OBJECTIVES: Mapping[str, Entry] = {
    **{name: Entry(f"{OBJECTIVE_CODE}.distilled:Distilled", DISTILLED) for name in TERMS if not TERMS[name].patches},
    "contrastive": Entry(f"{OBJECTIVE_CODE}.contrastive:Contrastive"),
    "mmkd": Entry(f"{OBJECTIVE_CODE}.mmkd:Mmkd", ("mmkd",)),
    "mmkd-fixed": Entry(f"{OBJECTIVE_CODE}.mmkd:Mmkd", ("mmkd",)),
}
"""code: (settings, the student's dimension, TeacherShapes, generator of first weights) -> Objective."""


def settings_read(objective: str, terms: Mapping[str, float], weighting: str) -> Iterator[str]:
    """The keys of `[distill]` that have an effect with this choice."""
    own = OBJECTIVES[objective].settings
    selected = {objective, *(name for name, weight in terms.items() if weight > 0)} if "terms" in own else set()
    unread = UNREAD_BY_STACKS if selected and not any(TERMS[name].reads_weighting for name in selected) else ()
    yield from ("objective", *(name for name in own if name not in unread))
    for name in selected:
        yield from TERMS[name].settings
    if "weighting" in own and "weighting" not in unread:
        yield from WEIGHTINGS[weighting].settings
