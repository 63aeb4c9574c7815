"""Where tensors live, and how many threads compute them."""

import torch

from mmkd.errors import ConfigError
from mmkd.settings import Machine


def prepare(machine: Machine, local_rank: int | None = None) -> torch.device:
    """Set torch's thread count and give this process its device; each of several processes gets its own GPU.

    Raises ConfigError for a device that is not there.
    """
    if machine.threads:
        torch.set_num_threads(machine.threads)
    name = machine.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device, gpus = torch.device(name), torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise ConfigError(f"machine.device is {name!r}, but torch sees {gpus or 'no'} GPUs; set it to auto or cpu")
    if device.type == "cuda" and device.index is None and local_rank is not None:
        if local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"{local_rank + 1} processes or more on {torch.cuda.device_count()} GPUs; start one for each"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)  # what says only "cuda", as FSDP's mesh does, means it from now on
    return device


def check_gpus(machine: Machine) -> None:
    """Raise ConfigError where `machine.gpus` asks for more GPUs than torch sees; without GPUs, processes are asked for.

    Starts nothing on a GPU.
    """
    if machine.gpus == 1 or machine.device == "cpu":
        return
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found < machine.gpus:
        raise ConfigError(
            f"{machine.gpus} GPUs are asked for (--gpus, machine.gpus), but torch sees {found or 'none'}; ask for as "
            "many as there are, or set machine.device to cpu, which trains by that many processes without a GPU"
        )


def free_bytes(device: torch.device) -> int:
    """Memory that a process may still take: of the GPU, or of the machine."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    with open("/proc/meminfo") as stream:
        sizes = dict(line.split(":", 1) for line in stream)
    return int(sizes["MemAvailable"].split()[0]) * 1024
