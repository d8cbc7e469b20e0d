"""The four endpoints: exactly their fields, and who sees which."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from containerstacks_shared.billing.documents import DaemonStatus
from containerstacks_shared.core.version import application_version
from containerstacks_shared.database.db import Connection
from containerstacks_web.live.platform_statistics import LIFETIME, PLATFORM_STATISTICS
from support import fleet, web_site
from support.waiting import eventually
from support.web_site import Site


async def add_fleet(connection: Connection) -> fleet.Plan:
    organization = await fleet.add_organization(connection)
    plan = await fleet.add_plan(connection, region="us-east")
    for status in ("running", "running", "offline", "booting", "rebooting", "failed", "busy", None):
        await fleet.add_instance(connection, organization, plan, status=status)
    return plan


async def shown(site: Site, total: int) -> Any:
    async def read() -> Any:
        document = await site.json("/api/health/stats")
        assert document["vps"]["total"] == total
        return document

    return await eventually(read)


async def test_health_answers_without_the_database(site: Site) -> None:
    document = await site.json("/api/health")
    assert set(document) == {"success", "message", "timestamp", "version"}
    assert document["success"] is True
    assert document["version"] == application_version()


async def test_stats_count_every_instance_and_fold_raw_statuses(site: Site, connection: Connection) -> None:
    await add_fleet(connection)
    document = await shown(site, 8)
    assert set(document) == {"success", "timestamp", "lastUpdated", "vps"}
    assert document["success"] is True
    assert document["vps"] == {
        "total": 8,
        "byStatus": {
            "running": 2,
            "stopped": 1,
            "provisioning": 1,
            "rebooting": 1,
            "error": 1,
            "other": 2,
        },
        "resources": {"totalVCPUs": 8, "totalMemoryGB": 16, "totalDiskGB": 400},
    }
    updated, answered = (datetime.fromisoformat(document[name]) for name in ("lastUpdated", "timestamp"))
    assert timedelta(0) <= answered - updated < timedelta(seconds=5)


async def test_stats_change_when_a_row_changes(site: Site, connection: Connection) -> None:
    await add_fleet(connection)
    await shown(site, 8)
    await connection.execute("update vps_instances set status = 'error' where status = 'running'")

    async def errors() -> bool:
        document = await site.json("/api/health/stats")
        by_status = document["vps"]["byStatus"]
        assert sum(by_status.values()) == document["vps"]["total"]
        return bool(by_status["error"] == 3)

    await eventually(errors)


async def test_administrators_also_get_what_the_counts_are_made_of(
    site: Site, connection: Connection, key: str
) -> None:
    plan = await add_fleet(connection)
    await fleet.add_plan(connection, specifications={"vcpus": "many"})
    document = await site.json("/api/health/stats", x_api_key=key)
    vps = document["vps"]
    assert sum(vps["byRawStatus"].values()) == sum(vps["byStatus"].values()) == vps["total"] == 8
    assert vps["byRawStatus"]["offline"] == 1
    assert vps["byRegion"] == [{"region": "us-east", "total": 8}]
    assert [(entry["planId"], entry["total"]) for entry in vps["byPlan"]] == [(plan.reference, 8)]
    assert len(vps["invalidSpecifications"]) == 1


async def test_the_billing_daemon_was_never_seen_in_a_fresh_database(site: Site) -> None:
    document = await site.json("/api/health/billing-daemon")
    assert set(document) == {"success", "timestamp", "daemon"}
    assert document["daemon"] == DaemonStatus().model_dump(mode="json")
    assert (document["daemon"]["status"], document["daemon"]["activeBiller"]) == ("unknown", "none")
    assert document["daemon"]["lastRun"] is None
    assert document["daemon"]["isStale"] is document["daemon"]["warningThresholdExceeded"] is True


async def test_platform_statistics_are_the_seven_figures(site: Site, connection: Connection) -> None:
    organization = await fleet.add_organization(connection)
    for region in ("us-east", "us-east", "eu-west"):
        await fleet.add_plan(connection, region=region)
    await fleet.add_plan(connection, region="ap-south", active=False)
    await fleet.add_container(connection, organization)
    await fleet.add_ticket(connection, organization)
    await fleet.add_ticket(connection, organization, status="closed")
    document = await site.json("/api/health/platform-stats")
    assert set(document) == {"success", "timestamp", "stats"}
    expiry = datetime.fromisoformat(document["stats"].pop("cacheExpiry"))
    remaining = expiry - datetime.fromisoformat(document["timestamp"])
    assert timedelta(minutes=4) < remaining <= timedelta(minutes=5)
    assert document["stats"] == {
        "users": {"total": 1},
        "organizations": {"total": 1},
        "vps": {"total": 0},
        "containers": {"total": 1},
        "support": {"totalTickets": 2},
        "plans": {"vpsPlans": 3},
        "regions": {"total": 2},
    }


async def test_platform_statistics_are_read_once_in_five_minutes(site: Site, connection: Connection) -> None:
    before = await site.json("/api/health/platform-stats")
    await fleet.add_user(connection)
    after = await site.json("/api/health/platform-stats")
    assert after["stats"] == before["stats"]


async def test_platform_statistics_from_before_the_clock_was_set_back_are_read_again(
    site: Site, connection: Connection
) -> None:
    before = await site.json("/api/health/platform-stats")
    await fleet.add_user(connection)
    cache = site.app[PLATFORM_STATISTICS]._public
    assert cache._last is not None
    cache._last = replace(cache._last, taken_at=cache._last.taken_at + LIFETIME + timedelta(hours=8))
    after = await site.json("/api/health/platform-stats")
    assert after["stats"]["users"]["total"] == before["stats"]["users"]["total"] + 1


async def test_administrators_also_get_what_is_there_now(site: Site, connection: Connection) -> None:
    organization = await fleet.add_organization(connection)
    await fleet.add_ticket(connection, organization)
    await fleet.add_ticket(connection, organization, status="resolved")
    key = await web_site.add_api_key(connection, role="admin")
    stats = (await site.json("/api/health/platform-stats", x_api_key=key))["stats"]
    assert stats["users"] == {"total": 2, "admins": 1, "regular": 1}
    assert stats["vps"] == {"total": 0, "active": 0}
    assert stats["support"] == {"totalTickets": 2, "openTickets": 1}
    assert stats["plans"] == {"vpsPlans": 0, "containerPlans": 0}


async def test_what_administrators_get_is_never_stored(site: Site, key: str) -> None:
    for path in ("/api/health/stats", "/api/health/billing-daemon", "/api/health/platform-stats"):
        answer = await site.get(path, x_api_key=key, if_none_match="*")
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert answer.headers["Vary"] == "Authorization, Cookie, X-API-Key"
        assert "ETag" not in answer.headers
