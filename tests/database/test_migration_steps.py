"""A project that is in use works between any two migrations: each is a transaction of its own."""

import shutil
from pathlib import Path
from uuid import UUID

from database_harness import Database, NewDatabase

from devstack.migrations import apply_migrations, default_migrations_dir, find_migrations

USER = UUID("11111111-1111-4111-8111-111111111111")


async def test_the_apps_own_writes_work_after_each_migration_and_no_item_is_forgotten(
    bare: NewDatabase, tmp_path: Path
) -> None:
    db = await bare("app_schema.sql", "seed_schema.sql", "seed_rows.sql")
    migrations = find_migrations(default_migrations_dir())
    batches: list[object] = []

    for number, migration in enumerate(migrations):
        shutil.copy(migration.file, tmp_path)
        assert len(await apply_migrations(db.dsn, tmp_path)) == 1
        write_as_the_app_does(db, number)
        batches.append(submit_by_hand(db, number))

    assert {item["prompt"] for item in waiting(db)} == {
        *(f"waits since before {n}" for n in range(2)),
        *(f"between {n}" for n in range(len(migrations))),
    }
    done: set[object] = set()
    while claims := db.claim(20):
        for claim in claims:
            db.complete(claim)
            done.add(claim["batch_id"])
    assert set(batches) <= done
    assert {db.totals(batch) for batch in batches} == {("completed", 1, 0)}


def write_as_the_app_does(db: Database, number: int) -> None:
    """A single generation, its end and its picture, with the tables' own rights and policies."""
    [item] = db.as_user(
        USER,
        "insert into public.image_generations (user_id, prompt, status) values (%s, %s, 'pending') returning id",
        USER,
        f"single {number}",
    )
    db.run("update public.image_generations set status = 'completed' where id = %s", item["id"])
    [picture] = db.as_user(
        USER,
        "insert into public.images (generation_id, user_id, filename, storage_path, prompt)"
        " values (%s, %s, 'a.png', %s, 'p') returning id",
        item["id"],
        USER,
        f"{USER}/{item['id']}.png",
    )
    db.as_user(USER, "update public.images set is_favorite = true where id = %s", picture["id"])
    db.as_user(USER, "delete from public.images where id = %s", picture["id"])
    assert db.item(item["id"])["status"] == "completed"


def submit_by_hand(db: Database, number: int) -> object:
    """A batch of one item, as the specification's tables take it without any function of ours."""
    batch_id = db.value(
        "insert into public.batch_generations (user_id, total_count, status) values (%s, 1, 'pending') returning id",
        USER,
    )
    db.run(
        "insert into public.image_generations (user_id, prompt, status, batch_id, batch_index)"
        " values (%s, %s, 'pending', %s, 0)",
        USER,
        f"between {number}",
        batch_id,
    )
    return batch_id


def waiting(db: Database) -> list[dict[str, object]]:
    return db.run(
        "select g.prompt from batchgen.queue q join public.image_generations g on g.id = q.generation_id"
        " where q.state = 'waiting'"
    )
