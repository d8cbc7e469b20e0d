"""Fixtures of every tier: a fresh database per test on a real PostgreSQL, uvloop, real processes."""

import os
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from pathlib import Path

import asyncpg
import pytest
import structlog
import uvloop

from containerstacks_shared.database import db
from containerstacks_shared.local.embedded import EmbeddedPostgres
from containerstacks_shared.schema import migrate
from support import commands, databases, packages, roles, schema_a_data
from support.billing import Billing
from support.dark_proxy import DarkProxy, dark_proxy
from support.databases import DatabaseServer
from support.processes import Processes

TESTS = Path(__file__).parent
QUICK_TIERS = {"unit", "integration"}


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], uvloop.Loop]]:
    """Run tests on the loop that the services use."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what a long test survived, though nobody sees the output of a test that passed."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "survived":
                terminalreporter.write_line(str(value))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Say in the last line of all what to install for the tests that were skipped."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return
    command = packages.command_that_installs(reporter.getreports("skipped"))
    if command:
        reporter.write_line(f"The skipped tests run after: {command}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark `quick` what `make test` runs: what needs only PostgreSQL, and one test of each main path."""
    for item in items:
        tier = item.path.relative_to(TESTS).parts[0]
        if tier == "browser":
            item.add_marker(packages.needs("chromium"))
        alone = tier in QUICK_TIERS and item.get_closest_marker("needs") is None
        if alone or item.get_closest_marker("main_path"):
            item.add_marker("quick")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    packages.skip_without_packages(item)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    # Where everything a test could want is installed, a skipped test is a test that did not run.
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI=true does not allow: {report.longrepr}"


@pytest.fixture(scope="session")
def database_server() -> Iterator[DatabaseServer]:
    with databases.database_server() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(database_server: DatabaseServer) -> Iterator[str]:
    dsn = database_server.create("template")
    migrate(dsn)
    roles.grant(dsn)
    template = database_server.freeze(dsn)
    yield template
    database_server.drop(template)


@pytest.fixture(scope="session")
def schema_a_template(database_server: DatabaseServer) -> Iterator[str]:
    dsn = database_server.create("template_schema_a")
    schema_a_data.build(dsn)
    template = database_server.freeze(dsn)
    yield template
    database_server.drop(template)


@pytest.fixture
def empty_database_url(database_server: DatabaseServer) -> Iterator[str]:
    """Give a database with nothing in it: not migrated."""
    yield from _fresh(database_server, template=None)


@pytest.fixture
def database_url(database_server: DatabaseServer, migrated_template: str) -> Iterator[str]:
    """Give a database migrated from empty, without rows of the original's tables; services may be their roles."""
    yield from _fresh(database_server, template=migrated_template)


@pytest.fixture
def schema_a_url(database_server: DatabaseServer, schema_a_template: str) -> Iterator[str]:
    """Give a database of the original application, lived in and not migrated."""
    yield from _fresh(database_server, template=schema_a_template)


def _fresh(server: DatabaseServer, *, template: str | None) -> Iterator[str]:
    dsn = server.create("test", template=template)
    yield dsn
    server.drop(databases.database_name(dsn))


@pytest.fixture
def schema_b_url(empty_database_url: str) -> str:
    """Give a database of the original application's later version."""
    schema_a_data.build_schema_b(empty_database_url)
    return empty_database_url


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[db.Pool]:
    async with databases.open_pool(database_url) as pool:
        yield pool


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Give a session that reads as the services' pool does, but may hold a lock for as long as it likes."""
    connection = await databases.connect(database_url)
    yield connection
    # Not close(): it would wait for what a failed test still does on it.
    connection.terminate()


@pytest.fixture
def billing(database_url: str, pool: db.Pool, connection: asyncpg.Connection) -> Billing:
    return Billing(database_url, pool, connection)


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """Give a running server that belongs to this test alone; it keeps its port when it starts again."""
    with databases.embedded_postgres() as postgres:
        postgres.start()
        yield postgres


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[DarkProxy]:
    """Give a way to the test's database that can go dark."""
    async with dark_proxy(database_url) as proxy:
        yield proxy


@pytest.fixture
def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[commands.RunCommand]:
    """Run a console script to its end in this process, which takes no second; for tests that are not `async`."""
    yield from commands.runner(monkeypatch, capsys)


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    """Start the real services; whatever is still running when the test ends is ended."""
    processes = Processes(tmp_path)
    yield processes
    await processes.end_all()


@pytest.fixture(autouse=True, scope="session")
def loggers_are_not_kept() -> Iterator[None]:
    """Keep a logger that one test uses first from holding on to that test's configuration in later ones."""
    configure = structlog.configure
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            structlog,
            "configure",
            lambda **settings: configure(**{**settings, "cache_logger_on_first_use": False}),
        )
        yield
