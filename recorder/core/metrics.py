"""Figures about the running recorder, in Prometheus' terms.

On the hot path a figure is a plain integer that is added to; what can be asked for (heads, sizes, buffers) is
asked for when somebody scrapes. Each `Metrics` has a registry of its own, so that many recorders live in one
process. Left out: figures about the process itself (CPU, memory), which whoever runs it measures from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from recorder.core import deprecated

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HISTORY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """Counters, and the gauges that are read when asked for."""

    def __init__(self) -> None:
        self.accepted = 0  # deltas sequenced
        self.duplicates = 0  # deltas acked again, by id
        self.refused: dict[str, int] = {}  # publishes refused, by error code
        self.deliveries = 0  # delta events handed to subscribers, live and replayed
        self.delivered_bytes = 0  # their bytes
        self.slow_closed = 0  # readers closed with 4408
        self.slowed = 0  # publishes whose publisher had to wait for the rate
        self.refused_queries: dict[str, int] = {}  # questions that found no place, by kind
        self.conflations = 0  # slow readers that were moved on instead of closed
        self.fallbacks = 0  # slow readers that were served from history again instead of closed
        self.redacted = 0  # values taken out of states
        self.rejected: dict[str, int] = {}  # connections refused, by the limit or the rule
        self.lineage_breaks = 0  # deltas whose `before` is not the state last recorded
        self.resumes: dict[str, int] = {}  # subscriptions by how they began: latest, resumed, states, reset_*
        self.snapshots: dict[str, int] = {"ok": 0, "failed": 0}  # snapshot runs by outcome
        self.snapshot_seconds = 0.0  # duration of the last one
        self.pruned_deltas = 0  # deltas removed by retention
        self.prunes: dict[str, int] = {"ok": 0, "failed": 0}  # prune runs by outcome
        self.failed_requests = 0  # HTTP requests that ended in a 500, or amid their answer
        self.clock_steps: dict[str, int] = {"forward": 0, "back": 0}  # times that the wall clock was set
        self.callback_errors: dict[str, int] = {}  # exceptions of callbacks, by what they were told of
        self._gauges: dict[str, tuple[str, Callable[[], float | None]]] = {}  # name → help, reader
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self.history_seconds = Histogram(
            "recorder_history_seconds",
            "Time to read one slice of history, in seconds",
            buckets=_HISTORY_BUCKETS,
            registry=self._registry,
        )

    def refuse(self, code: str) -> None:
        """Count a publish that was refused, by its error code."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def reject(self, reason: str) -> None:
        """Count a connection or a request that was refused before it was let in, by the limit or the error's code."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1

    def refuse_query(self, kind: str) -> None:
        """Count a question about history that found no place: `queries` or `exports`."""
        self.refused_queries[kind] = self.refused_queries.get(kind, 0) + 1

    def count_callback_error(self, where: str) -> None:
        """Count an exception that a callback raised, by what it was told of."""
        self.callback_errors[where] = self.callback_errors.get(where, 0) + 1

    def resume(self, outcome: str) -> None:
        """Count a subscription by how it began."""
        self.resumes[outcome] = self.resumes.get(outcome, 0) + 1

    def delivered(self, events: int, size: int) -> None:
        """Count delta events handed to subscribers, and their bytes."""
        self.deliveries += events
        self.delivered_bytes += size

    def gauge(self, name: str, text: str, read: Callable[[], float | None]) -> None:
        """Offer a value that is read at each scrape; None means there is none yet.

        Args:
            name: Full Prometheus name.
            text: Its help.
            read: Returns the value.
        """
        self._gauges[name] = (text, read)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Return what prometheus_client asks a collector for; what was renamed, by its old name, too."""
        for metric in self._collect():
            yield metric
            for old in deprecated.old_names(deprecated.METRICS, metric.name):
                yield _by_old_name(metric, old)

    def _collect(self) -> Iterable[Metric]:
        for name, text, value in (
            ("recorder_deltas_accepted", "Deltas that got a place in the order", self.accepted),
            ("recorder_deltas_duplicate", "Deltas acked again because their id was known", self.duplicates),
            ("recorder_deliveries", "Delta events handed to subscribers", self.deliveries),
            ("recorder_delivered_bytes", "Bytes of delta events handed to subscribers", self.delivered_bytes),
            ("recorder_slow_readers_closed", "Subscribers closed with 4408", self.slow_closed),
            ("recorder_publishes_throttled", "Publishes that were waited for to keep the rate", self.slowed),
            ("recorder_conflations", "Slow readers moved on to the latest states", self.conflations),
            ("recorder_fallbacks", "Slow readers served from history at their own pace", self.fallbacks),
            ("recorder_values_redacted", "Values taken out of states", self.redacted),
            ("recorder_lineage_breaks", "Deltas whose before is not the last state", self.lineage_breaks),
            ("recorder_pruned_deltas", "Deltas removed by retention", self.pruned_deltas),
            (
                "recorder_requests_failed",
                "HTTP requests that failed or were interrupted",
                self.failed_requests,
            ),
        ):
            yield CounterMetricFamily(name, text, value=value)
        yield _by_label("recorder_publishes_rejected", "Publishes refused", "reason", self.refused)
        yield _by_label(
            "recorder_connections_rejected", "Connections and requests refused", "reason", self.rejected
        )
        yield _by_label(
            "recorder_queries_rejected", "Questions that found no place", "kind", self.refused_queries
        )
        yield _by_label("recorder_resumes", "Subscriptions by how they began", "outcome", self.resumes)
        yield _by_label("recorder_snapshots", "Snapshot runs", "outcome", self.snapshots)
        yield _by_label("recorder_prunes", "Prune runs", "outcome", self.prunes)
        yield _by_label("recorder_clock_steps", "Times the clock was set", "direction", self.clock_steps)
        gauges = list(self._read_gauges())  # before what failed of them is counted
        yield _by_label("recorder_callback_errors", "Exceptions of callbacks", "where", self.callback_errors)
        yield GaugeMetricFamily(
            "recorder_snapshot_duration_seconds", "Duration of the last snapshot", value=self.snapshot_seconds
        )
        yield from gauges

    def _read_gauges(self) -> Iterable[Metric]:
        for name, (text, read) in self._gauges.items():
            try:
                now = read()
            except Exception:
                # One that cannot be read must not hide all the others from whoever watches.
                self.count_callback_error(f"gauge {name}")
                continue
            if now is not None:
                yield GaugeMetricFamily(name, text, value=now)


def _by_old_name(metric: Metric, old: str) -> Metric:
    copy = Metric(old, f"Deprecated: use {metric.name}", metric.type)
    for sample in metric.samples:
        name = old + sample.name.removeprefix(metric.name)
        copy.samples.append(sample._replace(name=name))
    return copy


def _by_label(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
