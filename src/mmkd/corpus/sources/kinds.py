"""The one place where a kind of source in the recipe meets the code that reads it."""

from collections.abc import Callable
from typing import Any

from mmkd.corpus.records import Reader
from mmkd.corpus.settings import AnySource
from mmkd.corpus.sources.dicom_series import DicomReader
from mmkd.corpus.sources.folders import FoldersReader
from mmkd.corpus.sources.hub import HubReader
from mmkd.corpus.sources.nifti import NiftiReader
from mmkd.corpus.sources.npz import NpzReader
from mmkd.corpus.sources.reference import ReferenceReader
from mmkd.corpus.sources.tables import TableReader
from mmkd.corpus.sources.webdataset import WebDatasetReader

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
