"""What is checked before a long run begins: all that the folders still to be made need, in one list of problems."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mmkd.errors import ConfigError, MmkdError
from mmkd.folders.stage import read_manifest, status
from mmkd.pipeline.run import Run
from mmkd.pipeline.standing import BROKEN, STALE, Standing, consequences
from mmkd.pipeline.table import STAGES
from mmkd.progress import say
from mmkd.teachers.zoo.settings import REFERENCE, TeacherSpec

if TYPE_CHECKING:
    from mmkd.cards.card import Card
    from mmkd.curation.plan import SourcePlan
    from mmkd.curation.settings.curate import CurateSettings
    from mmkd.training.plan import StudentCount

DECODED = 200  # pictures of a data set that are tried before a run; 'mmkd datasets check --card' tries more
GIGA, FLOAT, USUAL_DIM = 1e9, 4, 768
T = TypeVar("T")
UNSURE = 2  # an estimate from first shards may be twice too high, and then stops no run


@dataclass
class Findings:
    """What was found wrong, and what was looked at, a line each.

    to_make: folders below the run's. bytes: how many each of them will take, as far as one can tell. pairs: of the
    corpus, exact or from the sources' first shards. captionless: how many of them are pictures without a
    caption, 0 where it is not known. waiting: what the run makes first, so that it is not there to be
    looked at. dims: of teachers. pictures: of the data sets.
    """

    to_make: set[str]
    problems: list[str] = field(default_factory=list)
    looked_at: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    bytes: dict[str, float] = field(default_factory=dict)
    pairs: int = 0
    captionless: int = 0
    dims: dict[str, int] = field(default_factory=dict)
    pictures: int = 0

    def problem(self, *told: str) -> None:
        """Add what is not there yet: two looks, or two sources, may find the same."""
        self.problems += [one for one in dict.fromkeys(told) if one not in self.problems]


def standings(run: Run, only: str = "") -> dict[str, Standing]:
    """How each folder stands that the run, or one stage of it, would leave: name below the run's folder -> standing.

    The code of the run itself says what a folder is made from. Nothing is changed.
    """
    found: dict[str, Standing] = {}
    looked_at = replace(run, standings=found)
    for spec in [STAGES[only]] if only else STAGES.values():
        spec.work(looked_at)
    return found


def show_standings(run: Run, only: str = "") -> None:
    """Print them, a line each. Raises ConfigError where the run would be refused."""
    found = standings(run, only)
    for spec in [STAGES[only]] if only else STAGES.values():
        names = {name for folder in spec.folder_names(run) for name in (folder, f"{folder}.corpus")}
        for name, one in found.items():
            if name in names:
                print(f"{spec.name:12s} {one.state:9s} {run.out / name}{f': {one}' if str(one) else ''}")
    refuse(found)


def refuse(found: Mapping[str, Standing], problems: Sequence[str] = ()) -> None:
    """Raise ConfigError for the problems and for folders that a run without --force would not touch, all at once."""
    told = [f"{name}: {one.why}" for name, one in found.items() if one.state == BROKEN]
    if stale := [f"{name}: {one.why}" for name, one in found.items() if one.state == STALE]:
        told.append(f"{'; '.join(stale)}; nothing was changed. Choose another --out; {consequences(found)}")
    if told := [*told, *problems]:
        raise ConfigError("\n".join(told))


def preflight(run: Run) -> None:
    """Look at all that the folders still to be made need; a run that is finished looks at nothing.

    No network is loaded. Raises ConfigError that lists every problem.
    """
    from mmkd.training.records.metrics_log import check_tracking

    check_tracking(run.recipe.machine.track)
    if not run.force and all(status(path) == "complete" for spec in STAGES.values() for path in spec.paths(run)):
        return
    found = standings(run)
    findings = check(run, found)
    for line in findings.looked_at:
        say(line)
    refuse(found, findings.problems)


def check(run: Run, found: Mapping[str, Standing], thorough: bool = False) -> Findings:
    """What the folders need that are still to be made. thorough: text tables are read to their end for it."""
    findings = Findings({name for name, one in found.items() if one.is_made(run.force)})
    for part in (partial(_sources, thorough=thorough), _teachers, _students, _cards, _space):
        part(run, findings)
    if findings.waiting:
        findings.looked_at.append(f"not looked at, the run makes them first: {', '.join(findings.waiting)}")
    return findings


def _sources(run: Run, findings: Findings, thorough: bool) -> None:
    from mmkd.curation.curate import check_apart
    from mmkd.curation.ledger.steps import CAPTIONLESS

    if status(run.out / "corpus") == "complete" and "corpus" not in findings.to_make:
        counts = read_manifest(run.out / "corpus")["counts"]
        findings.pairs = counts["train"] + counts["val"]
        findings.captionless = counts.get(CAPTIONLESS, 0)
    curated = {f"specialists/{one.name}.corpus": one.curate for one in run.specialists}
    for name, settings in {**curated, "corpus": run.recipe.curate}.items():
        if name in findings.to_make:
            _tried(partial(check_apart, settings, run.out / name), findings)
            plans = _planned(run, settings, findings, thorough)
            pairs = sum(plan.records * plan.kept for plan in plans)
            findings.bytes[name] = 2 * sum(plan.bytes_kept for plan in plans)  # its shards and itself
            findings.pairs = round(pairs) if name == "corpus" else findings.pairs


def _planned(run: Run, settings: "CurateSettings", findings: Findings, thorough: bool) -> "list[SourcePlan]":
    from mmkd.curation.facts.dropped import warning_of_dropped
    from mmkd.curation.ledger.notes import notes_in_words
    from mmkd.curation.plan import plan_curation
    from mmkd.curation.sources.kinds import warnings_of
    from mmkd.curation.sources.names import named_sources
    from mmkd.curation.sources.wrong_captions import warning_of

    plans = []
    for path in settings.decontaminate:
        if not path.exists() and not _waits(run, str(path), findings):
            findings.problem(f"[curate] decontaminate: no {path}; expected a data-set card or a folder")
    named = _tried(lambda: named_sources(settings), findings) or []
    findings.looked_at += filter(None, [warning_of(named), warning_of_dropped(settings.drop_captions)])
    for source in named:
        if source.kind == "datasets" and not Path(source.path).exists():
            findings.looked_at.append(f"source {source.name}: {source.path} is on a hub, and was not looked at")
        elif not _waits(run, str(source.path), findings):
            where, one = f"source {source.name!r}: ", settings.model_copy(update={"sources": [source]})
            told = _tried(partial(warnings_of, source, thorough), findings, where) or []
            findings.looked_at += [line for line in told if line not in findings.looked_at]  # specialists may share it
            plans += _tried(partial(plan_curation, one), findings, where) or []
    for plan in plans:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in plan.rejected.items())
        if not plan.kept:
            of = f"of {plan.looked_at:,} records none passes the checks ({reasons})" if plan.looked_at else "no record"
            example = next(iter(plan.examples.values()), "see 'mmkd curate --dry-run'")
            findings.problem(f"source {plan.name!r}: {of}; {example}")
        findings.looked_at += notes_in_words(f"source {plan.name}, of {plan.looked_at:,} records looked at", plan.noted)
        looked = f"{plan.kept:.0%} of {plan.looked_at:,} looked at pass the checks{f' ({reasons})' if reasons else ''}"
        findings.looked_at.append(f"source {plan.name}: about {plan.records:,} records, {looked}")
    return plans


def _waits(run: Run, value: Any, findings: Findings) -> bool:
    """Whether a setting names what the run makes first."""
    text = json.dumps(run.kept(value))
    found = any(f"${{out}}/{name}" in text for name in findings.to_make)
    if found and isinstance(value, str):
        findings.waiting.append(run.kept(value))
    return found


def _tried(look: Callable[[], T], findings: Findings, where: str = "") -> T | None:
    """What the look finds; its problem is a finding."""
    try:
        return look()
    except MmkdError as error:
        findings.problem(str(error) if where in str(error) else f"{where}{error}")
        return None


def _teachers(run: Run, findings: Findings) -> None:
    from mmkd.teachers.zoo.licences import refuse_licences

    given = [spec for spec in run.recipe.teachers if f"features/{spec.name}" in findings.to_make]
    _tried(lambda: refuse_licences(given, run.recipe.extract.licence), findings)
    for spec in given:
        dim = _tried(partial(_look_at_teacher, spec), findings)
        if dim is not None:
            findings.dims[spec.name] = dim
            shown = f"{dim} dimensions, " if dim else ""
            findings.looked_at.append(f"teacher {spec.name}: {shown}licence {spec.licence}")


def _look_at_teacher(spec: TeacherSpec) -> int:
    """Its dimension; 0 where its files do not say it."""
    if spec.library == REFERENCE:
        from mmkd.features.from_reference import teacher_names

        if spec.name not in (stored := teacher_names(Path(spec.model))):
            raise ConfigError(f"teacher {spec.name!r}: {spec.model} has features of {', '.join(stored) or 'nobody'}")
        return 0
    from mmkd.teachers.files.identity import identity
    from mmkd.teachers.load import check_files

    identity(spec)
    return check_files(spec) or 0


def _students(run: Run, findings: Findings) -> None:
    recipe = run.recipe
    own = {f"specialists/{one.name}": (one.student, one.pretrain, one.curate.val) for one in run.specialists}
    shared = {name: (recipe.student, one, recipe.curate.val) for name, one in recipe.trainings.items()}
    to_train = {name: of for name, of in {**own, **shared}.items() if name in findings.to_make}
    if not to_train:
        return
    from mmkd.device import check_gpus, prepare
    from mmkd.features.plan import CAPTION_TOKENS
    from mmkd.training.matryoshka import check_matryoshka
    from mmkd.training.plan import checkpoint_bytes, count_student, follows_patches

    _tried(lambda: prepare(recipe.machine), findings)
    if shared.keys() & to_train:  # specialists are trained by this process
        _tried(lambda: check_gpus(recipe.machine), findings)
    counted: dict[str, tuple[int, int]] = {}
    for name, (student, settings, val) in to_train.items():
        if settings.validate_every and not val:
            findings.problem(f"{name}: validate_every needs pairs to validate on; set [curate] val above 0")
        learned = findings.pairs - (0 if getattr(settings, "draws_captions", False) else findings.captionless)
        if student == recipe.student and findings.pairs and settings.batch_size > learned:
            findings.problem(
                f"{name}: batch_size {settings.batch_size:,} is larger than the corpus of {learned:,} pairs; "
                "lower it or add pairs"
            )
        key = student.model_dump_json() + str(follows_patches(settings))
        if key not in counted:
            look = partial(count_student, student, settings, CAPTION_TOKENS, recipe.extract.patches)
            counted[key] = _look_at_student(name, look, findings)
            findings.problem(
                *(
                    f"{name}: no {path}; check the path in the recipe"
                    for path in (student.tokenizer, student.weights)
                    if path and not path.exists() and not _waits(run, str(path), findings)
                )
            )
        parameters, dim = counted[key]
        findings.bytes[name] = FLOAT * parameters + checkpoint_bytes(settings, parameters)
        if dim:
            _tried(partial(check_matryoshka, settings.matryoshka, dim), findings, f"{name}: ")


def _look_at_student(name: str, count: "Callable[[], StudentCount]", findings: Findings) -> tuple[int, int]:
    """Its parameters, and the dimensions of its vectors; 0 where it cannot be built."""
    if (found := _tried(count, findings, f"{name}: ")) is None:
        return 0, 0
    findings.looked_at.append(f"{name}: a student of {found.parameters:,} parameters")
    return found.parameters, found.dim


def _cards(run: Run, findings: Findings) -> None:
    if "evaluate" not in findings.to_make:
        return
    from mmkd.evaluation.data_sets.checks import examined
    from mmkd.pipeline.evaluation_cost import pictures_of

    settings, seed = run.recipe.evaluate, run.recipe.seed
    for card in _readable_cards(run, findings):
        if _waits(run, card.layout.model_dump(mode="json"), findings):
            findings.waiting.append(card.id)
            continue
        samples, problems = examined(card, settings, seed, DECODED)
        findings.problem(*problems)
        findings.pictures += sum(pictures_of(card, samples, settings.corruptions))
        findings.looked_at.append(f"data set {card.id}: {', '.join(card.tasks)}; {len(samples):,} samples")


def _readable_cards(run: Run, findings: Findings) -> "Iterator[Card]":
    from mmkd.evaluation.data_sets.choose import chosen_cards, load_card

    settings = run.recipe.evaluate
    own = [path for path in settings.cards if not _waits(run, str(path), findings)]
    readable = [path for path in own if _tried(partial(load_card, path, settings.variables), findings)]
    if readable or settings.datasets:
        chosen = settings.model_copy(update={"cards": readable})
        yield from _tried(lambda: chosen_cards(chosen), findings) or []


def _space(run: Run, findings: Findings) -> None:
    if dims := {name: dim for name, dim in findings.dims.items() if dim}:
        from mmkd.features.plan import pair_bytes

        for name, dim in dims.items():
            findings.bytes[f"features/{name}"] = findings.pairs * pair_bytes(dim)
    if "evaluate" in findings.to_make:
        models = len(run.teachers) + len(run.students)
        findings.bytes["evaluate"] = FLOAT * USUAL_DIM * models * findings.pictures
    place = next(path for path in (run.out, *run.out.parents) if path.exists())
    free, needed = shutil.disk_usage(place).free, sum(findings.bytes.values())
    sizes = ", ".join(f"{name} {size / GIGA:,.2f}" for name, size in findings.bytes.items() if size)
    if run.recipe.extract.patches and findings.dims:
        sizes += "; patches of the teachers, which 'mmkd plan' counts, come on top"
    told = f"disk: about {needed / GIGA:,.2f} GB are needed ({sizes or 'nothing'}), {free / GIGA:,.1f} GB are free"
    if needed > free * (UNSURE if "corpus" in findings.to_make else 1):
        findings.problem(f"{told} in {place}; make room, or choose another --out")
    elif findings.bytes:
        findings.looked_at.append(told)
