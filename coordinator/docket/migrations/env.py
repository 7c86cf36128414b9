"""What Alembic runs: the steps of `versions` on the connection that it was given, inside its transaction."""

from __future__ import annotations

from alembic import context

from coordinator.docket.migrations import TABLE

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True, version_table=TABLE)
with context.begin_transaction():
    context.run_migrations()
