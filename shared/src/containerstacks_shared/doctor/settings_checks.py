"""Settings that are right one by one, and do not go together."""

from collections.abc import Iterator

from containerstacks_shared.core.settings import BillingSettings

from .findings import Finding, ok, warning

SUBJECT = "settings"


def check(settings: BillingSettings) -> list[Finding]:
    """The settings are those of this command's environment: run it in the environment of a service."""
    return list(_contradictions(settings)) or [ok(SUBJECT, "nothing contradicts itself")]


def _contradictions(settings: BillingSettings) -> Iterator[Finding]:
    given = settings.model_fields_set
    if settings.test_clock:
        yield warning(
            SUBJECT,
            "TEST_CLOCK is set, so a shifted clock would be accepted",
            "Unset it: only tests shift clocks.",
        )
    if settings.alert_urls is None:
        if settings.heartbeat_url is None:
            yield warning(
                SUBJECT,
                "neither ALERT_URLS nor HEARTBEAT_URL is set: no alert is sent when billing stops",
                "Set one (docs/alerts.md, docs/monitoring.md), unless Prometheus watches.",
            )
        if given & {"alert_delay_minutes", "alert_pause_minutes", "alert_runway_hours"}:
            yield warning(
                SUBJECT, "ALERT_… is set, and ALERT_URLS is not: nobody is alerted", "Set ALERT_URLS as well."
            )
    if "debt_grace_hours" in given and settings.debt_hook_command is None and settings.debt_hook_url is None:
        yield warning(
            SUBJECT,
            "DEBT_GRACE_HOURS is set, and there is no debt hook",
            "Set DEBT_HOOK_COMMAND or DEBT_HOOK_URL (docs/debts.md).",
        )
    if settings.database_read_url is not None:
        if settings.database_read_url.get_secret_value() in {settings.dsn, settings.listen_dsn}:
            yield warning(SUBJECT, "DATABASE_READ_URL leads to the primary", "Name the standby, or unset it.")
    elif "database_read_behind_seconds_max" in given:
        yield warning(
            SUBJECT,
            "DATABASE_READ_BEHIND_SECONDS_MAX is set, and there is no standby to read from",
            "Set DATABASE_READ_URL as well.",
        )
