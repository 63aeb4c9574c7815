"""A slow rate is told with its digits."""

import pytest

from mmkd import progress


def test_a_slow_rate_is_not_told_as_zero(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0.0, 160.0, 200.0])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    list(progress.track([1, 2], "embed", 128, "pictures", weight=64))
    assert capsys.readouterr().out == "  embed: 64 of 128 pictures, 0.4/s, 160 s left\n"
