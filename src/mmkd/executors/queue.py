"""The order in which one worker tries the units."""

from collections.abc import Callable, Sequence

from mmkd.executors.unit import Unit


class Queue:
    """Units that one worker may still find free, those of the key that it has loaded first.

    The units stand in a circle, in groups of one `resident` key, and each worker begins at its own place: workers keep
    apart while there is work for all, and a fast one goes on into the parts of the slow ones. place: 0..1.
    """

    def __init__(self, units: Sequence[Unit], place: float) -> None:
        groups: dict[str, list[Unit]] = {}
        for unit in units:
            groups.setdefault(unit.resident, []).append(unit)
        circle = [unit for group in groups.values() for unit in group]
        start = int(place * len(circle))
        self._groups: dict[str, dict[str, Unit]] = {}
        self._busy: list[Unit] = []
        self._loaded = ""
        self._add(circle[start:] + circle[:start])

    def next(self, is_settled: Callable[[Unit], bool], is_held: Callable[[Unit], bool]) -> Unit | None:
        """The next unit that is neither settled nor held by anybody; None where there is none now.

        It is not offered again unless it is `put_off`.
        """
        found = self._first(is_settled, is_held)
        if found is None and self._busy:  # what others held when it was looked at may be free again, and not done
            self._add(self._busy)
            self._busy = []
            found = self._first(is_settled, is_held)
        return found

    def put_off(self, unit: Unit) -> None:
        """Offer it again when there is nothing else: somebody else was faster, or it failed."""
        self._busy.append(unit)

    def _first(self, is_settled: Callable[[Unit], bool], is_held: Callable[[Unit], bool]) -> Unit | None:
        while (unit := self._pop()) is not None:
            if is_settled(unit):
                continue
            if not is_held(unit):
                self._loaded = unit.resident
                return unit
            self._busy.append(unit)
        return None

    def _pop(self) -> Unit | None:
        if not self._groups:
            return None
        key = self._loaded if self._loaded in self._groups else next(iter(self._groups))
        group = self._groups[key]
        unit = group.pop(next(iter(group)))
        if not group:
            del self._groups[key]
        return unit

    def _add(self, units: Sequence[Unit]) -> None:
        for unit in units:
            self._groups.setdefault(unit.resident, {})[unit.id] = unit
