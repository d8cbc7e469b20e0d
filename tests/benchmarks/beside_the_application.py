"""Run an application of your own beside ContainerStacks for six simulated hours, and say who billed what.

The application is not part of this project. Check its source out somewhere, install its packages there with npm (and
`tsx`), and call, with a server that has the extensions which its migrations ask for:

    python tests/benchmarks/beside_the_application.py --server postgresql://superuser@host/postgres FOLDER [FOLDER ...]

Each folder is one version. Its migrations/*.sql make a database, a fleet of funded and poor customers is put into it,
ContainerStacks adopts it, and in each hour the application's biller and ours meet in another way.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg

from containerstacks_shared.core.waiting import race
from support import fleet
from support.clock import shift_clock
from support.databases import with_database
from support.waiting import eventually

BIN: Final = Path(sys.executable).parent
RUNNER: Final = Path(__file__).with_name("bill_as_the_application.mts")
ORGANIZATIONS: Final = 40
INSTANCES_EACH: Final = 25
SECRET: Final = "0123456789abcdef0123456789abcdef"
REPORT: Final = """
select (select count(*) from vps_billing_cycles where status = 'billed' and billing_run_id is not null) as cycles_ours,
       (select count(*) from vps_billing_cycles
         where status = 'billed' and billing_run_id is null) as cycles_of_the_application,
       (select case when is_called then last_value else 0 end from application_charges_refused) as refused,
       (select count(*) from guard_interventions where kind = 'given_back') as given_back,
       (select count(*) from guard_interventions where kind = 'mended') as mended,
       (select count(*) from application_debits where given_back_at is null) as debits_waiting,
       (select count(*) from vps_billing_cycles where status = 'failed') as failed_cycles,
       (select count(*)
          from vps_billing_cycles a
          join vps_billing_cycles b
            on b.vps_instance_id = a.vps_instance_id
           and b.id > a.id
           and b.status = 'billed'
           and b.billing_period_start < a.billing_period_end - interval '1 ms'
           and b.billing_period_end > a.billing_period_start + interval '1 ms'
         where a.status = 'billed') as doubled,
       (select coalesce(sum(abs(c.total_amount - round(c.hourly_rate, 8)
                            * round(extract(epoch from c.billing_period_end - c.billing_period_start) / 3600))), 0)
          from vps_billing_cycles c
         where c.status = 'billed' and c.billing_run_id is null) as rounded_away_by_the_application
"""


@dataclass
class Meeting:
    """One version on one database, hour after hour."""

    folder: Path
    dsn: str
    connection: asyncpg.Connection
    hours: int = 0
    answers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "DATABASE_URL": self.dsn,
            "JWT_SECRET": SECRET,
            "TEST_CLOCK": "1",
            "CLOCK_OFFSET_MS": str(self.hours * 3_600_000),
        }

    async def start(self, *command: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command,
            env=self.environment,
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def ours(self, *arguments: str) -> asyncio.subprocess.Process:
        return await self.start(str(BIN / "containerstacks-billing-daemon"), *arguments)

    async def application(self) -> None:
        process = await self.start("npx", "tsx", str(RUNNER), str(self.folder))
        output, errors = await process.communicate()
        lines = [line for line in output.decode().splitlines() if line.startswith("{")]
        assert lines, errors.decode()
        self.answers.append(json.loads(lines[-1]))

    async def until_it_charges(self) -> None:
        """Wait for the application's first debit of this hour."""
        query = "select count(*) from payment_transactions"
        before = await self.connection.fetchval(query)

        async def charges() -> bool:
            return bool(await self.connection.fetchval(query) > before)

        await eventually(charges)

    # How they meet ----------------------------------------------------------------------------

    async def at_once(self) -> None:
        once, _ = await asyncio.gather(self.ours("once"), self.application())
        await once.communicate()

    async def ours_in_the_middle(self) -> None:
        application = asyncio.create_task(self.application())
        await race(self.until_it_charges(), asyncio.wait([application]))
        once = await self.ours("once")
        await once.communicate()
        await application

    async def application_alone(self) -> None:
        await self.application()

    async def ours_is_killed(self) -> None:
        once = await self.ours("once")
        await asyncio.sleep(1)
        if once.returncode is None:
            once.send_signal(signal.SIGKILL)
        await once.wait()
        await self.application()

    async def beside_a_daemon(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            os.environ |= {"STATUS_FILE_PATH": f"{folder}/status.json", "BILLING_DAEMON_PORT": "18081"}
            daemon = await self.ours("run")
            await eventually(self.is_beating)
            await self.application()
            daemon.send_signal(signal.SIGTERM)
            await daemon.communicate()

    async def is_beating(self) -> bool:
        beats = "select count(*) from billing_daemon_status where heartbeat_at > clock_now() - interval '5 s'"
        return bool(await self.connection.fetchval(beats))

    async def ours_alone(self) -> None:
        once = await self.ours("once")
        await once.communicate()

    async def run(self) -> None:
        meetings: list[Callable[[], Awaitable[None]]] = [
            self.at_once,
            self.ours_in_the_middle,
            self.application_alone,
            self.ours_is_killed,
            self.beside_a_daemon,
            self.ours_alone,
        ]
        before = dict.fromkeys(("cycles_ours", "cycles_of_the_application", "refused", "given_back"), 0)
        for meet in meetings:
            self.hours += 1
            await shift_clock(self.connection, timedelta(hours=self.hours))
            await meet()
            now = await self.connection.fetchrow(REPORT)
            assert now is not None
            say(
                f"  {meet.__name__:20} "
                + ", ".join(f"{name} +{now[name] - seen}" for name, seen in before.items())
            )
            before = {name: now[name] for name in before}


async def seed(connection: asyncpg.Connection) -> None:
    plans = [
        await fleet.add_plan(connection, base_price=price, markup_price="0") for price in ("3", "4", "20.01")
    ]
    for number in range(ORGANIZATIONS):
        organization = await fleet.add_organization(connection, balance="0.50" if number % 8 == 0 else "500")
        for place in range(INSTANCES_EACH):
            await fleet.add_instance(connection, organization, plans[place % 3], label=f"vps-{place // 2}")


async def meet(server: str, folder: Path) -> bool:
    name = f"beside_{os.getpid()}"
    maintenance = await asyncpg.connect(server)
    await maintenance.execute(f"create database {name}")
    try:
        dsn = with_database(server, name)
        connection = await asyncpg.connect(dsn)
        for step in sorted((folder / "migrations").glob("*.sql")):
            await connection.execute(step.read_text(encoding="utf-8"))
        await seed(connection)
        meeting = Meeting(folder, dsn, connection)
        migration = await meeting.start(str(BIN / "containerstacks"), "migrate")
        output, errors = await migration.communicate()
        say(f"{folder.name}: {output.decode().splitlines()[0] if output else errors.decode()}")
        await meeting.run()
        report = await connection.fetchrow(REPORT)
        assert report is not None
        for key, value in report.items():
            say(f"  {key:34} {value}")
        say(f"  the application says               {meeting.answers}")
        verify = await meeting.start(str(BIN / "containerstacks"), "verify", "--full")
        output, _ = await verify.communicate()
        say(f"  verify exits {verify.returncode}: {output.decode().splitlines()[-1]}")
        await connection.close()
        return verify.returncode == 0 and report["doubled"] == 0
    finally:
        await maintenance.execute(f"drop database {name} with (force)")
        await maintenance.close()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server", required=True, help="a PostgreSQL where databases may be made")
    parser.add_argument(
        "folders", nargs="+", type=Path, help="the application's sources, one folder per version"
    )
    arguments = parser.parse_args()
    sound = [await meet(arguments.server, folder.resolve()) for folder in arguments.folders]
    return 0 if all(sound) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
