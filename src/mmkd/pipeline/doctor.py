"""What machine this is, as far as a run cares."""

import os
import shutil
from pathlib import Path

import torch

from mmkd.folders.stage import versions


def examine() -> dict[str, str]:
    """Name -> value: versions, processors, memory, GPUs, free disk space, optional parts."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpus = [torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count())]
    return {
        **versions(),
        "processors": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.1f} GiB",
        "gpus": ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" for gpu in gpus) or "none, the CPU works",
        "free disk": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.0f} GiB here",
        "tensorboard": _optional("tensorboard"),
        "hub": "offline" if os.environ.get("HF_HUB_OFFLINE") == "1" else "online, teachers may be downloaded",
    }


def _optional(module: str) -> str:
    from importlib.util import find_spec

    return "installed" if find_spec(module) else "not installed; pip install 'mmkd[track]'"
