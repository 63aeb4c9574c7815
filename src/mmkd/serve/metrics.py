"""What Prometheus is told: requests, their seconds, queues and batches. No text and no name of a file."""

from collections.abc import Iterator
from typing import Any

from mmkd.serve.engine.service import Service

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters of one service."""

    def __init__(self, service: Service) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self._registry = CollectorRegistry()
        self._registry.register(_Queues(service))
        self._requests = Counter("mmkd_requests", "Requests answered.", ("path", "status"), registry=self._registry)
        self._seconds = Histogram(
            "mmkd_request_seconds", "Of a request.", ("path",), registry=self._registry, buckets=SECONDS
        )

    def count(self, path: str, status: int, seconds: float) -> None:
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        from prometheus_client import generate_latest

        return bytes(generate_latest(self._registry))


class _Queues:
    """Read when they are asked for."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        waiting = GaugeMetricFamily("mmkd_waiting_pictures", "In the queue of a model.", labels=["model"])
        for name, count in self._service.waiting().items():
            waiting.add_metric([name], count)
        batches = CounterMetricFamily("mmkd_batches", "Computed, by their pictures.", labels=["model", "size"])
        for name, sizes in self._service.batch_sizes().items():
            for size, count in sorted(sizes.items()):
                batches.add_metric([name, str(size)], count)
        yield waiting
        yield batches
