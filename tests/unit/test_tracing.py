"""When there are traces, and by which name a query goes in them."""

import sys

import pytest

from containerstacks_shared.core import tracing
from containerstacks_shared.core.errors import ConfigurationError
from containerstacks_shared.core.queries import load
from containerstacks_shared.core.tracing import queries

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
COLLECTOR = "http://127.0.0.1:4318"


@pytest.mark.parametrize(
    ("environment", "asked_for"),
    [
        ({}, False),
        ({ENDPOINT: ""}, False),
        ({ENDPOINT: COLLECTOR}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{COLLECTOR}/v1/traces"}, True),
        ({ENDPOINT: COLLECTOR, "OTEL_SDK_DISABLED": "True"}, False),
        ({ENDPOINT: COLLECTOR, "OTEL_SDK_DISABLED": "false"}, True),
        ({ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({ENDPOINT: COLLECTOR, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
    ],
)
def test_traces_are_asked_for_by_somewhere_to_send_them(
    environment: dict[str, str], *, asked_for: bool
) -> None:
    assert tracing.is_enabled(environment) is asked_for


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({ENDPOINT: "collector:4318"}, f"{ENDPOINT}: is not a URL"),
        ({ENDPOINT: "http://"}, f"{ENDPOINT}: is not a URL"),
        ({ENDPOINT: "http://collector:port"}, f"{ENDPOINT}: is not a URL"),
        ({ENDPOINT: "grpc://collector:4317"}, f"{ENDPOINT}: is not a URL"),
        (
            {ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": "zipkin"},
            "OTEL_TRACES_EXPORTER: 'zipkin' is not one",
        ),
        (
            {ENDPOINT: COLLECTOR, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'grpc' is not supported",
        ),
    ],
)
def test_a_wrong_setting_for_traces_is_refused(environment: dict[str, str], line: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        tracing.is_enabled(environment)
    assert str(raised.value).startswith(line)


def test_packages_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith(f"{tracing.__name__}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delattr(tracing, "exporting", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setenv(ENDPOINT, COLLECTOR)
    with (
        pytest.raises(ConfigurationError, match=r"not installed \(expected .*requirements/traces.txt"),
        tracing.traced("tests"),
    ):
        pass


def test_without_traces_a_span_is_nothing() -> None:
    with tracing.span("billing.run", biller="daemon") as span:
        span.note(instances_billed=1)
        span.fail("run_failed")
        assert type(span) is tracing.Span


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (load("containerstacks_shared.fleet.counts")["fold_deltas"], "counts.fold_deltas"),
        (load("containerstacks_shared.billing.billing")["charge"], "billing.charge"),
        (load("containerstacks_shared.billing.refunds")["refund"], "refunds.refund"),
        ("BEGIN;", "BEGIN"),
        ("set local lock_timeout = '10s'", "SET"),
        ("select 'a secret'", "SELECT"),
        ("", "?"),
    ],
)
def test_a_query_goes_by_its_name(query: str, name: str) -> None:
    assert queries.name_of(query) == name
