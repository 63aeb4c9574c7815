"""`mmkd export`: the stage of a recipe, or any model folder, in the formats of other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmkd.commands.options import DryRun, Force, Out, Set, open_run
from mmkd.errors import ConfigError

if TYPE_CHECKING:
    from mmkd.export.settings import ExportSettings


def export(
    what: Annotated[Path, typer.Argument(metavar="RECIPE|MODEL", help="A recipe, or a folder with a model.")],
    out: Out = None,
    to: Annotated[
        str, typer.Option("--to", metavar="A,B", help="open_clip, transformers, onnx. [default: all that fit]")
    ] = "",
    sign: Annotated[
        Path | None, typer.Option("--sign", metavar="KEY", help="Sign the folder with this private key (PEM).")
    ] = None,
    probe: Annotated[
        Path | None,
        typer.Option(
            "--probe", metavar="FILE", help="Of a folder of `mmkd adapt`: tower and classifier as one .onnx or .pt."
        ),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option("--dim", min=1, help="Keep the first dimensions of the vectors only (a student of `matryoshka`)."),
    ] = None,
    changes: Set = None,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Write the student for open_clip, transformers and ONNX Runtime in one folder, each checked against it."""
    if probe is not None:
        _probe(what, probe, bool(out or to or sign or dim or changes or dry_run))
        return
    formats = [name.strip() for name in to.split(",") if name.strip()]
    if what.is_dir():
        if changes or dry_run:
            raise ConfigError(f"{what} is a model's folder; --set and --dry-run belong to a recipe")
        _of_folder(what, out, _settings(what, formats, sign, dim), force)
        return
    from mmkd.pipeline.work import work_one

    own = [f"export.to={formats!r}"] * bool(formats)
    own += [f"export.dim={dim}"] if dim else []
    own += [f"export.sign={str(sign.resolve())!r}"] if sign else []
    work_one(open_run(what, out, [*(changes or []), *own], force), "export", dry_run)


def _probe(model: Path, file: Path, others: bool) -> None:
    from mmkd.adapt.probe import write_probe

    if others:
        raise ConfigError("--probe writes that file alone; leave out --out, --to, --sign, --dim, --set and --dry-run")
    worst = write_probe(model, file)
    print(f"written: {file}, {file.with_suffix('.json')}; probabilities within {worst:.1g} of mmkd's")


def _of_folder(model: Path, out: Path | None, settings: "ExportSettings", force: bool) -> None:
    from mmkd.export.folder import export_folder

    if out is None:
        raise ConfigError(f"{model} is a model's folder; say where the export goes: --out FOLDER")
    export_folder(model, out.resolve(), settings, force)
    print(f"export: {out}")


def _settings(model: Path, formats: list[str], key: Path | None, dim: int | None) -> "ExportSettings":
    from mmkd.export.settings import ExportSettings
    from mmkd.validation import parse

    name = model.resolve().name if dim is None else f"{model.resolve().name}-{dim}"
    asked = {"name": name, "to": formats or None, "sign": str(key.resolve()) if key else None, "dim": dim}
    return parse(ExportSettings, asked, "mmkd export")
