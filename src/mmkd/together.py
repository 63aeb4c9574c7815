"""A stage that several processes make together: rank 0 decides and publishes, all of them work."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from mmkd.distributed import World
from mmkd.locks import sole_owner
from mmkd.progress import say
from mmkd.stage import Stage, begin, complete, publish


def complete_together(
    stage: Stage, body: Callable[[Path], Mapping[str, int]], force: bool = False, *, world: World
) -> None:
    """As `stage.complete`, with every process of the world in the body; torchrun ends them all when rank 0 raises."""
    if world.size == 1:
        complete(stage, body, force)
    elif world.first:
        with sole_owner(stage.folder):
            finished = world.agree(begin(stage, force) is not None)
            if finished:
                say(f"{stage.kind}: {stage.folder} is complete, skipped")
            else:
                start = time.perf_counter()
                publish(stage, body(stage.partial), time.perf_counter() - start)
            world.wait()
    else:
        if not world.agree(True):
            body(stage.partial)
        world.wait()
