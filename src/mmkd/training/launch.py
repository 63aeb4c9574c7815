"""Training by several processes that this one starts with torchrun's own launcher, one for each GPU of the machine."""

import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkd.device import check_gpus
from mmkd.errors import MmkdError, TrainingError
from mmkd.executors.failures import KINDS
from mmkd.executors.remote import end_of
from mmkd.output import is_verbose
from mmkd.processes import PATIENCE_S
from mmkd.progress import say
from mmkd.training.loop import Place
from mmkd.training.rank import Body, clear_ends, ends_in, log_of, train_together

if TYPE_CHECKING:
    from torch.distributed.launcher.api import LaunchConfig

HERE = "127.0.0.1"
SHOWN_LINES = 15  # of the log of a process that failed
ENVIRONMENT = {  # of the processes, where it does not say something else already
    "OMP_NUM_THREADS": "1",  # as torchrun has it
    "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(PATIENCE_S),
}
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)  # that torchrun's launcher takes


def train_by(ranks: int, body: Body, *arguments: Any, place: Place, logs: Path) -> Mapping[str, int]:
    """`body(*arguments, place)` by this process, or by so many others together; returns the body's counts.

    ranks: processes, where `place` is of a process that works alone; one of several trains with these. logs: a folder
    for what each process prints; the first one prints here, too. Raises ConfigError where there are fewer GPUs, what
    the body raises, SystemExit with 0 after SIGTERM when all is saved, and TrainingError with the last lines of a
    process that ended otherwise. No process is left when this returns or raises, or is killed.
    """
    if ranks == 1 or place.world.size > 1:
        return body(*arguments, place)
    check_gpus(place.machine)
    logs.mkdir(parents=True, exist_ok=True)
    clear_ends(logs)
    say(f"  {ranks} processes train together; what they print is in {logs}")
    _free_gpu()
    with _as_before(), tempfile.TemporaryDirectory(prefix="mmkd-") as scratch:
        return _launched(_config(ranks, scratch), body, arguments, place, logs)


def _launched(
    config: "LaunchConfig", body: Body, arguments: tuple[Any, ...], place: Place, logs: Path
) -> Mapping[str, int]:
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    try:
        with nullcontext() if is_verbose() else _without_logging():
            counts: Mapping[str, int] = elastic_launch(config, train_together)(body, arguments, place, logs)[0]
            return counts
    except (SignalException, ChildFailedError) as ended:
        if any(end.stopped for end in ends_in(logs)):
            raise SystemExit(0) from None
        if isinstance(ended, SignalException):
            raise
        failures = {rank: one.exitcode for rank, one in ended.failures.items()}
        raise _failure(logs, failures, config.nproc_per_node) from None


def _config(ranks: int, scratch: str) -> "LaunchConfig":
    """As of `torchrun --standalone`: this machine, a free port, no second start."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    return LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=ranks, run_id=uuid.uuid4().hex, rdzv_backend="c10d",
        rdzv_endpoint=f"{HERE}:0", local_addr=HERE, max_restarts=0, start_method="spawn",
        logs_specs=DefaultLogsSpecs(log_dir=scratch),
    )  # fmt: skip


def _failure(logs: Path, failures: Mapping[int, int], ranks: int) -> MmkdError:
    """The error of the process that failed first; the others fail for that, as it is missing.

    failures: rank -> exit code, minus the signal that ended it, as the launcher saw it.
    """
    killed = [(rank, code) for rank, code in failures.items() if code < 0]
    told = [end for end in ends_in(logs) if not end.stopped]
    if told and not killed:
        first = told[0]
        if first.error:
            return KINDS[first.error](first.problem)
        rank, how = first.rank, "failed"
    else:
        rank, code = (killed or list(failures.items()))[0]
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    cure = (
        "most likely for lack of memory; lower [machine] micro_batch, or set grad_checkpointing"
        if how.endswith("SIGKILL")
        else "mend the reason"
    )
    log = log_of(logs, rank)
    lines = [f"  {line}" for line in end_of(log).splitlines()[-SHOWN_LINES:]]
    return TrainingError(
        f"process {rank} of the {ranks} that train together {how}: {cure}, and run the same command again, which goes "
        "on from the newest checkpoint\n" + "\n".join([f"the last lines of {log}:", *lines])
    )


def _free_gpu() -> None:
    """What this process has cached of a GPU, one of the others needs."""
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


@contextmanager
def _without_logging() -> Iterator[None]:
    """The launcher logs tracebacks of its own, beside what is raised here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _as_before() -> Iterator[None]:
    """No process is left, and the environment and the handlers of signals, which the launcher changes, are as before.

    A signal that it took is sent again, now that its usual handler has it.
    """
    from torch.distributed.elastic.multiprocessing import SignalException

    environment, handlers = dict(os.environ), {number: signal.getsignal(number) for number in SIGNALS}
    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
    others, number = multiprocessing.active_children(), None
    try:
        yield
    except SignalException as caught:
        number = caught.sigval
    finally:
        for child in [one for one in multiprocessing.active_children() if one not in others]:
            child.kill()  # the launcher was interrupted while it started them
            child.join()
        os.environ.clear()
        os.environ.update(environment)
        for one, handler in handlers.items():
            _restore(one, handler)
    if number is not None:
        os.kill(os.getpid(), number)
        raise TrainingError(f"stopped by {signal.Signals(number).name}; run the same command again to go on")


def _restore(number: signal.Signals, handler: Any) -> None:
    """Python allows it in the main thread only, and there alone the launcher has changed it."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(number) is not handler:
        signal.signal(number, handler)
