"""Which device a process gets."""

import pytest
import torch

from mmkd.device import prepare
from mmkd.errors import ConfigError
from mmkd.settings import Machine


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """Pretended GPUs; the list has those that became the current one."""
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    return current


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_of_several_processes_computes_on_its_own_gpu(name: str, two_gpus: list[torch.device]) -> None:
    own = torch.device("cuda", 1)
    assert prepare(Machine(device=name), local_rank=1) == own
    assert two_gpus == [own]
    with pytest.raises(ConfigError, match="3 processes or more on 2 GPUs"):
        prepare(Machine(device=name), local_rank=2)


def test_a_process_alone_takes_the_device_that_is_named(two_gpus: list[torch.device]) -> None:
    assert prepare(Machine(device="auto")) == torch.device("cuda")
    assert prepare(Machine(device="cuda:1")) == torch.device("cuda:1")
    assert prepare(Machine(device="cpu"), local_rank=1) == torch.device("cpu")
    assert two_gpus == []


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="sees no GPUs"):
        prepare(Machine(device="cuda"))


def test_a_gpu_beyond_the_last_one_is_refused(two_gpus: list[torch.device]) -> None:
    assert prepare(Machine(device="cuda:1")) == torch.device("cuda:1")
    with pytest.raises(ConfigError, match="'cuda:2', but torch sees 2 GPUs"):
        prepare(Machine(device="cuda:2"))
