"""`mmkd label`."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmkd.commands.executor_options import ExecutorSet, executor_for, takes_executor
from mmkd.commands.source_options import (
    BurntIn,
    Delimiter,
    Device,
    Encoding,
    Group,
    Image,
    Modality,
    ModelName,
    Quoting,
    Root,
    Source,
    Step,
    WorkersOrThreads,
    source_options,
)
from mmkd.errors import ConfigError

if TYPE_CHECKING:
    from mmkd.labels.label import Labelled


SHOWN = 30  # labels that are counted on the terminal, the commonest first


@takes_executor
def label(
    source: Source,
    model: ModelName,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="Ends in .csv or .parquet; a page to look through lies beside it."),
    ] = Path("labels.csv"),
    classes: Annotated[
        str,
        typer.Option(
            "--classes", metavar="LIST", help='"a,b,c", or a TOML file: name = ["prompt", "a photo of {}"] a class.'
        ),
    ] = "",
    card: Annotated[
        str, typer.Option("--card", metavar="ID", help="Classes and prompts of a card of `mmkd datasets list`.")
    ] = "",
    threshold: Annotated[
        float, typer.Option("--threshold", min=0, max=1, help="Below this probability the label is left empty.")
    ] = 0,
    calibrate: Annotated[
        Path | None, typer.Option("--calibrate", metavar="TABLE", help="Labelled pictures: for probabilities and sets.")
    ] = None,
    label_column: Annotated[str, typer.Option("--label", metavar="COLUMN", help="Of the labels in TABLE.")] = "label",
    coverage: Annotated[
        float, typer.Option("--coverage", help="How often the set has the true class; 0 for no sets.")
    ] = 0.9,
    label_studio: Annotated[
        Path | None,
        typer.Option("--label-studio", metavar="FILE", help="Also write pre-annotations for Label Studio (.json)."),
    ] = None,
    device: Device = "auto",
    workers: WorkersOrThreads = 0,
    image: Image = "",
    root: Root = None,
    group: Group = "",
    step: Step = None,
    modality: Modality = "",
    burnt_in: BurntIn = "drop",
    encoding: Encoding = "",
    delimiter: Delimiter = "",
    quoting: Quoting = "",
    changes: ExecutorSet = None,
    executor: Sequence[str] = (),
) -> None:
    """Label every picture with the likeliest of some classes, each a text: no training, no labels needed.

    A model of `mmkd adapt` has classes of its own: without --classes and --card its classifier answers.

    With labelled pictures (--calibrate) the probabilities are calibrated, and each picture gets the set of classes that
    has the true one in 90 % of cases. Without, they are the model's own, and the output says so.

    With --executor, workers share the pictures.
    """
    options = source_options(
        image=image, root=root, group=group, step=step, modality=modality, burnt_in=burnt_in, encoding=encoding,
        delimiter=delimiter, quoting=quoting,
    )  # fmt: skip
    from mmkd.adapt.classifier import Classifier
    from mmkd.inference.embed import check_out
    from mmkd.inference.hand_out import workers_of
    from mmkd.inference.model import named_folder, open_model
    from mmkd.labels.calibrate import run_of
    from mmkd.labels.classes import classes_of
    from mmkd.labels.head import by_prompts
    from mmkd.labels.label import SUFFIXES, calibration_from
    from mmkd.labels.label import label as body
    from mmkd.labels.page import write_labels_page

    check_out(source, out, SUFFIXES, calibrate)
    if label_studio is not None:
        check_out(source, label_studio, (".json",), calibrate, "--label-studio")
        if label_studio.resolve() == out.with_suffix(".json").resolve():
            raise ConfigError(f"--label-studio {label_studio}: the facts of {out} go there; choose another name")
    _, folder = named_folder(model)
    run = None if folder is None else run_of(str(folder))
    own = None if classes or card or folder is None else Classifier.of_model(folder)
    wanted = classes_of(classes, card, run) if own is None else own.head().classes
    opened = open_model(model, device)
    hands = workers_of(executor_for([*executor, *(changes or [])]), model, device, workers, out)
    workers = workers or len(os.sched_getaffinity(0))
    head = by_prompts(opened, wanted, run) if own is None else own.head()
    if calibrate is not None:
        if calibrate.is_dir() or not calibrate.exists():
            raise ConfigError(f"--calibrate {calibrate}: expected a table with a column of pictures and one of labels")
        if own is not None:
            own.check_not_learnt(calibrate)
        work = out.with_name(f".{out.name}.calibration")
        fitted = calibration_from(calibrate, label_column, opened, head, coverage, options, work, workers, hands=hands)
        head = replace(head, calibration=fitted)
    found = body(source, opened, head, out, threshold, options, workers, hands)
    page = out.with_suffix(".html")
    write_labels_page(page, source, found, options, threshold, opened.name)
    _report(found, page)
    if label_studio is not None:
        _pre_annotations(label_studio, source, found, wanted.names, f"{opened.name} {opened.digest[:12]}")


def _pre_annotations(path: Path, source: Path, found: "Labelled", classes: Sequence[str], version: str) -> None:
    from mmkd.labels.label_studio import folder_of, write_label_studio

    left_out = write_label_studio(path, source, found, classes, version)
    if left_out:
        print(f"{left_out:10,}  left out of {path}: no JPEG, PNG, WebP, GIF or BMP file in {folder_of(source)}")
    print(f"written: {path}, {path.with_suffix('.xml')}; document root of Label Studio: {folder_of(source).parent}")


def _report(found: "Labelled", page: Path) -> None:
    for name, count in found.classes.most_common(SHOWN):
        print(f"{count:10,}  {name}")
    if (rest := len(found.classes) - SHOWN) > 0:
        print(
            f"{found.classes.total() - sum(n for _, n in found.classes.most_common(SHOWN)):10,}  {rest:,} other classes"
        )
    if found.abstained:
        print(f"{found.abstained:10,}  abstained")
    for reason, count in found.rejected.most_common():
        print(f"{count:10,}  not read: {reason}")
    listed = f", what was rejected in {found.rejects}" if found.rejects else ""
    print(f"{found.calibration}\nwritten: {found.out}, {page}{listed}")
