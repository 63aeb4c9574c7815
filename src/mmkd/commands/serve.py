"""`mmkd serve`: a model over HTTP, on a page, and as tools of an assistant."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Literal

import typer

MODEL_HELP = "A folder (a run's export), or what 'mmkd evaluate --model' takes."
TEACHERS_HELP = "A model to answer beside it, once for each; NAME=... before it gives it a name."
COMPARE_HELP = "Pictures on which the page compares two models; whoever opens the page sees them. Needs --teachers."
BACKEND_HELP = "auto: ONNX Runtime on CPUs where the export has its files, else PyTorch."
PRECISION_HELP = (
    "Of the student. auto: int8 (ONNX) where its export measured that it answers alike, else fp32. bf16: GPU."
)
RATE_HELP = "Requests a second and client; 0: any number. [default: 50; on this machine only, 0]"


def serve(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    archive: Annotated[str, typer.Option("--archive", help="Made by 'mmkd index', with the same model.")] = "",
    teachers: Annotated[list[str] | None, typer.Option("--teachers", metavar="MODEL", help=TEACHERS_HELP)] = None,
    compare: Annotated[Path | None, typer.Option("--compare", metavar="FOLDER", help=COMPARE_HELP)] = None,
    host: Annotated[str, typer.Option("--host", help="Others than loopback need MMKD_API_KEYS.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one.")] = 8000,
    page: Annotated[bool, typer.Option("--page/--no-page", help="With the web page.")] = True,
    mcp: Annotated[bool, typer.Option("--mcp", help="Standard input and output instead: for an assistant.")] = False,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Let anybody ask who reaches the host.")] = False,
    backend: Annotated[Literal["auto", "torch", "onnx"], typer.Option("--backend", help=BACKEND_HELP)] = "auto",
    precision: Annotated[str, typer.Option("--precision", metavar="auto|fp32|int8|bf16", help=PRECISION_HELP)] = "auto",
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    body_mb: Annotated[float, typer.Option("--body-mb", min=0.001, help="Of one request.")] = 32.0,
    rate: Annotated[float | None, typer.Option("--rate", min=0, help=RATE_HELP)] = None,
    queue: Annotated[int, typer.Option("--queue", min=1, help="Pictures that may wait.")] = 256,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Pictures through the model at once.")] = 16,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that a request may take.")] = 30.0,
) -> None:
    """Serve a model: embeddings in OpenAI's form, zero-shot classes, search, a web page and tools for assistants.

    Keys of clients stand in the environment as MMKD_API_KEYS, parted by commas. No picture is kept. SIGTERM finishes
    what was begun and ends with code 0.
    """
    from mmkd.serve.access import LOOPBACK, check_exposure, keys_of
    from mmkd.serve.computing import Computing
    from mmkd.serve.engine.limits import Limits
    from mmkd.serve.start import Address, open_service, run, run_tools

    address = Address(host, port, no_auth)
    check_exposure(host, keys_of(), no_auth)
    default_rate = 0.0 if host in LOOPBACK else 50.0
    limits = Limits(
        body_mb=body_mb,
        rate=default_rate if rate is None else rate,
        queue=queue,
        batch=batch,
        timeout_s=timeout_s,
    )
    computing = Computing(device, backend, precision)
    if mcp:
        with redirect_stdout(sys.stderr):  # standard output is the assistant's
            service = open_service(model, teachers or (), archive, limits, computing, compare)
        run_tools(service)
    else:
        run(open_service(model, teachers or (), archive, limits, computing, compare), address, page)
