"""From names of models to a service that runs until it is told to stop."""

import re
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmkd.adapt.classifier import Classifier
from mmkd.archive.archive import Archive
from mmkd.errors import ConfigError, DataError
from mmkd.inference.model import Model, model_spec, named_folder, open_model
from mmkd.inference.onnx import OnnxModel
from mmkd.inference.pictures import Picture, pictures
from mmkd.labels.calibrate import of_run, run_of
from mmkd.output import is_quiet
from mmkd.progress import say
from mmkd.serve.access import check_exposure, keys_of
from mmkd.serve.computing import Computing, chosen_precision
from mmkd.serve.engine.limits import Limits
from mmkd.serve.engine.served import Facts, Served
from mmkd.serve.engine.service import Service
from mmkd.serve.page.findings import known_findings

BACKLOG = 2048
GRACE_S = 5.0  # beyond the time that a request may take


@dataclass(frozen=True)
class Address:
    """Where the service listens. port 0: any free one."""

    host: str = "127.0.0.1"
    port: int = 8000
    no_auth: bool = False


def open_service(
    model: str,
    teachers: Sequence[str] = (),
    archive: str = "",
    limits: Limits | None = None,
    computing: Computing | None = None,
    compare: Path | None = None,
) -> Service:
    """compare: a folder of pictures on which the page compares two of the models.

    Raises ConfigError, DataError, ModelError for what cannot be opened or does not belong together.
    """
    limits, computing = limits or Limits(), computing or Computing()
    if compare is not None:
        check_compared(compare, teachers)
    opened = Archive.open(archive) if archive else None
    if computing.precision == "auto":
        precision, why = chosen_precision(model, computing, opened is not None)
        computing = replace(computing, precision=precision)
        if why:
            say(why)
    student = _opened(model, computing)
    if opened is not None and student.digest != opened.facts.digest and computing.backend == "auto":
        student = _opened(model, replace(computing, backend="torch"))  # the archive may have been made so
    if opened is not None:
        opened.check(student)
        say(f"archive: {archive}, {len(opened):,} pictures")
    models = [(student, model, "student")]
    models += [(_opened(text, replace(computing, precision="fp32")), text, "teacher") for text in teachers]
    names = [one.name for one, _, _ in models]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"two models are called {min(twice)!r}; name one of them anew: --teachers NAME=MODEL")
    return Service(
        [Served(one, limits, _facts(one, text, role)) for one, text, role in models], opened, limits, compare
    )


def check_compared(folder: Path, teachers: Sequence[str]) -> None:
    """Raises ConfigError where no second model is named, or no folder; DataError where it holds no picture."""
    if not teachers:
        raise ConfigError(f"--compare {folder}: one model is served; name the other one: --teachers MODEL")
    if not folder.is_dir():
        raise ConfigError(f"--compare {folder}: no such folder; give one with pictures")
    if not any(isinstance(one, Picture) for one in pictures(folder)):
        raise DataError(f"--compare {folder}: no picture in it; give a folder of pictures or DICOM files")


def _opened(text: str, computing: Computing) -> Model:
    made = open_model(text, computing.device, computing.precision, computing.backend)
    say(f"{made.name}: {text}, {_backend(made)}")
    return made


def _facts(model: Model, text: str, role: str) -> Facts:
    _, folder = named_folder(text)
    if folder is None:
        return Facts(role=role, backend=_backend(model), licence=model_spec(text).licence)
    readme = folder / "README.md"
    card = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else ""
    sets = known_findings(folder)
    run = run_of(str(folder))
    fitted = {name: of_run(run, name) for name in sets}
    own = Classifier.of_model(folder)
    return Facts(
        role=role,
        backend=_backend(model),
        licence=licence_in(card),
        card=card,
        sets=sets,
        fitted={name: one for name, one in fitted.items() if one is not None},
        classifier=own,
        basis="" if own is None else own.basis(),
    )


def licence_in(card: str) -> str:
    """Of the front matter of a model card, by its own name where it is none that the hub knows; "" without one."""
    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    told = dict(re.findall(r"^(license(?:_name)?): *[\"']?(.*?)[\"']? *$", found[1] if found else "", re.MULTILINE))
    return str(told.get("license_name") or told.get("license", ""))


def _backend(model: Model) -> str:
    return "ONNX Runtime" if isinstance(model, OnnxModel) else "PyTorch"


def run(service: Service, address: Address, page: bool) -> None:
    """Serve until SIGTERM or Ctrl-C; then what was begun is finished. Raises ConfigError where it may not begin."""
    import uvicorn

    from mmkd.serve.app import make_app
    from mmkd.serve.guard import hosts_of
    from mmkd.serve.patience import patient_protocol

    keys = keys_of()
    check_exposure(address.host, keys, address.no_auth)
    app = make_app(service, page, keys, hosts_of(address.host), _log)

    class Server(uvicorn.Server):  # type: ignore[misc]  # its types are not looked at
        """Open pages hold a connection that would otherwise be waited for."""

        def handle_exit(self, number: int, frame: Any) -> None:
            super().handle_exit(number, frame)
            if page:
                app.state.end_page()

    config = uvicorn.Config(
        app,
        address.host,
        address.port,
        log_config=None,
        access_log=False,
        server_header=False,
        http=patient_protocol(service.limits),
        ws="none",
        proxy_headers=False,  # clients without keys are told apart by their address, which they must not choose
        timeout_graceful_shutdown=int(service.limits.timeout_s + GRACE_S),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stopped)  # uvicorn raises them again at its end; until then it has its own
    with _listening(address) as listener:
        host, port = listener.getsockname()[:2]
        say(f"serving at http://{f'[{host}]' if ':' in host else host}:{port} ({'page, ' if page else ''}/docs, /mcp)")
        Server(config).run(sockets=[listener])


def run_tools(service: Service) -> None:
    """Serve an assistant over standard input and output until it closes them."""
    from mmkd.serve.tools import make_tools

    try:
        make_tools(service, files=True).run("stdio")
    finally:
        service.close()


def _listening(address: Address) -> socket.socket:
    """Connections wait in it from now on."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError as error:
        where = f"{address.host}:{address.port}"
        raise ConfigError(f"{where}: {error.strerror}; choose another --port or --host") from None
    return listener


def _stopped(number: int, frame: Any) -> None:
    """The end is graceful: with exit code 0."""


def _log(line: str) -> None:
    if not is_quiet():
        print(line, file=sys.stderr, flush=True)
