"""The figures, as Prometheus reads them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from recorder.core.metrics import CONTENT_TYPE, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels, read by Prometheus' own parser."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_a_fresh_recorder_has_counted_nothing_yet_shows_every_counter() -> None:
    read = samples(Metrics())
    for name in (
        "recorder_deltas_accepted_total",
        "recorder_deltas_duplicate_total",
        "recorder_deliveries_total",
        "recorder_delivered_bytes_total",
        "recorder_slow_readers_closed_total",
        "recorder_lineage_breaks_total",
        "recorder_pruned_deltas_total",
        "recorder_snapshot_duration_seconds",
    ):
        assert read[name, ()] == 0
    for name in ("recorder_snapshots_total", "recorder_prunes_total"):
        assert read[name, (("outcome", "ok"),)] == 0
        assert read[name, (("outcome", "failed"),)] == 0


def test_what_is_added_is_what_is_shown() -> None:
    metrics = Metrics()
    metrics.accepted = 7
    metrics.lineage_breaks = 2
    metrics.delivered(3, 100)
    metrics.delivered(2, 50)
    read = samples(metrics)
    assert read["recorder_deltas_accepted_total", ()] == 7
    assert read["recorder_lineage_breaks_total", ()] == 2
    assert read["recorder_deliveries_total", ()] == 5
    assert read["recorder_delivered_bytes_total", ()] == 150


def test_refusals_are_counted_by_reason_and_resumes_by_outcome() -> None:
    metrics = Metrics()
    for code in ("conflict", "invalid_delta", "conflict"):
        metrics.refuse(code)
    metrics.resume("reset_pruned")
    read = samples(metrics)
    assert read["recorder_publishes_rejected_total", (("reason", "conflict"),)] == 2
    assert read["recorder_publishes_rejected_total", (("reason", "invalid_delta"),)] == 1
    assert read["recorder_resumes_total", (("outcome", "reset_pruned"),)] == 1


def test_a_gauge_is_read_at_each_scrape_and_none_is_left_out() -> None:
    metrics = Metrics()
    values: list[float | None] = [None, 4.0, 5.0]
    metrics.gauge("recorder_head", "The highest seq", lambda: values.pop(0))
    assert ("recorder_head", ()) not in samples(metrics)
    assert samples(metrics)["recorder_head", ()] == 4
    assert samples(metrics)["recorder_head", ()] == 5


def test_the_time_of_a_slice_of_history_falls_into_a_bucket() -> None:
    metrics = Metrics()
    metrics.history_seconds.observe(0.004)
    read = samples(metrics)
    assert read["recorder_history_seconds_count", ()] == 1
    assert read["recorder_history_seconds_bucket", (("le", "0.0025"),)] == 0
    assert read["recorder_history_seconds_bucket", (("le", "0.005"),)] == 1


def test_two_recorders_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.accepted = 1
    assert samples(other)["recorder_deltas_accepted_total", ()] == 0


def test_every_figure_has_a_help_text_and_a_name_of_ours() -> None:
    text = Metrics().render().decode()
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    helps = {
        line.split()[2]: line.split(maxsplit=3)[3:] for line in text.splitlines() if line.startswith("# HELP")
    }
    assert names
    assert all(name.startswith("recorder_") for name in names)
    assert all(helps[name] for name in names)


def test_the_content_type_is_prometheus_text() -> None:
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")


def test_a_gauge_that_cannot_be_read_does_not_hide_the_others() -> None:
    metrics = Metrics()
    metrics.gauge("broken", "Raises", lambda: 1 / 0)
    metrics.gauge("fine", "Does not", lambda: 7)
    read = samples(metrics)
    assert read["fine", ()] == 7
    assert ("broken", ()) not in read
    assert read["recorder_callback_errors_total", (("where", "gauge broken"),)] == 1
