"""What a database consists of, and what is in it: two readings compare equal when nothing was changed."""

from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.string import TextLoader

COLUMNS = """
select relname || '.' || attname as name,
       format_type(atttypid, atttypmod) || case when attnotnull then ' not null' else '' end
           || coalesce(' default ' || pg_get_expr(adbin, adrelid), '') as definition
  from pg_class
  join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
  left join pg_attrdef on adrelid = attrelid and adnum = attnum
 where relnamespace = 'public'::regnamespace
   and relkind in ('r', 'v', 'S')"""

OTHERS = """
select 'constraint ' || conrelid::regclass || '.' || conname as name, pg_get_constraintdef(oid) as definition
  from pg_constraint
 where connamespace = 'public'::regnamespace
 union all
select 'index ' || indexname, indexdef
  from pg_indexes
 where schemaname = 'public'
 union all
select 'trigger ' || tgrelid::regclass || '.' || tgname, pg_get_triggerdef(pg_trigger.oid)
  from pg_trigger
  join pg_class on pg_class.oid = tgrelid and relnamespace = 'public'::regnamespace
 where not tgisinternal
 union all
select 'function ' || oid::regprocedure, pg_get_functiondef(oid)
  from pg_proc
 where pronamespace = 'public'::regnamespace
   and prokind = 'f'
 union all
select 'policy ' || tablename || '.' || policyname, coalesce(qual, '')
  from pg_policies
 where schemaname = 'public'
 union all
select 'type ' || typname, typtype::text
  from pg_type
 where typnamespace = 'public'::regnamespace"""

Rows = dict[str, list[dict[str, Any]]]


def columns(dsn: str) -> dict[str, str]:
    """Each column of each table and view, with its type, nullability and default."""
    return _definitions(dsn, COLUMNS)


def everything(dsn: str) -> dict[str, str]:
    """Each object of the schema with its definition."""
    return _definitions(dsn, COLUMNS) | _definitions(dsn, OTHERS)


def _definitions(dsn: str, query: str) -> dict[str, str]:
    with psycopg.connect(dsn) as connection:
        return dict(connection.execute(query.encode()).fetchall())


def tables(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1"
        )
        return [name for (name,) in found]


def rows(dsn: str, *, like: Rows | None = None) -> Rows:
    """Every row of every table; with `like`, only of its tables and their columns."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        # As text: some of our own rows reach back to -infinity.
        connection.adapters.register_loader("timestamptz", TextLoader)
        return {
            table: connection.execute(
                sql.SQL("select {} from {} order by ctid").format(
                    sql.SQL(", ").join(map(sql.Identifier, like[table][0]))
                    if like and like[table]
                    else sql.SQL("*"),
                    sql.Identifier(table),
                )
            ).fetchall()
            for table in (like or tables(dsn))
        }
