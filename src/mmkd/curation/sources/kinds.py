"""The one place where a kind of source in the recipe meets the code that reads it."""

from collections.abc import Callable
from typing import Any

from mmkd.curation.records.record import Reader
from mmkd.curation.settings.sources import AnySource
from mmkd.curation.sources.dicom_series import DicomReader
from mmkd.curation.sources.folders import FoldersReader
from mmkd.curation.sources.hub import HubReader
from mmkd.curation.sources.nifti import NiftiReader
from mmkd.curation.sources.npz import NpzReader
from mmkd.curation.sources.reference import ReferenceReader
from mmkd.curation.sources.tables import TableReader
from mmkd.curation.sources.webdataset import WebDatasetReader

READERS: dict[str, Callable[[Any], Reader]] = {
    "table": TableReader,
    "folders": FoldersReader,
    "webdataset": WebDatasetReader,
    "npz": NpzReader,
    "datasets": HubReader,
    "reference": ReferenceReader,
    "dicom": DicomReader,
    "nifti": NiftiReader,
}


def open_source(source: AnySource) -> Reader:
    """The reader of a source."""
    return READERS[source.kind](source)


def warnings_of(source: AnySource, thorough: bool = False) -> list[str]:
    """What a user has to be told of how the source is read. thorough: text tables are read to their end for it. Raises
    ConfigError and DataError as its reader does."""
    reader = open_source(source)
    return reader.warnings(thorough) if isinstance(reader, TableReader | HubReader) else []
