"""What a server counts of itself, told in the words of Prometheus."""

from bisect import bisect_left
from collections import Counter, defaultdict
from typing import Final

#: Seconds; the first holds what is answered from memory, the last a long poll.
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Metrics:
    """Counts requests; written from the event loop alone."""

    def __init__(self) -> None:
        #: (dialect, method, pattern of the path, status) → how many
        self.requests: Counter[tuple[str, str, str, int]] = Counter()
        #: dialect → how many took at most each of ``BUCKETS``, and the rest
        self.durations: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS) + 1))
        self.seconds: Counter[str] = Counter()

    def answered(self, dialect: str, method: str, pattern: str, status: int, seconds: float) -> None:
        self.requests[dialect, method if len(method) <= 10 else "other", pattern, status] += 1
        self.durations[dialect][bisect_left(BUCKETS, seconds)] += 1
        self.seconds[dialect] += seconds  # type: ignore[assignment]  # a Counter counts anything that adds up

    def text(self, gauges: "dict[str, tuple[str, dict[tuple[tuple[str, str], ...], float]]]") -> bytes:
        """
        Return everything in the text format of Prometheus.

        Args:
            gauges: What else there is to tell: name → (help, labels → value).
        """
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
        from prometheus_client.registry import Collector

        metrics = self

        class Ours(Collector):
            def collect(self):  # type: ignore[no-untyped-def]
                requests = CounterMetricFamily(
                    "taskyard_http_requests",
                    "Requests answered.",
                    labels=["dialect", "method", "path", "status"],
                )
                for (dialect, method, pattern, status), count in metrics.requests.items():
                    requests.add_metric([dialect, method, pattern, str(status)], count)
                yield requests
                durations = HistogramMetricFamily(
                    "taskyard_http_seconds", "How long requests took.", labels=["dialect"]
                )
                for dialect, counts in metrics.durations.items():
                    below, total = [], 0
                    for bound, count in zip([*map(str, BUCKETS), "+Inf"], counts, strict=True):
                        total += count
                        below.append((bound, total))
                    durations.add_metric([dialect], below, metrics.seconds[dialect])
                yield durations
                for name, (told, values) in gauges.items():
                    gauge = GaugeMetricFamily(
                        name, told, labels=[label for label, _ in next(iter(values), ())]
                    )
                    for labels, value in values.items():
                        gauge.add_metric([text for _, text in labels], value)
                    yield gauge

        registry = CollectorRegistry()
        registry.register(Ours())
        return generate_latest(registry)
