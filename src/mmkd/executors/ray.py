"""The executor of a Ray cluster: actors that take the next unit as they are free, on nodes that come and go.

Ray places the actors on nodes and says which of them have ended. It is never asked which units are done: files say
that. Nothing goes through Ray but the list of units; no code and no data is sent, workers import mmkd where they are.
"""

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, StringConstraints

from mmkd.errors import ConfigError
from mmkd.executors.drive import drive
from mmkd.executors.executor import Executor, Worker
from mmkd.executors.plan import Plan, plan_of
from mmkd.executors.ray_actor import RayWorker, remote_worker
from mmkd.executors.unit import ONE, Function, Outcome, Resources, Unit
from mmkd.settings import Settings, own_processors

MIB = 2**20
STORE_BYTES = 100 * MIB  # of a cluster that is started here: nothing lies there but the units
LOOK_S = 2.0  # at least between two looks at the nodes
ENVIRONMENT = {  # where it does not say something else already
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else `uv run` has Ray send the working directory to all nodes
}
INSTALL = "install it with: pip install 'mmkd[ray]'"


class RaySettings(Settings):
    """Actors on a Ray cluster, of the extra `ray`.

    kind: of the executor. address: of a running cluster, `auto` for the one that this machine is a node of, or
    HOST:PORT of its head node; not given: a cluster of this machine alone is started, which ends with the command.
    workers: actors at a time; not given: as many as the nodes have room for, also those that join later. A cluster
    that starts nodes on demand needs the number. cpus: of one worker, instead of what the stage asks for. gpus:
    of one worker, instead of what the stage asks for; with 0.25 each, four workers share a GPU.
    """

    kind: Literal["ray"] = "ray"
    address: Annotated[str, StringConstraints(min_length=1)] | None = None
    workers: PositiveInt | None = None
    cpus: PositiveFloat | None = None
    gpus: NonNegativeFloat | None = None

    def open(self) -> Executor:
        """The executor of these settings, which connects to the cluster at the first `map` that has work."""
        return RayExecutor(self)


@dataclass(frozen=True)
class RayExecutor:
    """settings: of the cluster. This process stays connected to it until it ends."""

    settings: RaySettings

    def map(
        self, units: Sequence[Unit], function: Function, folder: Path, resources: Resources = ONE
    ) -> Iterator[Outcome]:
        """As `Executor.map`; working directory and files: on a file system that all nodes have at the same path.

        Raises ConfigError where Ray, its cluster, or room for a single worker on it cannot be had.
        """
        plan = plan_of(units, function, folder)
        if plan.units:
            need = needed(self.settings, resources)
            connect(self.settings.address, self.settings.workers, need)
            yield from drive(plan, Actors(need, self.settings.workers))


def needed(settings: RaySettings, resources: Resources) -> dict[str, float]:
    """What Ray has to find on one node for a worker, by Ray's names; memory in bytes."""
    cpus = resources.cpus if settings.cpus is None else settings.cpus
    gpus = resources.gpus if settings.gpus is None else settings.gpus
    return {"CPU": cpus, "GPU": gpus, "memory": float(resources.memory_mb * MIB)}


def room(nodes: Sequence[dict[str, Any]], need: dict[str, float]) -> int:
    """How many workers fit on the nodes, as `ray.nodes()` lists them, when nothing else runs there."""
    wanted = {name: amount for name, amount in need.items() if amount > 0}
    living = [node["Resources"] for node in nodes if node["Alive"]]
    # a sum of fractions may miss a whole number by a hair: ten workers of 0.1 GPU fit on one
    return sum(min(int(has.get(name, 0) / amount + 1e-6) for name, amount in wanted.items()) for has in living)


def connect(address: str | None, workers: int | None, need: dict[str, float]) -> None:
    """Connect this process to the cluster at the address, or to one that is started here; once is enough.

    Raises ConfigError, which says what to do, where that does not work.
    """
    try:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)  # Ray reads them when it is imported
        import ray
    except ImportError as error:
        raise ConfigError(f"the executor ray needs Ray ({error}); {INSTALL}") from error
    if ray.is_initialized():
        return
    if address and "://" in address:
        raise ConfigError(
            f"address {address!r}: Ray's client is not supported, as this process has to see the same files as the "
            "workers; run the command on a node of the cluster with --address auto, or give HOST:PORT of its head"
        )
    try:
        if address:
            ray.init(address=address, logging_level="warning")
        else:
            ray.init(
                address="local", num_cpus=_own_cpus(workers, need["CPU"]), object_store_memory=STORE_BYTES,
                include_dashboard=False, logging_level="warning",
            )  # fmt: skip
    except Exception as error:  # also of another version of Ray, or a machine too busy to start one: a bare Exception
        raise ConfigError(
            f"no connection to a Ray cluster at {address or 'this machine'}: {error}\n`ray status` says whether this "
            "machine is a node of one, `ray start --head` makes it one; without --address, the command starts one"
        ) from error


def _own_cpus(workers: int | None, cpus: float) -> int:
    """Of a cluster that is started here: room for the workers that were asked for, else as many processors as this
    process has, and for one worker in any case."""
    return math.ceil(workers * cpus) if workers else max(own_processors(), math.ceil(cpus))


@dataclass
class Actors:
    """A crew of actors. need: of `needed`. workers: at a time, None for as many as there is room for."""

    need: dict[str, float]
    workers: int | None
    _room: int = 0
    _looked: float = -LOOK_S
    _plan: Any = None

    @property
    def size(self) -> int:
        """As `Crew.size`; follows the nodes. Raises ConfigError where no node has ever had room for a worker."""
        if self.workers:
            return self.workers
        if time.monotonic() - self._looked >= LOOK_S:
            import ray

            nodes = ray.nodes()
            found, self._looked = room(nodes, self.need), time.monotonic()
            if not found and not self._room:
                raise ConfigError(_no_room(nodes, self.need))
            self._room = found or 1  # nodes may come back: one actor waits for that
        return self._room

    def start(self, plan: Plan, names: Sequence[str]) -> Sequence[Worker]:
        """As `Crew.start`; actors wait for a node with room where there is none."""
        import ray

        if self._plan is None:
            self._plan = ray.put(plan)  # once for all actors
        actor = remote_worker(self.need)
        return [RayWorker.started(actor, self._plan, plan, name, n / len(names)) for n, name in enumerate(names)]


def _no_room(nodes: Sequence[dict[str, Any]], need: dict[str, float]) -> str:
    wanted = ", ".join(f"{amount:g} {name}" for name, amount in need.items() if amount)
    has = "; ".join(
        ", ".join(f"{node['Resources'].get(name, 0):g} {name}" for name in need) for node in nodes if node["Alive"]
    )
    return (
        f"no node of the Ray cluster has room for a worker ({wanted}); they have: {has or 'no node lives'}; start "
        "other nodes, set executor.cpus and executor.gpus to what a worker may have, or executor.workers where the "
        "cluster starts nodes on demand"
    )
