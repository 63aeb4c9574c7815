"""Evaluation sets as curation sees them: pictures that must not be in the corpus."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mmkd.cards.catalogue import read_card
from mmkd.cards.readers.read import read_samples
from mmkd.cards.samples import PICTURE_SUFFIXES, FileImage, ImageRef
from mmkd.curation.decontaminate import EvaluationImages
from mmkd.curation.settings.curate import CurateSettings
from mmkd.errors import DataError
from mmkd.evaluation.data_sets.source import fingerprint
from mmkd.evaluation.leakage.hashes import VIEWS, hashes_and_thumbnails, view_pixels
from mmkd.folders.paths import files_below, fingerprint_of_files
from mmkd.images.store import stored_image
from mmkd.reasons import BadRecordError


@dataclass(frozen=True)
class DecontaminationImages:
    """The pictures of the data-set cards (`.toml`) and folders that `[curate] decontaminate` names.

    variables: what `${NAME}` in a card stands for, beside the environment. workers: threads that decode.
    """

    settings: CurateSettings
    variables: Mapping[str, str] = field(default_factory=dict)
    workers: int = 0

    def fingerprints(self) -> dict[str, str]:
        """Input of the corpus's stage -> digest. Raises DataError when a folder is missing, ConfigError for a card.

        Each is named by its place in the list as well: many sets have a folder `test`.
        """
        paths = self.settings.decontaminate
        return {f"decontaminate {place} {path.name}": _digest(path, self.variables) for place, path in enumerate(paths)}

    def read(self) -> EvaluationImages:
        """Their bytes, view hashes and thumbnails, each picture once. Raises DataError for an unreadable one."""
        named = self._named
        digests = [self._stored_digest(image) for image in named]
        view_MV, thumbnail_MK = hashes_and_thumbnails(list(named), lambda image: image.read(), self.workers)
        return EvaluationImages(list(named.values()), digests, view_MV, thumbnail_MK, list(VIEWS), view_pixels())

    @cached_property
    def _named(self) -> dict[ImageRef, str]:
        found: dict[ImageRef, str] = {}
        for path in self.settings.decontaminate:
            for image, name in _pictures(path, self.variables):
                found.setdefault(image, name)
        return found

    def _stored_digest(self, image: ImageRef) -> str:
        """Of the bytes that the corpus would store: it makes large pictures smaller and writes odd ones anew."""
        if isinstance(image, FileImage):
            settings = self.settings
            try:
                data = image.path.read_bytes()
                return stored_image(data, 1, settings.max_side, settings.max_pixels).sha256
            except BadRecordError:  # DICOM, say; its hashes tell it
                return image.digest()
            except OSError as error:
                raise DataError(f"{image.path}: not to be read ({error.strerror}); put it back") from error
        return image.digest()


def _pictures(path: Path, variables: Mapping[str, str]) -> Sequence[tuple[ImageRef, str]]:
    if path.suffix == ".toml":
        card = read_card(path, variables)
        return [(image, f"{card.id}/{sample.id}") for sample in read_samples(card) for image in sample.images]
    return [(FileImage(path / name), f"{path.name}/{name}") for name in files_below(path, PICTURE_SUFFIXES)]


def _digest(path: Path, variables: Mapping[str, str]) -> str:
    if path.suffix == ".toml":
        card = read_card(path, variables)
        return fingerprint(card, read_samples(card))
    return fingerprint_of_files(path, files_below(path, PICTURE_SUFFIXES))
