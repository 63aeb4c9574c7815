"""Where tensors live, and how many threads compute them."""

import torch

from mmkd.errors import ConfigError
from mmkd.settings import Machine


def prepare(machine: Machine) -> torch.device:
    """Set torch's thread count and give this process its device. Raises ConfigError for a device that is not there."""
    if machine.threads:
        torch.set_num_threads(machine.threads)
    name = machine.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"machine.device {name!r} is not a device; expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"machine.device is {name!r}, but torch sees no GPU; set it to auto or cpu")
    return device
