"""The cost of a claim does not depend on the length of the queue. Counted in database pages, not in time."""

from collections.abc import Callable
from statistics import median

import pytest
from database_harness import Database, Row

ROUNDS = 12

FILL = """
  with people as (
    insert into auth.users (id) select gen_random_uuid() from generate_series(1, %(users)s) returning id
  ),
  numbered as (select id, row_number() over (order by id) as n from people),
  batches as (
    insert into public.batch_generations (user_id, total_count, status)
    select id, 0, 'pending' from numbered returning id, user_id
  )
  insert into public.image_generations (user_id, batch_id, batch_index, prompt, status, priority)
  select b.user_id, b.id, i, 'a tree', 'pending', i %% 3
  from batches b join numbered u on u.id = b.user_id
  -- one user owns half of all that waits
  cross join lateral generate_series(1, case u.n when 1 then %(rows)s / 2 else %(rows)s / 2 / (%(users)s - 1) end) as i
"""


CLAIM = "explain (analyze, buffers, format json) select * from public.claim_generations('worker-a', 5, 60)"

# An autovacuum at the same time may keep the fixture's own vacuum from removing dead rows, and claims then read them.
NO_AUTOVACUUM = """
    do $$
    declare
      v_table regclass;
    begin
      for v_table in
        select c.oid from pg_class c
        where c.relkind = 'r' and c.relnamespace in ('batchgen'::regnamespace, 'public'::regnamespace)
      loop
        execute format('alter table %s set (autovacuum_enabled = false)', v_table);
      end loop;
    end
    $$
"""


def pages_of_a_claim(db: Database) -> float:
    """Median over a steady state: each claim of five follows as many completions and one new batch."""
    user = db.new_user()
    db.claim(20)
    pages = list[int]()
    for _ in range(ROUNDS):
        for claim in running_longest(db):
            db.complete(claim)
        db.submit(user)
        [answer] = db.as_service(CLAIM)
        top = answer["QUERY PLAN"][0]["Plan"]
        assert top["Actual Rows"] == 5
        pages.append(top["Shared Hit Blocks"] + top["Shared Read Blocks"])
    return median(pages)


def running_longest(db: Database) -> list[Row]:
    return db.run(
        "select generation_id, lease_id, user_id from batchgen.queue"
        " where state = 'running' order by started_at limit 5"
    )


@pytest.fixture
def filled(db: Database) -> Callable[..., Database]:
    def fill(*, rows: int, users: int) -> Database:
        db.run(NO_AUTOVACUUM)
        db.admin.execute(FILL.encode(), {"rows": rows, "users": users})
        db.claim(0)  # the first claim marks who is ready
        db.run("vacuum analyze")
        return db

    return fill


def test_a_claim_touches_no_more_pages_with_sixteen_times_the_rows_and_the_users(
    db: Database, filled: Callable[..., Database]
) -> None:
    few = pages_of_a_claim(filled(rows=1_000, users=25))
    many = pages_of_a_claim(filled(rows=16_000, users=400))

    # An index that is one level deeper may cost a page per look-up; a scan would cost hundreds.
    assert many <= 1.5 * few, f"{few} pages with 1,000 rows waiting, {many} with 17,000"


def test_a_claim_touches_no_more_pages_when_much_has_finished(db: Database, filled: Callable[..., Database]) -> None:
    before = pages_of_a_claim(filled(rows=1_000, users=25))
    db.run("set session_replication_role = replica")
    db.run(
        "insert into public.image_generations (user_id, batch_id, batch_index, prompt, status)"
        " select g.user_id, g.batch_id, 100 + i, 'done', 'completed'"
        " from public.image_generations g, generate_series(1, 15) i where g.status = 'pending'"
    )
    db.run("reset session_replication_role")
    db.run("vacuum analyze")

    after = pages_of_a_claim(db)

    assert after <= 1.5 * before, f"{before} pages before, {after} with 15,000 finished items"
