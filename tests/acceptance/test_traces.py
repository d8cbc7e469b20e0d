"""Traces of real processes, as a collector receives them, and the cost while traces are off."""

import json
import signal
import time

import aiohttp
import asyncpg
import pytest

from support import charges, fleet
from support.processes import Processes, Service
from support.trace_collector import ReceivedSpan, TraceCollector, trace_collector
from support.waiting import becomes, eventually

DAEMON = "containerstacks-billing-daemon"
# Sent as soon as possible.
QUICKLY = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
TYPED = "typed-by-somebody"


def asking(collector: TraceCollector) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **QUICKLY}


async def first(collector: TraceCollector, name: str) -> ReceivedSpan:
    def found() -> ReceivedSpan | None:
        return next(iter(collector.named(name)), None)

    return await eventually(found)


async def inside(collector: TraceCollector, parent: ReceivedSpan, name: str) -> ReceivedSpan:
    def found() -> ReceivedSpan | None:
        return next((span for span in collector.inside(parent) if span.name == name), None)

    return await eventually(found)


def logged(service: Service, event: str) -> dict[str, object]:
    lines = [json.loads(line) for line in service.log.splitlines() if line.startswith("{")]
    return next(line for line in lines if line["event"] == event)


async def test_a_billing_run_is_a_trace_of_its_batches_and_their_queries(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    due = await charges.add_due_fleet(connection, organizations=4, instances=2)
    async with trace_collector() as collector:
        daemon = await processes.start_billing_daemon(
            database_url, BILLING_BATCH_INSTANCES="4", **asking(collector)
        )
        run = await first(collector, "billing.run")
        batches = [span for span in collector.inside(run) if span.name == "billing.batch"]
        assert await daemon.terminate() == 0
    assert await charges.hours_billed(connection) == due.expected
    assert (run.service, run.kind, run.parent_id) == (DAEMON, "INTERNAL", "")
    assert run.facts == {
        "containerstacks.biller": "daemon",
        "containerstacks.trigger": run.facts["containerstacks.trigger"],
        "containerstacks.run_id": 1,
        "containerstacks.status": "succeeded",
        "containerstacks.instances_billed": 8,
        "containerstacks.hours_billed": 24,
    }
    assert len(batches) == 2
    for batch in batches:
        assert batch.facts["containerstacks.hours_billed"] == 12
        charge = await inside(collector, batch, "billing.charge")
        assert (charge.kind, charge.facts["db.system.name"]) == ("CLIENT", "postgresql")
        assert {"BEGIN", "COMMIT"} <= {span.name for span in collector.inside(batch)}
    assert logged(daemon, "billing_run.finished")["trace_id"] == run.trace_id
    # Spans without a parent, such as heartbeats, are not sent.
    assert {span.name for span in collector.spans if not span.parent_id} == {"billing.run"}


async def test_a_request_is_a_trace_and_a_visitors_own_is_only_named(
    database_url: str, processes: Processes
) -> None:
    theirs = "0af7651916cd43dd8448eb211c80319c"
    async with trace_collector() as collector:
        web = await processes.start_web(database_url, **asking(collector))
        await web.get_text("/about", traceparent=f"00-{theirs}-b7ad6b7169203331-01")
        await web.get_text("/status")
        await web.get_text("/nothing/here")
        about = await first(collector, "GET /about")
        status, nowhere = await first(collector, "GET /status"), await first(collector, "GET")
        assert await web.terminate() == 0
    assert (about.service, about.kind, about.parent_id) == ("containerstacks-web", "SERVER", "")
    assert about.trace_id != theirs
    assert about.linked == [theirs]
    assert about.facts["http.response.status_code"] == 200
    assert (status.facts["http.route"], status.failed) == ("/status", False)
    assert (nowhere.facts["url.path"], nowhere.facts["http.response.status_code"]) == ("/nothing/here", 404)
    assert "GET /readyz" not in {span.name for span in collector.spans}


async def test_folding_is_a_trace(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    async with trace_collector() as collector:
        aggregator = await processes.start_stats_aggregator(database_url, **asking(collector))
        await charges.add_due_fleet(connection, organizations=1, instances=3)

        def folded() -> ReceivedSpan | None:
            return next(
                (span for span in collector.named("folding.fold") if span.facts["containerstacks.deltas"]),
                None,
            )

        fold = await eventually(folded)
        assert fold.service == "containerstacks-stats-aggregator"
        await inside(collector, fold, "counts.fold_deltas")
        assert await aggregator.terminate() == 0


async def test_no_span_holds_a_secret_or_what_a_visitor_typed(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    due = await charges.add_due_fleet(connection, organizations=1, instances=1)
    organization = due.organizations[0]
    await connection.execute(
        "alter table vps_billing_cycles add constraint refused check (total_amount < 0) not valid"
    )
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {TYPED}-1"}
    async with trace_collector() as collector:
        daemon = await processes.start_billing_daemon(database_url, **asking(collector), **headers)
        web = await processes.start_web(database_url, **asking(collector), **headers)
        await web.get_text(f"/api/health/stats?token={TYPED}-2", Authorization=f"Bearer {TYPED}-3")
        form = {"email": f"{TYPED}-4@example.com", "password": f"{TYPED}-5"}
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
            session.get(f"{web.url}/login") as page,
        ):
            token = (await page.text()).partition('name="csrf_token" value="')[2].partition('"')[0]
            assert token
            async with session.post(f"{web.url}/login", data={**form, "csrf_token": token}) as answer:
                assert answer.status in {400, 401, 403}
        signing_in = await first(collector, "POST /login")
        assert {query.kind for query in collector.inside(signing_in)} == {"CLIENT"}
        run = await first(collector, "billing.run")
        assert run.failed
        charge = next(span for span in collector.named("billing.charge") if span.failed)
        assert charge.facts["error.type"] == "CheckViolationError"
        assert charge.facts["db.response.status_code"] == "23514"
        # The secrets are in the database.
        await eventually(lambda: "Failing row contains" in daemon.log)
        assert (await daemon.terminate(), await web.terminate()) == (0, 0)
        sent = collector.sent
    secret = [TYPED, "only-for-tests", "Failing row", str(organization.id), token]
    assert [word for word in secret if word.encode() in sent] == []
    assert b"vps_billing_cycles" not in sent, "a query is sent by its name alone"
    assert TYPED not in daemon.log + web.log


@pytest.mark.parametrize("hanging", [True, False])
async def test_an_absent_or_hanging_collector_delays_neither_work_nor_shutdown(
    database_url: str, connection: asyncpg.Connection, processes: Processes, *, hanging: bool
) -> None:
    due = await charges.add_due_fleet(connection, organizations=1, instances=2)
    async with trace_collector() as collector:
        collector.open.clear()
        url = collector.url if hanging else "http://127.0.0.1:1"
        daemon = await processes.start_billing_daemon(
            database_url, OTEL_EXPORTER_OTLP_ENDPOINT=url, **QUICKLY
        )
        await eventually(lambda: collector.calls > 0 if hanging else "opentelemetry" in daemon.log)
        await becomes(lambda: charges.hours_billed(connection), due.expected)
        daemon.signal(signal.SIGTERM)
        asked = time.monotonic()
        assert await daemon.exited() == 0
        assert time.monotonic() - asked < 15


# Traces are off ---------------------------------------------------------------------------------


async def test_nothing_is_imported_unless_traces_are_asked_for(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    await fleet.add_organization(connection)
    async with trace_collector() as collector:
        names = {"PYTHONPROFILEIMPORTTIME": "1", "LOG_LEVEL": "info"}
        for settings in ({}, asking(collector) | {"OTEL_SDK_DISABLED": "true"}):
            plain = await processes.run(DAEMON, "once", database_url=database_url, **names, **settings)
            assert (plain.exit_code, "opentelemetry" in plain.errors) == (0, False)
        assert collector.calls == 0
        traced = await processes.run(DAEMON, "once", database_url=database_url, **names, **asking(collector))
        assert (traced.exit_code, "opentelemetry" in traced.errors) == (0, True)
        # Sent before the command ends.
        assert collector.named("billing.run")


async def test_an_invalid_setting_is_reported_in_one_line(database_url: str, processes: Processes) -> None:
    for variable, value, line in [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            f"collector:{TYPED}",
            "OTEL_EXPORTER_OTLP_ENDPOINT: is not a URL (expected one like http://127.0.0.1:4318)",
        ),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' is not supported (expected http/protobuf)",
        ),
    ]:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"} | {variable: value}
        refused = await processes.run("containerstacks-web", database_url=database_url, **settings)
        assert (refused.exit_code, refused.errors.strip()) == (2, f"error: {line}")
