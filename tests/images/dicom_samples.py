"""Small DICOM files with a patient in their headers, and folders of them as a source."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from mmkd.curation.settings.sources import DicomSource
from mmkd.curation.sources.dicom_series import DicomReader

PATIENT = ("Doe^Jane", "MRN471100", "19620229")


def dicom(path: Path, series: str, place: int, **more: Any) -> None:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid(
        entropy_srcs=[series, str(place)]
    )
    header.PatientName, header.PatientID, header.PatientBirthDate = PATIENT
    header.Modality, header.BodyPartExamined, header.SeriesInstanceUID = (
        "CT",
        "CHEST",
        generate_uid(entropy_srcs=[series]),
    )
    header.StudyDescription = f"chest of {PATIENT[0]}"
    header.InstanceNumber = place
    header.Rows = header.Columns = 32
    header.PhotometricInterpretation, header.SamplesPerPixel, header.PixelRepresentation = "MONOCHROME2", 1, 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
    header.WindowCenter, header.WindowWidth = 2000, 4000
    values = np.random.default_rng(place + len(series)).integers(0, 4096, (32, 32), np.uint16)
    header.PixelData = np.asarray(values).tobytes()
    for name, value in more.items():
        setattr(header, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dcmwrite(path, header, enforce_file_format=True)


def source(folder: Path, **options: Any) -> DicomReader:
    return DicomReader(DicomSource.model_validate({"kind": "dicom", "name": "d", "path": folder, **options}))
