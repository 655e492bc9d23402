"""Counts running items inside the transactions that start them, so that no moment is missed."""

from collections.abc import Mapping

import psycopg
from psycopg import sql

_WATCH = """
    create schema chaos;
    create table chaos.most_running (per_user integer, total integer, at timestamptz default clock_timestamp());
    create function chaos.note_running() returns trigger language plpgsql security definer set search_path = '' as $$
    begin
      insert into chaos.most_running (per_user, total)
      select r.per_user, r.total
      from (
        select coalesce(max(running), 0) as per_user, coalesce(sum(running), 0) as total
        from (select count(*) as running from batchgen.queue where state = 'running' group by user_id) u
      ) r
      where r.per_user > coalesce((select max(m.per_user) from chaos.most_running m), 0)
        or r.total > coalesce((select max(m.total) from chaos.most_running m), 0);
      return null;
    end $$;
    create trigger note_running after update on batchgen.queue
    for each statement execute function chaos.note_running();
"""


# Settings for a short run; those that this version of the database does not have are left out.
_PACE: Mapping[str, object] = {
    "retry_delays_seconds": [0.5, 1.0, 2.0],
    "max_crashes": 6,
    "breaker_open_seconds": 2.0,
    # No limit on a user's batches may refuse a batch of the run.
    "max_waiting_per_user": 1_000_000,
    "default_daily_limit": 1_000_000,
    "default_hourly_limit": 1_000_000,
}


async def record_running_counts(database_url: str) -> None:
    """Begin to count into an ordinary table, which survives a crash of Postgres, and set short pauses."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as database:
        await database.execute(_WATCH)
        settings = await database.execute("select * from batchgen.settings")
        known = {column.name for column in settings.description or ()}
        for name, value in _PACE.items():
            if name in known:
                change = sql.SQL("update batchgen.settings set {} = %s").format(sql.Identifier(name))
                await database.execute(change, [value])
