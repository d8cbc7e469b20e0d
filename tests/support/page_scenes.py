"""Every page in every state that it knows: what the state tells, and how it comes about on the real platform.

The one list that accessibility is checked on and pictures are taken of. A scene brings a state about, shows the pages
one after the other, and undoes in the end what it did.
"""

import tempfile
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from playwright.async_api import WebSocketRoute, expect

from support import admin_scenes, fleet, logos
from support.scenes import SCENES, Sight, scene
from support.stage import ADMIN, WITHIN_MILLISECONDS, Stage, expect_headline, expect_state, put_forward

# Those of admin_scenes are added where they are defined.
__all__ = ["SCENES", "admin_scenes"]

# The page is to notice within so long that nothing arrives any more.
STALE_SECONDS: Final = 10
_POLL_SECONDS: Final = 16


@scene("All three processes run, and the billing daemon has just billed the demo fleet.")
async def everything_runs(stage: Stage) -> AsyncGenerator[Sight, None]:
    page = await stage.open("/status")
    await expect_headline(page, "All systems operational")
    yield Sight(
        "status-fresh",
        "All systems operational",
        "The overall status, the fleet and its billing. The page updates itself.",
        page,
    )
    await page.get_by_text("How this status is decided").click()
    yield Sight(
        "status-rule",
        "How the verdict is decided",
        "The rule, with the line that decided marked.",
        page,
        part=".verdict",
    )
    await page.locator("[data-day='degraded']:visible").last.focus()
    yield Sight(
        "status-components",
        "Components, day by day",
        "What is measured each minute, as days and as uptime; a day without a record looks like none.",
        page,
        part="#components",
    )
    await page.get_by_role("link", name="30 days", exact=True).click()
    await page.get_by_role("slider", name="VPS by status, last 30 days").press("ArrowLeft")
    yield Sight(
        "status-history",
        "History",
        "Charts of the fleet and its billing runs, with a cursor for pointer and arrow keys, and with tables.",
        page,
        part="#history",
    )
    page = await stage.open("/about")
    yield Sight("about-fresh", "At a glance", "The seven all-time figures, and the time of the count.", page)
    yield Sight(
        "api-docs",
        "The API",
        "Every call and every document, generated from the OpenAPI description.",
        await stage.open("/api/docs"),
    )
    page = await stage.open("/problems/invalid-document")
    yield Sight(
        "problem", "What an error means", "What happened, what to do, and where the other errors are.", page
    )


@scene("A visitor signs in: first with a wrong password, then with the right one.")
async def somebody_signs_in(stage: Stage) -> AsyncGenerator[Sight, None]:
    page = await stage.open("/login")
    yield Sight("login", "Sign in", "The form, with the first field ready to type into.", page)
    await page.get_by_label("E-mail").fill(ADMIN)
    await page.get_by_label("Password").fill("not the password")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_be_visible()
    yield Sight("login-refused", "Sign in, refused", "Why it was refused; the address is kept.", page)
    await page.get_by_label("Password").fill(fleet.PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/status")
    await expect_state(page, ".connection", "live")
    yield Sight(
        "status-administrator",
        "Status, for administrators",
        "Beneath what everybody sees: the money, the runs, and the fleet by raw status, region and plan.",
        page,
    )


@scene("An administrator opens an incident and plans a maintenance, by command line.")
async def administrators_publish(stage: Stage) -> AsyncGenerator[Sight, None]:
    page = await stage.open("/status")
    body = ("--body", "Writes take longer than usual in eu-central. We are replacing a disk.")
    await stage.run(
        "incident",
        "open",
        "--title",
        "Slow disks in eu-central",
        *body,
        "--component",
        "vps",
        "--impact",
        "minor",
    )
    begins = datetime.now(UTC) + timedelta(days=3)
    window = ("--from", f"{begins:%Y-%m-%dT%H:%M}", "--to", f"{begins + timedelta(hours=1):%Y-%m-%dT%H:%M}")
    body = ("--body", "Pages and the API answer as ever; counts may lag for a minute.")
    await stage.run(
        "maintenance", "plan", "--title", "A newer PostgreSQL", *body, "--component", "database", *window
    )
    try:
        await expect(page.locator(".incidents__list--current > li")).to_have_count(
            2, timeout=WITHIN_MILLISECONDS
        )
        await expect_headline(page, "Minor incident: Slow disks in eu-central")
        yield Sight(
            "status-incident",
            "An incident",
            "An incident appears at once, and sets the headline. The page announces planned maintenance.",
            page,
        )
        yield Sight(
            "status-incidents",
            "Incidents and maintenance",
            "What is open and planned, and what was lately.",
            page,
            part="#incidents",
        )
        page = await stage.sign_in()
        await page.goto(f"{stage.url}/admin/incidents")
        yield Sight("admin-incidents-open", "Incidents, open", "What is open and planned.", page)
        await page.get_by_role("link", name="Slow disks in eu-central").click()
        yield Sight(
            "admin-incident", "An incident, for who tells of it", "Say what is new, or correct it.", page
        )
    finally:
        await stage.execute("delete from incidents")


@scene("A visitor mistypes an address, and sends a form that belongs to no session.")
async def a_visitor_errs(stage: Stage) -> AsyncGenerator[Sight, None]:
    page = await stage.open("/statsu")
    yield Sight("error-404", "No such page", "What is wrong, and the way back.", page)
    page = await stage.open("/login")
    await page.evaluate("document.querySelector('[name=csrf_token]').value = 'of another session'")
    await page.get_by_label("E-mail").fill(ADMIN)
    await page.get_by_label("Password").fill(fleet.PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.locator(".error")).to_be_visible()
    yield Sight("error-403", "A form from elsewhere", "Nothing was done, and how to do it again.", page)


@scene("The table of sessions is renamed, which no program expects.")
async def something_breaks(stage: Stage) -> AsyncGenerator[Sight, None]:
    await stage.execute("alter table web_sessions rename to web_sessions_elsewhere")
    try:
        page = await stage.open("/login")
        yield Sight("error-500", "Our fault", "That it is ours, and a reference to report it by.", page)
    finally:
        await stage.execute("alter table web_sessions_elsewhere rename to web_sessions")


@scene(
    "The network between the page and the server goes dark: connections stay open, and nothing passes any more."
)
async def the_network_goes_dark(stage: Stage) -> AsyncGenerator[Sight, None]:
    page = await stage.open("/status")
    stage.proxy.go_dark()
    try:
        await put_forward(page, STALE_SECONDS)
        await expect_state(page, "[data-status]", "stale")
        yield Sight(
            "status-stale",
            "Status is delayed",
            "Within ten seconds the page greys stale figures by itself, and says since when.",
            page,
        )
    finally:
        stage.proxy.go_light()


@scene("The web process is killed under an open page.")
async def the_server_is_killed(stage: Stage) -> AsyncGenerator[Sight, None]:
    page = await stage.open("/status")
    await stage.web.kill()
    try:
        await put_forward(page, STALE_SECONDS)
        await expect_state(page, ".connection", "offline")
        await expect_state(page, "[data-status]", "stale")
        yield Sight(
            "status-offline",
            "Offline",
            "Nobody answers; the page says so, keeps what it knew, and tries again and again.",
            page,
        )
    finally:
        await stage.start_web()


@scene("A proxy on the way refuses WebSockets, and lets everything else pass.")
async def sockets_are_refused(stage: Stage) -> AsyncGenerator[Sight, None]:
    async def refuse(socket: WebSocketRoute) -> None:
        await socket.close()

    page = await stage.open("/about")
    await page.route_web_socket("**/ws/status?*", refuse)
    await page.goto(f"{stage.url}/status")
    await put_forward(page, _POLL_SECONDS)
    await expect_state(page, ".connection", "polling")
    await expect_state(page, "[data-status]", "fresh")
    yield Sight("status-polling", "Polling", "The same page, asked for every 15 seconds.", page)


@scene("A browser that runs no scripts.")
async def no_scripts(stage: Stage) -> AsyncGenerator[Sight, None]:
    page = await stage.open("/about")
    session = await page.context.new_cdp_session(page)
    await session.send("Emulation.setScriptExecutionDisabled", {"value": True})
    await page.goto(f"{stage.url}/status")
    # The page was loaded without scripts; its examination needs them.
    await session.send("Emulation.setScriptExecutionDisabled", {"value": False})
    yield Sight(
        "status-without-scripts",
        "Without scripts",
        "Everything but the liveness, and a word about that.",
        page,
    )


@scene("An operator pauses billing.")
async def billing_is_paused(stage: Stage) -> AsyncGenerator[Sight, None]:
    await stage.run("billing", "pause", "--reason", "Prices are being checked")
    try:
        page = await stage.sign_in()
        await expect_state(page, ".connection", "live")
        await expect_headline(page, "Billing is paused")
        yield Sight("status-paused", "Billing is paused", "Nothing is charged, and no hour is lost.", page)
    finally:
        await stage.run("billing", "resume", "--reason", "Prices are right")


_DAEMON_LONG_AGO: Final = """
update billing_runs
   set started_at = started_at - interval '100 minutes', finished_at = finished_at - interval '100 minutes'
 where biller = 'daemon'
"""


@scene(
    "The billing daemon is killed and its runs are moved 100 minutes back; the built-in biller takes over."
)
async def the_daemon_is_overdue(stage: Stage) -> AsyncGenerator[Sight, None]:
    await stage.daemon.kill()
    await stage.execute(_DAEMON_LONG_AGO)
    try:
        await stage.billing_shows(
            lambda daemon: daemon["activeBiller"] == "builtin" and daemon["warningThresholdExceeded"]
        )
        page = await stage.open("/status")
        await expect_headline(page, "The billing daemon is overdue")
        yield Sight(
            "status-overdue",
            "The billing daemon is overdue",
            "Somebody still bills, but the one that should has not for more than 90 minutes.",
            page,
        )
    finally:
        await stage.start_daemon()


@scene("PostgreSQL is stopped at once under open pages.")
async def the_database_is_away(stage: Stage) -> AsyncGenerator[Sight, None]:
    page = await stage.open("/status")
    stage.postgres.stop("immediate")
    try:
        # Not put forward: it is the server that has to find its figures old.
        await expect_state(page, "[data-status]", "stale")
        yield Sight(
            "status-database-away",
            "The database is away",
            "The server answers, and says that what it knows is getting old.",
            page,
        )
        page = await stage.open("/login")
        yield Sight("error-503", "Not now", "Nobody can sign in; it will pass by itself.", page)
    finally:
        stage.postgres.start()
        await stage.web.ready()
        await stage.aggregator.ready()
        await stage.daemon.ready()


@scene("A third of all VPS report an error.")
async def many_errors(stage: Stage) -> AsyncGenerator[Sight, None]:
    page = await stage.open("/status")
    async with stage.database() as connection:
        before = await connection.fetch(
            "select id, status from vps_instances where status = 'running' order by id limit $1", 180
        )
        ids = [row["id"] for row in before]
        await connection.execute("update vps_instances set status = 'error' where id = any($1)", ids)
        try:
            await expect_headline(page, "Widespread VPS errors")
            yield Sight("status-problem", "Widespread VPS errors", "What is wrong, first of all.", page)
        finally:
            await connection.execute("update vps_instances set status = 'running' where id = any($1)", ids)


@scene("A fresh database: migrated, and nobody has created anything yet.")
async def the_first_day(stage: Stage) -> AsyncGenerator[Sight, None]:
    dsn = stage.new_database("first_day")
    web = await stage.start_another_web(dsn)
    daemon = await stage.processes.start_billing_daemon(dsn)
    aggregator = await stage.processes.start_stats_aggregator(dsn)
    try:
        page = await stage.open("/status", at=web.url)
        await expect_headline(page, "All systems operational")
        yield Sight("status-first-run", "The first day", "No VPS yet, nothing to bill, and no alarm.", page)
        page = await stage.open("/about", at=web.url)
        yield Sight(
            "about-first-run", "At a glance, on the first day", "Nothing yet, and what will be counted.", page
        )
    finally:
        await aggregator.kill()
        await daemon.kill()
        await web.kill()


@scene("An operator sets COMPANY_NAME, LOGO_PATH, LOGO_DARK_PATH and ACCENT_COLOR.")
async def another_brand(stage: Stage) -> AsyncGenerator[Sight, None]:
    with tempfile.TemporaryDirectory() as folder:
        web = await stage.start_another_web(**logos.brand(Path(folder)))
    try:
        page = await stage.open("/about", at=web.url)
        yield Sight(
            "about-white-label",
            "Under another name",
            "The operator's name, logo and accent, which is lightened or darkened until it can be read.",
            page,
        )
    finally:
        await web.kill()


@scene("A web process has just started, and the tables with the counts are locked by somebody's migration.")
async def nothing_is_known(stage: Stage) -> AsyncGenerator[Sight, None]:
    dsn = stage.new_database("locked")
    async with stage.database(dsn) as connection, connection.transaction():
        await connection.execute("lock table counts, count_deltas in access exclusive mode")
        web = await stage.processes.launch("containerstacks-web", dsn)
        await stage.is_alive(web)
        try:
            page = await stage.open("/status", at=web.url, live=False)
            await expect_headline(page, "Status is not known yet")
            yield Sight("status-unknown", "Status is not known yet", "Dashes instead of guesses.", page)
            page = await stage.open("/about", at=web.url)
            await expect(page.locator(".about__taken")).to_be_visible(timeout=WITHIN_MILLISECONDS)
            yield Sight("about-unknown", "At a glance, not known yet", "Dashes instead of guesses.", page)
        finally:
            await web.kill()
