"""The charts of the status page: by range, from memory, and with their age when the database is away."""

import pytest

from containerstacks_shared.database.db import Connection
from containerstacks_web.database import POOL
from containerstacks_web.live.feed import SNAPSHOT_FEED
from containerstacks_web.live.history import HISTORY
from support.demo_past import add_past, add_past_runs
from support.web_site import OpenSite, Site

WITHOUT_LOOKS = ("builtin_billing", "feed", "history")


async def open_with_past(open_site: OpenSite, connection: Connection) -> Site:
    await add_past(connection)
    await add_past_runs(connection)
    site = await open_site(without=WITHOUT_LOOKS)
    await site.app[SNAPSHOT_FEED]._look()
    await site.app[HISTORY].look()
    return site


async def test_each_range_has_its_own_charts_and_its_own_version(
    open_site: OpenSite, connection: Connection
) -> None:
    site = await open_with_past(open_site, connection)
    pages, etags = set(), set()
    for chosen in ("24h", "7d", "30d", "90d"):
        answer = await site.get(f"/status?range={chosen}")
        text = await answer.text()
        assert f'href="/status?range={chosen}#history" data-range aria-current="true"' in text
        assert 'class="plot__shape plot__shape--running" d="M' in text
        pages.add(text[text.index('id="history"') :])
        etags.add(answer.headers["ETag"])
    assert len(pages) == len(etags) == 4


@pytest.mark.parametrize("path", ["/status?range=1y", "/status?range=", "/status?utm_source=mail"])
async def test_another_query_is_the_same_page_and_takes_no_room(site: Site, path: str) -> None:
    usual, other = await site.get("/status"), await site.get(path)
    assert 'range=24h#history" data-range aria-current="true"' in await other.text()
    assert other.headers["ETag"].count("24h") == usual.headers["ETag"].count("24h") == 1


async def test_ranges_cost_no_query(open_site: OpenSite, connection: Connection) -> None:
    site = await open_with_past(open_site, connection)
    # A query would fail now.
    site.app[POOL].terminate()
    for chosen in ("24h", "7d", "30d", "90d"):
        assert (await site.get(f"/status?range={chosen}")).status == 200


async def test_without_the_database_the_last_reading_stays_and_says_so(
    open_site: OpenSite, connection: Connection
) -> None:
    site = await open_with_past(open_site, connection)
    before = await site.get("/status?range=7d")
    site.app[POOL].terminate()
    assert await site.app[HISTORY].look() < 60
    after = await site.get("/status?range=7d")
    assert before.headers["ETag"] != after.headers["ETag"]
    text = await after.text()
    assert "newer data could not be read" in text
    assert "newer data could not be read" not in await before.text()
    assert 'class="plot__shape plot__shape--running" d="M' in text


async def test_before_the_first_reading_the_page_says_so(open_site: OpenSite) -> None:
    site = await open_site(without=WITHOUT_LOOKS)
    await site.app[SNAPSHOT_FEED]._look()
    assert "The history has not been read yet." in await (await site.get("/status")).text()


async def test_the_charts_show_nothing_about_money(open_site: OpenSite, connection: Connection) -> None:
    await connection.execute(
        "insert into billing_runs (biller, trigger, holder, term, started_at, finished_at, status,"
        " instances_billed, amount_billed, instances_unpaid, hours_unpaid, error_message) values ('daemon',"
        " 'schedule', 'a-secret-host', 1, clock_now(), clock_now(), 'failed', 3, 98765.43, 54321, 54322, 'secret')"
    )
    site = await open_with_past(open_site, connection)
    text = await (await site.get("/status")).text()
    for secret in ("a-secret-host", "98,765", "98765", "54,32", "5432", ">secret<"):
        assert secret not in text
