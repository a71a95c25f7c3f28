"""Runs the migrations inside the transaction that `Database.migrate` opened."""

import sqlalchemy as sa
from alembic import context

from beanpole.store.schema import metadata

TEXTS = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = current_schema() AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'
"""


def compare_bytes(db: sa.Connection) -> None:
    """PostgreSQL compares texts as its locale does, unless a column says otherwise."""
    quote = db.dialect.identifier_preparer.quote
    for table, column in db.exec_driver_sql(TEXTS).all():
        if table in metadata.tables:
            db.exec_driver_sql(f'ALTER TABLE {quote(table)} ALTER COLUMN {quote(column)} TYPE text COLLATE "C"')


db: sa.Connection = context.config.attributes["connection"]
if db.dialect.name == "postgresql":
    db.exec_driver_sql("SET LOCAL statement_timeout = 0")
context.configure(connection=db, target_metadata=metadata, render_as_batch=True)
context.run_migrations()
if db.dialect.name == "postgresql":
    compare_bytes(db)
