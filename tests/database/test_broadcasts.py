"""A broadcast that cannot be sent never fails the write that it reports, whatever Realtime is like."""

import json
import re
from uuid import UUID

import psycopg
import pytest
from database_harness import Database, NewDatabase, Row

from devstack.database import REALTIME, REALTIME_PARTITIONS
from devstack.migrations import apply_migrations, default_migrations_dir

DROP_PARTITIONS = """
    do $$
    declare
      v_partition regclass;
    begin
      for v_partition in select inhrelid::regclass from pg_inherits where inhparent = 'realtime.messages'::regclass loop
        execute format('drop table %s', v_partition);
      end loop;
    end
    $$
"""
SEND = "create function realtime.send(payload jsonb, event text, topic text, private boolean default true)"
DROP_SEND = "drop function realtime.send(jsonb, text, text, boolean);"
BROKEN = {
    "no schema": "drop schema realtime cascade",
    "no function": DROP_SEND,
    "no table": "drop table realtime.messages cascade",
    "no partitions": DROP_PARTITIONS,
    "another signature": DROP_SEND
    + "create function realtime.send(topic text, payload jsonb) returns void language sql as ''",
    "another result": DROP_SEND + SEND + " returns integer language sql as 'select 1'",
    "a set of rows": DROP_SEND + SEND + " returns setof integer language sql as 'select generate_series(1, 3)'",
    "an error": DROP_SEND + SEND + " returns void language plpgsql as $$ begin raise 'broken'; end $$",
    "a refusal of the schema": "create role app_owner; alter schema realtime owner to app_owner;"
    "revoke all on schema realtime from public, postgres;",
    "a row that is refused": "alter table realtime.messages add constraint none check (false) not valid",
}
MESSAGES = "select topic, event, payload from realtime.messages order by (payload ->> 'sequence')::bigint"


def drain(db: Database) -> set[str]:
    """Run everything that waits to its end, one item after the other; the batches' final states."""
    user = db.new_user()
    batch = db.submit(user, prompts=3)
    for claim in db.claim():
        db.complete(claim)
    db.submit(user)
    for claim in db.claim():
        db.fail(claim, retryable=False)
    db.run("update public.batch_generations set name = 'renamed' where id = %s", batch["id"])
    db.run("delete from public.image_generations where batch_id = %s and batch_index = 0", batch["id"])
    states = {row["status"] for row in db.run("select status from public.batch_generations")}
    db.run("delete from public.batch_generations where id = %s", batch["id"])
    return states


@pytest.mark.parametrize("kind", BROKEN)
def test_no_write_fails_without_a_working_realtime(db: Database, kind: str) -> None:
    notices: list[str] = []
    db.admin.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    assert drain(db) == {"completed", "failed"}
    assert db.run(MESSAGES)

    # In the session that has sent already, and has plans of it.
    db.run(BROKEN[kind])

    assert drain(db) == {"completed", "failed"}
    if kind in ("no schema", "no function", "another signature"):
        assert not [notice for notice in notices if "broadcast" in notice.lower()], "nothing is missing there"


def test_a_lock_on_the_messages_delays_a_write_only_briefly(db: Database) -> None:
    with psycopg.connect(db.dsn) as other:
        other.execute("lock table realtime.messages in access exclusive mode")
        db.run("set statement_timeout = '5s'")
        batch = db.submit()
        other.rollback()

    assert db.batch(batch["id"])["status"] == "pending"
    assert db.run(MESSAGES) == []


async def test_a_project_that_gets_realtime_later_sends_from_then_on(bare: NewDatabase) -> None:
    db = await bare("hosted_schemas.sql", before="drop schema realtime cascade")
    await apply_migrations(db.dsn, default_migrations_dir())
    user = db.new_user()
    db.submit(user)
    db.run((REALTIME + REALTIME_PARTITIONS).decode())

    batch = db.submit(user)
    db.as_service("select public.worker_start()")

    assert {row["topic"] for row in db.run(MESSAGES)} == {f"user:{user}", "batchgen:workers"}
    assert [row["payload"]["batch_id"] for row in db.run(MESSAGES) if row["event"] == "changed"] == [batch["id"]]
    assert heard_by(db, user) == [f"user:{user}"]
    assert heard_by(db, db.new_user()) == []


def heard_by(db: Database, user: UUID) -> list[str]:
    """Topics that Realtime would let this user join."""
    return [row["topic"] for row in db.as_user(user, "select distinct topic from realtime.messages")]


async def test_a_hosted_project_has_the_policies_and_sends(bare: NewDatabase) -> None:
    """Its role `postgres` is no superuser and does not own Realtime's tables."""
    db = await bare("hosted_schemas.sql", "hosted_owners.sql")
    db.run("grant supabase_realtime_admin to project_owner")  # of the whole server, see the next test
    as_owner = re.sub("//postgres:[^@]*@", "//project_owner:project_owner@", db.dsn)
    await apply_migrations(as_owner, default_migrations_dir())
    user = db.new_user()

    db.submit(user)

    assert heard_by(db, user) == [f"user:{user}"]
    assert db.value("select count(*) from pg_policies where schemaname = 'realtime'") == 3


async def test_without_rights_on_realtimes_tables_a_warning_says_what_is_missing(bare: NewDatabase) -> None:
    db = await bare("hosted_schemas.sql", "hosted_owners.sql")
    await apply_migrations(db.dsn, default_migrations_dir())
    notices: list[str] = []
    db.admin.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    for row in db.run("select policyname from pg_policies where schemaname = 'realtime'"):
        db.run(f'drop policy "{row["policyname"]}" on realtime.messages')
    db.run("alter function batchgen.protect_topics() owner to project_owner")
    db.run("revoke supabase_realtime_admin from project_owner")

    db.as_service("select public.worker_start()")

    [warning] = notices
    assert warning.startswith("project_owner could not create the policies on realtime.messages")


def test_each_completion_is_one_message_with_the_new_counts(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=3)
    claims = db.claim()
    db.run("delete from realtime.messages")

    db.complete_all(claims[:2])
    db.complete(claims[2])

    first, last = (row["payload"] for row in db.run(MESSAGES))
    assert {item["status"] for item in first["items"]} == {"completed"}
    assert sorted(item["id"] for item in first["items"]) == sorted(str(claim["generation_id"]) for claim in claims[:2])
    assert (first["status"], first["completed_count"]) == ("processing", 2)
    assert (last["status"], last["completed_count"], len(last["items"])) == ("completed", 3, 1)
    assert last["batch_id"] == batch["id"]
    assert last["sequence"] > first["sequence"]


def test_a_user_without_a_batch_and_a_batch_without_a_user_send_nothing(db: Database) -> None:
    db.run("alter table public.batch_generations alter column user_id drop not null")
    db.run(
        "insert into public.image_generations (user_id, prompt, status) values (%s, 'single', 'pending')", db.new_user()
    )
    batch = db.value("insert into public.batch_generations (total_count, status) values (1, 'pending') returning id")
    sql = "insert into public.image_generations (prompt, status, batch_id) values ('x', 'pending', %s)"
    db.run(sql, batch)

    assert [row["topic"] for row in db.run(MESSAGES)] == ["batchgen:workers"]


def test_no_message_has_a_prompt_a_name_or_a_path(db: Database) -> None:
    user = db.new_user()
    request: Row = {"prompts": [{"text": "secret fox", "tags": ["secret"]}] * 2, "batch_name": "secret name"}
    db.create(user, request)
    for claim in db.claim():
        db.complete(claim, filename="secret.png")

    text = json.dumps([row["payload"] for row in db.run(MESSAGES)])
    assert "secret" not in text
    assert ".png" not in text
