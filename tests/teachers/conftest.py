"""What tests of teachers share: nothing of the user's own is found, and converted weights are kept apart."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def weights_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's converted weights would be kept."""
    from mmkd.teachers.checkpoint import cache_folder

    monkeypatch.setenv("MMKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MMKD_TEACHERS", raising=False)
    return cache_folder()
