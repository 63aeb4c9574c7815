"""A real Orthanc keeps the pictures: stored and read back by DICOMweb, embedded, a label written to it."""

import io
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_samples import dicom
from dicomweb_client.api import DICOMwebClient
from pydicom.uid import generate_uid

from mmkd.inference.model import Model
from mmkd.inference.pictures import Picture, pictures

ORTHANC = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (Path(ORTHANC).is_file() and PLUGIN.is_file()),
        reason="no Orthanc: apt-get install orthanc orthanc-dicomweb",
    ),
]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    settings = {
        **{"Name": "test", "StorageDirectory": str(tmp_path / "db"), "IndexDirectory": str(tmp_path / "db")},
        **{"HttpPort": port, "DicomServerEnabled": False, "RemoteAccessAllowed": False, "Plugins": [str(PLUGIN)]},
        **{"DicomWeb": {"Enable": True, "Root": "/dicom-web/"}, "HttpBindAddresses": ["127.0.0.1"]},
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen([ORTHANC, tmp_path / "orthanc.json"], stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"{address}/system", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def call(address: str, body: bytes | None = None, method: str = "GET") -> bytes:
    with urllib.request.urlopen(urllib.request.Request(address, body, method=method), timeout=30) as answer:
        return bytes(answer.read())


def test_pictures_go_in_come_back_and_get_a_label(orthanc: str, host_model: Model, tmp_path: Path) -> None:
    for place in range(3):
        dicom(tmp_path / f"own/{place}.dcm", f"study {place}", place, StudyInstanceUID=generate_uid())
    client = DICOMwebClient(f"{orthanc}/dicom-web")
    client.store_instances([pydicom.dcmread(path) for path in sorted((tmp_path / "own").iterdir())])
    (tmp_path / "back").mkdir()
    for study in client.search_for_studies():
        for instance in client.retrieve_study(study["0020000D"]["Value"][0]):
            buffer = io.BytesIO()
            pydicom.dcmwrite(buffer, instance, enforce_file_format=True)
            (tmp_path / "back" / f"{instance.SOPInstanceUID}.dcm").write_bytes(buffer.getvalue())

    def vectors(folder: str) -> np.ndarray:
        found = [one for one in pictures(tmp_path / folder) if isinstance(one, Picture)]
        return np.sort(host_model.encode_images([one.read() for one in found]), axis=0)

    assert len(vectors("back")) == 3
    np.testing.assert_array_equal(vectors("back"), vectors("own"))
    [first, *_] = json.loads(call(f"{orthanc}/instances"))
    call(f"{orthanc}/instances/{first}/metadata/4321", b"pleural effusion", "PUT")
    assert call(f"{orthanc}/instances/{first}/metadata/4321") == b"pleural effusion"
