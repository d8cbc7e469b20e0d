"""The foundation: the original's tables (created or adopted), and this project's own beside them."""

from alembic import context, op

from containerstacks_shared.schema.adoption import assess
from containerstacks_shared.schema.steps import run_step

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    adopting = assess(connection)
    if adopting:
        run_step(connection, "adopt")
    else:
        run_step(connection, "original_tables")
    for step in (
        "own_tables",
        "plans",
        "counting",
        "history",
        "status_page",
        "ledger",
        "corrections",
        "archive",
        "audits",
        "repairs",
        "outbox",
        "alerts",
        "action_log",
        "support",
        "guard",
        "guard_payments",
        "guard_cycles",
        "guard_refunds",
        "capabilities",
        "backfill",
    ):
        run_step(connection, step)
    context.config.attributes["adopted"] = adopting


def downgrade() -> None:
    run_step(op.get_bind(), "leave")
