"""From a table of labels to a model folder with a classifier, and to what the labels were worth.

N pictures, C classes, D dimensions.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmkd.adapt.card import adapted_card
from mmkd.adapt.classifier import Classifier, Facts
from mmkd.adapt.lora import METHOD, SOURCE, ImageTower, LoraSettings, Tuned
from mmkd.adapt.lora_measured import measure_lora, tune
from mmkd.adapt.measure import CONFIDENCE, METRICS, UNTESTED, Measured, Protocol, measure, outer_folds
from mmkd.adapt.methods import METHODS
from mmkd.adapt.pictures import Seen, check_copies, check_groups, embedded, group_of_each, stored
from mmkd.adapt.select import ZERO_SHOT, Choice, Labelled, choose
from mmkd.adapt.table import Table, read_table
from mmkd.cards.readers.tables import UNDECLARED
from mmkd.errors import ConfigError, DataError
from mmkd.export.checksums import SIGNATURE, write_sums
from mmkd.folders.atomic import write_json
from mmkd.folders.digests import file_digest
from mmkd.folders.intact import LOG
from mmkd.folders.stage import BEGUN, MANIFEST, Stage, complete
from mmkd.folders.sums import SUMS
from mmkd.inference.embed import write_rejects
from mmkd.inference.model import Model, named_folder, open_model
from mmkd.inference.onnx import onnx_digest
from mmkd.labels.calibrate import all_right
from mmkd.labels.classes import Classes, classes_of, of_names
from mmkd.labels.classify import class_vectors
from mmkd.progress import say
from mmkd.randomness import Purpose, generator
from mmkd.statistics.calibration import bounded_temperature, fit_temperature
from mmkd.statistics.metrics import Array
from mmkd.tables.dialect import Declared
from mmkd.teachers.files.identity import model_digest

OF_THE_STAGE = (MANIFEST, BEGUN, LOG, "files.json", "README.md", SUMS, SIGNATURE, "adapt.json")
CARD, PAGE, ROWS = "README.md", "adapt.html", "adapt.json"


@dataclass(frozen=True)
class Request:
    """What `mmkd adapt` is asked for. classes, prompt: of the prompts; `{}` in prompt stands for the label.
    lora: tune the image tower, too.

    columns: our column -> the table's. vectors: a file of `mmkd embed`, or None. declared: how a text table is written.
    """

    model: str
    table: Path
    classes: str = ""
    prompt: str = "{}"
    columns: Mapping[str, str] = field(default_factory=dict)
    vectors: Path | None = None
    root: Path | None = None
    device: str = "auto"
    workers: int = 0
    protocol: Protocol = field(default_factory=Protocol)
    lora: LoraSettings | None = None
    declared: Declared = UNDECLARED


@dataclass(frozen=True, eq=False)
class Prepared:
    """The labelled pictures as arrays. notes: what was done with the rows. test_N: rows of the split test."""

    table: Table
    seen: Seen
    classes: Classes
    data: Labelled
    test_N: Array
    notes: Sequence[str]


@dataclass(frozen=True, eq=False)
class Adapted:
    """What was written. rows: for each number of labels; row: the one that the classifier was measured by. folds: how
    they were tested, in words."""

    folder: Path
    classifier: Classifier
    choice: Choice
    rows: Sequence[Measured]
    row: Measured
    folds: str
    notes: Sequence[str]
    rejected: Counter[str]


def adapt(request: Request, out: Path, force: bool = False) -> Adapted | None:
    """Write the folder; None where it is there already, made of the same. Raises ConfigError, DataError, ModelError."""
    if request.lora and request.vectors:
        raise ConfigError("--lora reads the pictures; leave out --vectors")
    model = open_model(request.model, request.device)
    if (folder := named_folder(request.model)[1]) is not None:
        request = replace(request, model=str(folder))
    tower = ImageTower(request.model, request.device, request.lora) if request.lora else None
    settings = {
        **{"classes": request.classes, "prompt": request.prompt, "columns": dict(request.columns)},
        **{"protocol": asdict(request.protocol), "lora": request.lora and asdict(request.lora)},
        **({"declared": asdict(request.declared)} if request.declared else {}),
    }
    inputs = {"model": model.digest, "labels": file_digest(request.table)}
    if request.vectors:
        inputs["vectors"] = file_digest(request.vectors)
    stage = Stage("adapt", out, settings, inputs)
    found: list[Adapted] = []

    def body(partial: Path) -> dict[str, int]:
        found.append(_adapt(request, model, tower, partial, out))
        return {
            "pictures": sum(found[0].classifier.facts.data["labels"].values()),
            "rejected": found[0].rejected.total(),
        }

    complete(stage, body, force)
    return replace(found[0], folder=out) if found else None


def _adapt(request: Request, model: Model, tower: ImageTower | None, folder: Path, home: Path) -> Adapted:
    prepared = prepare(request, model)
    data, protocol = prepared.data, request.protocol
    fold_N, words = outer_folds(data, prepared.test_N, protocol.folds, protocol.seed)
    rows = measure(data, fold_N, protocol)
    learnt = data.only(~prepared.test_N)
    choice = choose(learnt, protocol.inner_folds, generator(protocol.seed, Purpose.ADAPT_INNER_FOLDS))
    row, tuned = rows[-1], None
    if tower is not None and prepared.seen.pixel_NCHW is not None:
        pixel_NCHW = prepared.seen.pixel_NCHW
        rows.append(measure_lora(tower, data, pixel_NCHW, fold_N, protocol))
        tuned = tune(tower, learnt, pixel_NCHW[~prepared.test_N], protocol.seed, UNTESTED)
    if tower is not None and tuned is not None and tuned.epoch > 0:
        row, choice = rows[-1], _of_lora(tuned)
        tower.save(folder, home)
        classifier = _tuned_classifier(prepared, learnt, tuned, row, words, home.name, model_digest(folder))
    else:
        if tuned is not None:
            say(f"{METHOD}: no clear gain ({tuned.gain}: epochs); the image tower stays as it was")
        classifier = fitted_classifier(prepared, learnt, choice, row, words, model, request.model)
        link_model(Path(request.model), folder)
    classifier.save(folder)
    write_rejects(folder / "pictures.csv", prepared.seen.rejected)
    rejected = Counter(str(one.reason) for one in prepared.seen.rejected)
    found = Adapted(folder, classifier, choice, rows, row, words, prepared.notes, rejected)
    write_outcome(found, Path(request.model))
    write_sums(folder)
    return found


def prepare(request: Request, model: Model) -> Prepared:
    """Everything read and checked; nothing is fitted."""
    given = classes_of(request.classes) if request.classes else None
    table = read_table(request.table, request.columns, given.names if given else (), request.declared)
    workers = request.workers or len(os.sched_getaffinity(0))
    vectors, root = request.vectors, request.root
    seen = stored(table, vectors, model) if vectors else embedded(table, model, root, workers, request.lora is not None)
    check_copies(table.path, seen)
    classes = given or _of_labels(table.labels, request.prompt)
    place = {name: number for number, name in enumerate(classes.names)}
    label_N = np.array([place[row.label] for row in seen.rows], np.int64)
    group_N, copies = group_of_each(seen.rows, seen.digests)
    check_groups(table.path, label_N, group_N, classes.names)
    data = Labelled(seen.vector_ND, label_N, group_N, class_vectors(model, classes), model.scale)
    test_N = np.array([row.split == "test" for row in seen.rows], np.bool_)
    notes = [*table.notes, *([f"{copies:,} pictures are copies of others; copies stay in one fold"] if copies else [])]
    kept_N, more = _without_leaks(table.path, data, test_N)
    if len(kept_N) < len(test_N):
        seen = seen.only(kept_N)
    return Prepared(table, seen, classes, data.only(kept_N), test_N[kept_N], [*notes, *more])


def _of_labels(labels: Sequence[str], prompt: str) -> Classes:
    names = of_names(labels)
    texts = tuple((prompt.replace("{}", name.replace("_", " ")),) for name in names.names)
    return Classes(names.names, texts)


def _without_leaks(table: Path, data: Labelled, test_N: Array) -> tuple[Array, list[str]]:
    """The rows without those of train whose group is tested, and a note on them. Raises DataError where a class is
    then missing on one side."""
    leak_N = ~test_N & np.isin(data.group_N, data.group_N[test_N])
    kept_N = np.flatnonzero(~leak_N)
    for side, side_N in (("train", ~test_N & ~leak_N), ("test", test_N)) if test_N.any() else ():
        if missing := set(range(len(data.text_CD))) - set(data.label_N[side_N].tolist()):
            raise DataError(f"{table}: the split {side} has no picture of {len(missing)} of the classes; add some")
    note = f"{leak_N.sum():,} pictures of train are left out: their group, or a copy of them, is in test"
    return kept_N, [note] if leak_N.any() else []


def fitted_classifier(
    prepared: Prepared, learnt: Labelled, choice: Choice, row: Measured, folds: str, model: Model, name: str
) -> Classifier:
    """The chosen method on all pictures that may be learnt from."""
    method, (_, setting) = METHODS[choice.candidate[0]], choice.candidate
    facts = Facts(
        method=method.name,
        setting=method.settings[setting],
        source=method.source,
        model=model.name if Path(name).is_dir() else name,
        model_digest=model.digest,
        onnx_digest=onnx_digest(Path(name)),
        dim=model.dim,
        **_temperature(choice.logit_NC, learnt.label_N, learnt.group_N),
        **_on_the_labels(prepared, learnt, row, folds),
    )
    return Classifier(facts, learnt.fitted(choice.candidate).astype(np.float32))


def _tuned_classifier(
    prepared: Prepared, learnt: Labelled, tuned: Tuned, row: Measured, folds: str, name: str, digest: str
) -> Classifier:
    """The prompts, on the vectors of the image tower that was tuned to them."""
    facts = Facts(
        method=METHOD,
        setting=f"epoch {tuned.epoch}",
        source=SOURCE,
        model=name,
        model_digest=digest,
        dim=prepared.seen.vector_ND.shape[1],
        **_temperature(tuned.val_NC, tuned.val_label_N, tuned.val_group_N),
        **_on_the_labels(prepared, learnt, row, folds),
    )
    return Classifier(facts, (learnt.scale * learnt.text_CD).astype(np.float32))


def _of_lora(tuned: Tuned) -> Choice:
    return Choice(ZERO_SHOT, tuned.gain, f"{tuned.gain}, on the held-out pictures", tuned.val_NC)


def _temperature(logit_NC: Array | None, label_N: Array, group_N: Array) -> dict[str, Any]:
    """logit_NC: of pictures by fits that had not seen them."""
    if logit_NC is None:
        note = "too few groups to fit a temperature: probabilities are not calibrated"
        return {"temperature": 1.0, "temperature_note": note}
    fitted = fit_temperature(logit_NC, label_N)
    if fitted.at_bound and fitted.value < 1:
        groups = len(np.unique(group_N))
        found = bounded_temperature(logit_NC, label_N, groups).value
        return {"temperature": found, "temperature_note": f"temperature from held-out pictures, {all_right(groups)}"}
    if fitted.at_bound:
        return {
            "temperature": 1.0,
            "temperature_note": "no temperature fits best: probabilities are not calibrated",
        }
    return {"temperature": fitted.value}


def _on_the_labels(prepared: Prepared, learnt: Labelled, row: Measured, folds: str) -> dict[str, Any]:
    """What a classifier rests on, and what it was measured to be worth."""
    count_C = np.bincount(learnt.label_N, minlength=len(learnt.text_CD)).tolist()
    data = {
        "table": file_digest(prepared.table.path),
        "labels": dict(zip(prepared.classes.names, count_C, strict=True)),
        "groups": len(np.unique(learnt.group_N)),
        "rejected": len(prepared.seen.rejected),
        "notes": list(prepared.notes),
    }
    gain = asdict(row.gain[METRICS[0]])
    return {
        "classes": list(prepared.classes.names),
        "prompts": [list(own) for own in prepared.classes.prompts],
        "gain": {"metric": METRICS[0], **gain, "confidence": CONFIDENCE, "tested": row.tested, "folds": folds},
        "data": data,
    }


def link_model(model: Path, folder: Path) -> None:
    """The model's files in the folder, as hard links where the disk has them, else copied. A model that is no folder is
    named in `classifier.json`."""
    if not model.is_dir():
        say(f"{model} is no folder: the classifier is written alone, and names its model")
        return
    import shutil

    for path in sorted(model.rglob("*")):
        target = folder / path.relative_to(model)
        if path.is_dir() or path.name in OF_THE_STAGE or path.name.startswith("classifier.") or path.suffix == ".html":
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(path.resolve(), target)
        except OSError:
            shutil.copyfile(path, target)


def write_outcome(found: Adapted, model: Path) -> None:
    """The page, its numbers as JSON, and the model card with its part on the labels."""
    from mmkd.adapt.page import write_adapt_page

    base = model / CARD
    text = base.read_text(encoding="utf-8") if base.is_file() else ""
    (found.folder / CARD).write_text(
        adapted_card(text, found.classifier.facts, found.rows, found.row), encoding="utf-8"
    )
    write_adapt_page(found.folder / PAGE, found)
    write_json(found.folder / ROWS, as_json(found))


def as_json(found: Adapted) -> dict[str, Any]:
    """For `--json`, and for `adapt.json`."""
    rows = [{**asdict(row), "verdict": row.verdict} for row in found.rows]
    return {"classifier": found.classifier.facts.model_dump(mode="json"), "rows": rows, "notes": list(found.notes)}
