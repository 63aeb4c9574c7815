"""`mmkd serve` beside a plain FastAPI and open_clip server: milliseconds of a request, and requests a second.

    python bench/serve.py [--model ViT-B-16 | small] [--seconds 10] [--clients 1 4 16] [--precision fp32 int8]
                          [--folder FOLDER]

Both servers have the same weights (random ones: what they compute does not depend on them) and all processors. They
are asked in turn, for each number of clients and each kind of request: `embed` sends a picture of 512 x 512 pixels,
`classify` sends five classes with it. Writes bench/results/serve.json. The clients run on the same processors.
FOLDER keeps the models for the next call.

Where other work is done on the machine, requests a second say less than processor time: see `serve_load.server`.
"""

import argparse
import os
import platform
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from serve_load import (
    end_servers_at_sigterm,
    form,
    free_port,
    load,
    memory_mb,
    mmkd_command,
    pictures,
    processor_seconds,
    server,
)

from mmkd.export.folder import export_folder
from mmkd.export.settings import ExportSettings
from mmkd.folders.atomic import write_json
from mmkd.folders.stage import versions
from mmkd.progress import say
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import save

RESULT = Path(__file__).parent / "results" / "serve.json"
CLASSES = "pleural effusion,pneumothorax,cardiomegaly,pneumonia,no finding"
SMALL: dict[str, Any] = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": 128, "layers": 4, "width": 256, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 256, "heads": 4, "layers": 4},
}
WARM_UP_S = 2.0


def exported(model: str, folder: Path) -> Path:
    """A student with random weights, in all formats; the one that is there already."""
    if (folder / "export" / "onnx.json").is_file():
        return folder / "export"
    settings = StudentSettings(config=SMALL) if model == "small" else StudentSettings(model=model)
    save(build_student(settings, seed=0), folder / "student")
    export_folder(folder / "student", folder / "export", ExportSettings(name=model))
    return folder / "export"


def row(took: list[float], seconds: float) -> dict[str, float]:
    p50, p99 = (1000 * float(np.percentile(took, share)) for share in (50, 99))
    return {
        "requests": len(took),
        "per_second": round(len(took) / seconds, 2),
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
    }


def measured(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    export = exported(options.model, folder)
    ports = {"naive": free_port()} | {f"mmkd {precision}": free_port() for precision in options.precision}
    images = pictures(32, 512)
    asked = {
        "embed": [form("/v1/embeddings", image) for image in images],
        "classify": [form("/classify", image, classes=CLASSES) for image in images],
    }
    rows = []
    with ExitStack() as stack:
        processes = {}
        for name, port in ports.items():
            own = [sys.executable, str(Path(__file__).with_name("serve_naive.py")), str(folder / "student"), str(port)]
            command = own if name == "naive" else mmkd_command(export, port, "--precision", name.split()[1])
            processes[name] = stack.enter_context(server(command, port, folder / f"{name}.log"))
        for kind, requests in asked.items():
            for port in ports.values():
                load(port, requests, 2, WARM_UP_S)
            for clients in options.clients:
                for name, port in ports.items():
                    process = processes[name].pid
                    before = processor_seconds(process)
                    took, lasted = load(port, requests, clients, options.seconds)
                    spent = 1000 * (processor_seconds(process) - before) / len(took)
                    told = {"processor_ms": round(spent, 1), "memory_mb": round(memory_mb(process))}
                    found = row(took, lasted)
                    rows.append({"server": name, "request": kind, "clients": clients, **found, **told})
                    say("  ".join(f"{key} {value}" for key, value in rows[-1].items()))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-16", help="small, or an architecture of open_clip")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--precision", nargs="+", default=["fp32", "int8"])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    end_servers_at_sigterm()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.folder or Path(scratch)) / options.model
        folder.mkdir(parents=True, exist_ok=True)
        rows = measured(options, folder)
    load_average = os.getloadavg()
    write_json(
        RESULT,
        {
            "rows": rows,
            "options": vars(options) | {"folder": None},
            "cpus": os.cpu_count(),
            "load_average_at_the_end": load_average,
            "machine": platform.machine(),
            "versions": versions(),
        },
    )
    plain = {(one["request"], one["clients"]): one for one in rows if one["server"] == "naive"}
    for one in rows:
        other = plain[one["request"], one["clients"]]
        if one is not other:
            ratios = {key: one[key] / other[key] for key in ("per_second", "p50_ms", "p99_ms", "processor_ms")}
            told = ", ".join(f"{key} x {value:.2f}" for key, value in ratios.items())
            print(f"{one['server']} by naive: {one['request']}, {one['clients']} clients: {told}")


if __name__ == "__main__":
    main()
