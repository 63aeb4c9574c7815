"""A worker as a Ray actor: what runs in the actor, and what its driver knows of it."""

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mmkd.executors.plan import Plan
from mmkd.executors.remote import add_to_log, begin, copied_to
from mmkd.executors.work import work

ANSWER_S = 3.0  # for a node to answer


class Actor:
    """In the actor's process."""

    def node(self) -> str:
        """Where Ray has placed it."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def work(self, plan: Plan, name: str, place: float, where: str) -> None:
        """As `work.work`, in the driver's working directory, as paths may be relative to that. What it prints goes to
        its log, and to Ray's, which the driver's terminal shows."""
        import ray

        os.chdir(where)
        log, job = plan.log(name), ray.get_runtime_context()
        add_to_log(log, f"{name}: process {os.getpid()} on {socket.gethostname()}, Ray's worker {job.get_worker_id()}")
        with copied_to(log):
            begin()
            work(plan, name, place)


def remote_worker(need: dict[str, float]) -> Any:
    """The class of actors for workers with these needs (`ray.needed`). Ray never starts one again: the driver starts
    a new one, as it counts the attempts of units."""
    import ray

    return ray.remote(Actor).options(
        num_cpus=need["CPU"], num_gpus=need["GPU"], memory=need["memory"] or None,
        max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD",
    )  # fmt: skip


def _answers(address: str, port: int) -> bool:
    """Whether the node's own process of Ray takes connections. Ray calls a lost node alive until it has missed
    heartbeats for some 15 s, and what ran there has ended long before."""
    try:
        socket.create_connection((address, port), ANSWER_S).close()
    except OSError:
        return False
    return True


@dataclass
class RayWorker:
    """A worker as its driver sees it. actor, node, end_of_work: handles of Ray."""

    name: str
    plan: Plan
    actor: Any
    node: Any
    end_of_work: Any
    was_taken: bool = False

    @classmethod
    def started(cls, actor: Any, plan_of_ray: Any, plan: Plan, name: str, place: float) -> "RayWorker":
        """Have Ray start one. plan_of_ray: the plan's handle."""
        handle = actor.remote()
        node = handle.node.remote()  # before the work: an actor answers one call after the other
        return cls(name, plan, handle, node, handle.work.remote(plan_of_ray, name, place, os.getcwd()))

    def is_alive(self) -> bool:
        """As `Worker.is_alive`; while Ray waits for room for it, too."""
        import ray

        if not ray.wait([self.end_of_work], timeout=0)[0]:
            return True
        try:
            ray.get(self.end_of_work)
        except Exception as error:  # whatever it is: the worker has ended, and the driver goes on
            self.was_taken = getattr(error, "preempted", False) or self._node_is_gone()
            add_to_log(self.plan.log(self.name), f"{self.name} has ended: {error}")
        return False

    def _node_is_gone(self) -> bool:
        import ray

        with suppress(Exception):  # it ended before it could say where it is
            node = ray.get(self.node, timeout=0)
            living = [one for one in ray.nodes() if one["Alive"] and one["NodeID"] == node]
            return not any(_answers(one["NodeManagerAddress"], one["NodeManagerPort"]) for one in living)
        return False

    def end(self) -> None:
        """As `Worker.end`."""
        import ray

        ray.kill(self.actor)
