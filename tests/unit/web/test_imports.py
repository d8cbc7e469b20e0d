"""What the service imports when it starts: each library is memory in every process."""

import subprocess
import sys


def test_what_few_installations_need_is_not_imported_at_the_start() -> None:
    seldom = {
        "redis",
        "aiocache",
        "limits",
        "feedgen",
        "lxml",
        "apprise",
        "opentelemetry",
        "alembic",
        "psycopg",
    }
    script = f"import sys, containerstacks_web.app; print({seldom} & set(sys.modules))"
    imported = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert imported.stdout == "set()\n"
