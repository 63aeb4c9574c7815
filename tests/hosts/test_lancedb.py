"""LanceDB's own embedding registry opens the export: its vectors are mmkd's."""

from pathlib import Path

import lancedb
import numpy as np
from lancedb.embeddings import get_registry
from lancedb.pydantic import LanceModel, Vector
from PIL import Image

from mmkd.inference.model import Model


def test_the_registry_embeds_and_searches(
    host_export: Path, host_model: Model, host_images: list[Path], tmp_path: Path
) -> None:
    student = get_registry().get("open-clip").create(name=f"local-dir:{host_export}", pretrained="")

    class Picture(LanceModel):  # type: ignore[misc]
        path: str = student.SourceField()
        vector: Vector(student.ndims()) = student.VectorField()  # type: ignore[valid-type]

    table = lancedb.connect(tmp_path).create_table("pictures", schema=Picture)
    table.add([{"path": str(path)} for path in host_images])
    found = np.array(table.to_arrow()["vector"].to_pylist())
    expected_ND = host_model.encode_images([Image.open(path).convert("RGB") for path in host_images])
    np.testing.assert_allclose(found, expected_ND, atol=1e-5)
    [hit] = table.search("a line").metric("cosine").limit(1).to_list()
    cosine_N = expected_ND @ host_model.encode_texts(["a line"])[0]
    assert hit["path"] == str(host_images[cosine_N.argmax()])
    np.testing.assert_allclose(1 - hit["_distance"], cosine_N.max(), atol=1e-5)
