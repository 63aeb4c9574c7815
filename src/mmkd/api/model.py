"""A loaded model: vectors, labels and hits. N pictures, T texts, D dimensions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmkd.adapt.adapt import ROWS, Request, adapt
from mmkd.adapt.classifier import Classifier
from mmkd.adapt.measure import METRICS, Protocol
from mmkd.api.images import ImageLike, as_list, opened
from mmkd.archive.archive import Archive, Hit
from mmkd.archive.hits import COLUMNS, OPTIONAL, plain
from mmkd.archive.index import Indexed, Options, index
from mmkd.archive.rows import facts_of
from mmkd.errors import ConfigError, DataError
from mmkd.export.folder import export_folder
from mmkd.export.settings import ExportSettings
from mmkd.inference.embed import Embedded, embed
from mmkd.inference.model import BATCH, Model, named_folder, open_model
from mmkd.labels.classes import of_names, of_table
from mmkd.labels.classify import classify
from mmkd.progress import track
from mmkd.statistics.metrics import Array
from mmkd.validation import parse

if TYPE_CHECKING:
    import pandas as pd


GAIN = {"gain": "value", "low": "low", "high": "high"}


@dataclass(frozen=True)
class LoadedModel:
    """What `mmkd.load` returns. text: what it was loaded by. model: the protocol that the rest of mmkd works with."""

    text: str
    model: Model

    def __repr__(self) -> str:
        return f"<mmkd model {self.model.name}: {self.model.dim} dimensions, from {self.text}>"

    def embed_images(self, images: ImageLike | Sequence[ImageLike]) -> Array:
        """Vectors of length 1, float32 (N, D). A single picture gives (1, D). Raises DataError for what is none."""
        given = as_list(images)
        firsts = track(range(0, len(given), BATCH), "embed", len(given), "pictures", weight=BATCH)
        parts = [
            self.model.encode_images([opened(one, first + n) for n, one in enumerate(given[first : first + BATCH])])
            for first in firsts
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.model.dim), np.float32)

    def embed_texts(self, texts: str | Sequence[str]) -> Array:
        """Vectors of length 1, float32 (T, D). A single text gives (1, D)."""
        return self.model.encode_texts([texts] if isinstance(texts, str) else list(texts))

    def embed(self, source: str | Path, out: str | Path) -> Embedded:
        """The vectors of all pictures of a source, as `mmkd embed` writes them to a `.parquet` or `.npy` file."""
        return embed(Path(source), self.model, Path(out))

    def classify(
        self,
        images: ImageLike | Sequence[ImageLike],
        classes: Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
        temperature: float | None = None,
    ) -> "pd.DataFrame":
        """A row for each picture: label, its probability, and a column `probability:CLASS` for each class.

        classes: names, or names with their prompts. Without them the classifier in the model's folder answers, which
        `adapt` has written. temperature: fitted on labelled pictures; without it the model's own scale is taken, and
        the probabilities are not calibrated. Raises ConfigError, DataError.
        """
        if classes is None:
            return self._by_own_classifier(images, temperature)
        if isinstance(classes, str):
            raise ConfigError(
                f"classes {classes!r}: a text; expected a list of names, or a mapping of names to prompts"
            )
        chosen = of_table(classes) if isinstance(classes, Mapping) else of_names(list(classes))
        table: pd.DataFrame = classify(self.model, self.embed_images(images), chosen, temperature).table().to_pandas()
        return table

    def _by_own_classifier(self, images: ImageLike | Sequence[ImageLike], temperature: float | None) -> "pd.DataFrame":
        _, folder = named_folder(self.text)
        own = None if folder is None else Classifier.of_model(folder)
        if own is None:
            raise ConfigError(f"{self.text}: no classifier in it; give classes, or make one with adapt")
        if temperature is not None:
            raise ConfigError("temperature: the classifier has its own; leave it out")
        table: pd.DataFrame = own.head().classified(self.embed_images(images)).table().to_pandas()
        return table

    def adapt(
        self,
        labels: str | Path,
        out: str | Path,
        classes: str = "",
        prompt: str = "{}",
        seed: int = 0,
        force: bool = False,
    ) -> "Adaptation":
        """A classifier of a table of labelled pictures, as `mmkd adapt` makes it; `out` gets the model with it.

        labels: a table with columns image and label, and group and split where they are known. classes: as for
        `mmkd label`; without, the labels are the classes, and prompt is the text of a class, `{}` its label.
        Raises ConfigError, DataError, ModelError.
        """
        adapt(Request(self.text, Path(labels), classes, prompt, protocol=Protocol(seed=seed)), Path(out), force)
        return Adaptation(Path(out))

    def export(self, out: str | Path, to: Sequence[str] = (), force: bool = False) -> Path:
        """The model's folder in the formats of other tools, as `mmkd export` writes it; the folder.

        to: of open_clip, transformers and onnx; without it all that fit. Raises ConfigError for a model that is no
        folder, ModelError where a format does not agree with the model.
        """
        _, folder = named_folder(self.text)
        if folder is None:
            raise ConfigError(f"{self.text}: not a folder; export takes a model's folder, such as runs/NAME/export")
        settings = parse(ExportSettings, {"name": folder.resolve().name, "to": list(to) or None}, "export")
        export_folder(folder, Path(out).resolve(), settings, force)
        return Path(out)

    def index(self, source: str | Path, archive: str | Path) -> Indexed:
        """Bring an archive to what the source holds, as `mmkd index` does."""
        made = Archive.create(archive, facts_of(self.model, self.text))
        found = index(Path(source), self.model, made, Options())
        made.finish(self.model.encode_texts, found.is_changed)
        return found

    def search(
        self,
        archive: str | Path | Archive,
        text: str = "",
        *,
        image: ImageLike | None = None,
        k: int = 10,
        where: str = "",
        exclude_patient: str = "",
        by: str = "picture",
    ) -> "pd.DataFrame":
        """The k best hits for a text or a picture, a row for each, best first; the score is the cosine.

        where: a condition in SQL on the archive's columns, such as `modality = 'ct'`. exclude_patient: whose pictures
        are left out. by: picture or series. Raises ConfigError where the archive is another model's.
        """
        import pandas as pd

        if (image is None) == (not text):
            raise ConfigError("search: give either a text or image=")
        within = archive if isinstance(archive, Archive) else Archive.open(archive)
        within.check(self.model)
        vector_1D = self.embed_texts(text) if image is None else self.embed_images([image])
        hits: list[Hit] = within.search(vector_1D[0], k, where, exclude_patient, by)
        return pd.DataFrame([plain(hit) for hit in hits], columns=[*COLUMNS, *OPTIONAL])


@dataclass(frozen=True)
class Adaptation:
    """What `LoadedModel.adapt` returns; a notebook shows it as the table of gains."""

    folder: Path

    def _repr_html_(self) -> str:
        return str(self.gains().to_html(index=False, notebook=True))

    def gains(self) -> "pd.DataFrame":
        """A row for each number of labels a class: balanced accuracy by zero-shot and adapted, on pictures that were
        not learnt from, the gain with its 95 % interval, and the verdict."""
        import pandas as pd

        rows = json.loads((self.folder / ROWS).read_text())["rows"]
        return pd.DataFrame(
            {
                "labels a class": row["name"],
                "labels used": row["labels"],
                "zero-shot": row["zero_shot"][METRICS[0]]["value"],
                "adapted": row["adapted"][METRICS[0]]["value"],
                **{key: row["gain"][METRICS[0]][own] for key, own in GAIN.items()},
                "verdict": row["verdict"],
            }
            for row in rows
        )

    def model(self, device: str = "auto", precision: str = "fp32") -> LoadedModel:
        """The model with its classifier: `classify` without classes uses it."""
        return load(self.folder, device, precision)


def load(model: str | Path, device: str = "auto", precision: str = "fp32") -> LoadedModel:
    """The export of a run (`runs/demo/export`), a run's folder, or any model that `mmkd evaluate --model` takes.

    Raises ConfigError for what names no model, ModelError for one that does not load.
    """
    text = str(model)
    if (exported := Path(text) / "export").is_dir():
        text = str(exported)
    elif isinstance(model, Path) and not model.is_dir():
        raise DataError(f"{model}: no such folder; give the export of a run, runs/NAME/export")
    return LoadedModel(text, open_model(text, device, precision))
