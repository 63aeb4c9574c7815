"""A loaded model: vectors, labels and hits. N pictures, T texts, D dimensions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmkd.api.images import ImageLike, as_list, opened
from mmkd.archive.archive import Archive, Hit
from mmkd.archive.hits import plain
from mmkd.archive.index import Indexed, Options, index
from mmkd.archive.rows import facts_of
from mmkd.errors import ConfigError, DataError
from mmkd.inference.embed import Embedded, embed
from mmkd.inference.model import BATCH, Model, open_model
from mmkd.labels.classes import of_names, of_table
from mmkd.labels.classify import classify
from mmkd.progress import track
from mmkd.statistics.metrics import Array

if TYPE_CHECKING:
    import pandas as pd


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
        classes: Sequence[str] | Mapping[str, str | Sequence[str]],
        temperature: float | None = None,
    ) -> "pd.DataFrame":
        """A row for each picture: label, its probability, and a column `probability:CLASS` for each class.

        classes: names, or names with their prompts. temperature: fitted on labelled pictures; without it the model's
        own scale is taken, and the probabilities are not calibrated. Raises ConfigError, DataError.
        """
        if isinstance(classes, str):
            raise ConfigError(
                f"classes {classes!r}: a text; expected a list of names, or a mapping of names to prompts"
            )
        chosen = of_table(classes) if isinstance(classes, Mapping) else of_names(list(classes))
        table: pd.DataFrame = classify(self.model, self.embed_images(images), chosen, temperature).table().to_pandas()
        return table

    def index(self, source: str | Path, archive: str | Path) -> Indexed:
        """Bring an archive to what the source holds, as `mmkd index` does."""
        return index(Path(source), self.model, Archive.create(archive, facts_of(self.model, self.text)), Options())

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

        where, exclude_patient and by: as in `Archive.search`. Raises ConfigError where the archive is another model's.
        """
        import pandas as pd

        if (image is None) == (not text):
            raise ConfigError("search: give either a text or image=")
        within = archive if isinstance(archive, Archive) else Archive.open(archive)
        within.check(self.model)
        vector_1D = self.embed_texts(text) if image is None else self.embed_images([image])
        hits: list[Hit] = within.search(vector_1D[0], k, where, exclude_patient, by)
        return pd.DataFrame([plain(hit) for hit in hits])


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
