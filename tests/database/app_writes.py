"""The app's own statements, sent with its users' tokens, and queries for their effects."""

from uuid import UUID

from database_harness import Database, Row

RETRY = (
    "update public.image_generations set status = 'pending', error_message = null, retry_count = 0"
    " where batch_id = %s and status = 'failed'"
)
AFTER_RETRY = "update public.batch_generations set status = 'processing', failed_count = 0 where id = %s"
CANCEL = (
    "update public.image_generations set status = 'failed', error_message = 'Cancelled by user'"
    " where batch_id = %s and status = 'pending'"
)
AFTER_CANCEL = "update public.batch_generations set status = 'failed', completed_at = now() where id = %s"
DELETE = "delete from public.batch_generations where id = %s"

ALLOW_EVERYTHING = """
grant all on all tables in schema public to anon, authenticated;
do $$
declare
  v record;
begin
  for v in select policyname, tablename from pg_policies where schemaname = 'public' loop
    execute format('drop policy %I on public.%I', v.policyname, v.tablename);
  end loop;
  for v in select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' loop
    execute format('create policy "all" on public.%I for all to public using (true) with check (true)', v.relname);
  end loop;
end
$$;
"""
NO_ROW_SECURITY = """
grant all on all tables in schema public to anon, authenticated;
alter table public.image_generations disable row level security;
alter table public.batch_generations disable row level security;
alter table public.images disable row level security;
alter table public.tags disable row level security;
alter table public.image_tags disable row level security;
"""
TABLES = ("batch_generations", "image_generations", "images", "tags", "image_tags")
PRIVATE = ("batchgen.queue", "batchgen.failures", "batchgen.storage_deletions")


def everything(db: Database) -> dict[str, list[Row]]:
    """All rows, and the transaction that wrote each: an update that changes nothing would show, too."""
    names = [*(f"public.{table}" for table in TABLES), *PRIVATE]
    return {name: db.run(f"select xmin::text as written_by, * from {name} order by 2, 3") for name in names}  # noqa: S608


def statuses(db: Database, batch: Row) -> list[str]:
    rows = db.run("select status from public.image_generations where batch_id = %s order by batch_index", batch["id"])
    return [row["status"] for row in rows]


def codes(db: Database) -> dict[int, str]:
    rows = db.run(
        "select g.batch_index, f.code from batchgen.failures f"
        " join public.image_generations g on g.id = f.generation_id"
    )
    return {row["batch_index"]: row["code"] for row in rows}


def requested(db: Database) -> list[int]:
    """The places of the items whose workers are asked to stop."""
    rows = db.run(
        "select g.batch_index from batchgen.queue q join public.image_generations g on g.id = q.generation_id"
        " where q.cancel_requested order by 1"
    )
    return [row["batch_index"] for row in rows]


def failed_batch(db: Database, user: UUID, *errors: str) -> Row:
    """A batch with one finished item, and a failed one for each code; an empty code is an edit by an admin."""
    db.run("update batchgen.settings set max_parallel_per_user = 10")
    batch = db.submit(user, prompts=len(errors) + 1)
    done, *rest = db.claim()
    db.complete(done)
    for claim, code in zip(rest, errors, strict=True):
        if code:
            db.fail(claim, code=code, retryable=False)
        else:
            db.run("update public.image_generations set status = 'failed' where id = %s", claim["generation_id"])
    return batch


LIMIT = """
create or replace function batchgen.take_from_limits(p_user_id uuid, p_items integer) returns void
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.asked values (p_user_id, p_items, (select count(*) from batchgen.queue));
  if p_items > 2 then
    perform batchgen.refuse('daily_limit', 'Enough for today.', null, 'Wait.', null, null, 'PT429');
  end if;
end
$$;
create table public.asked (user_id uuid, items integer, queued bigint);
"""

COUNT_UPDATES = """
create table public.updates (table_name text, id uuid);
create function public.count_update() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.updates values (tg_table_name, new.id);
  return null;
end $$;
create trigger zz_count_update after update on public.image_generations
for each row execute function public.count_update();
"""


def updates(db: Database) -> dict[int, int]:
    """By place in the batch; forgets them."""
    rows = db.run(
        "with u as (delete from public.updates returning id)"
        " select g.batch_index, count(*) as n from u join public.image_generations g using (id) group by 1"
    )
    return {row["batch_index"]: row["n"] for row in rows}
