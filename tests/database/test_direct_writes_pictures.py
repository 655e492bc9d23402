"""The app's own writes to pictures and tags with its users' tokens.

With our policies and grants, and where policies and grants refuse nothing. What is refused is in supabase/tests.
"""

from uuid import UUID

import pytest
from database_harness import Database, Row, refused

INSERT = (
    "insert into public.images (generation_id, user_id, filename, storage_path, prompt, source_image_id)"
    " values (%(generation)s, %(user)s, 'a.png', %(path)s, 'a picture', %(source)s)"
)


def single(db: Database, user: UUID) -> UUID:
    sql = "insert into public.image_generations (user_id, prompt) values (%s, 'single') returning id"
    return db.value(sql, user)


def picture(db: Database, user: UUID, **more: object) -> Row:
    """A row of images that is there already."""
    generation = single(db, user)
    values = {"generation_id": generation, "storage_path": f"{user}/{generation}.png"} | more
    sql = (
        "insert into public.images (user_id, filename, prompt, generation_id, storage_path, is_public)"
        " values (%s, 'a.png', 'a picture', %s, %s, %s) returning *"
    )
    return db.one(sql, user, values["generation_id"], values["storage_path"], values.get("is_public", False))


def test_the_app_records_the_picture_of_a_single_generation(project: Database) -> None:
    user = project.new_user()
    generation = single(project, user)

    values: Row = {"generation": generation, "user": user, "path": f"{user}/{generation}.png", "source": None}
    with project.acting("authenticated", user) as connection:
        connection.execute(INSERT.encode(), values)

    assert project.one("select generation_id, user_id from public.images") == {
        "generation_id": generation,
        "user_id": user,
    }


@pytest.mark.parametrize("whose", ["own", "public"])
def test_a_picture_may_be_made_from_an_own_or_a_public_one(project: Database, whose: str) -> None:
    user = project.new_user()
    source = picture(project, user if whose == "own" else project.new_user(), is_public=whose == "public")

    values: Row = {"generation": None, "user": user, "path": f"{user}/b.png", "source": source["id"]}
    with project.acting("authenticated", user) as connection:
        connection.execute(INSERT.encode(), values)

    assert project.value("select count(*) from public.images") == 2


@pytest.mark.parametrize(
    "edit",
    [
        "is_favorite = true, rating = 5",
        "is_public = true",
        "archived_at = now()",
        "download_count = download_count + 1",
        "filename = 'better.png', blurhash = 'LKO2'",
    ],
)
def test_users_edit_what_they_make_of_their_pictures(project: Database, edit: str) -> None:
    user = project.new_user()
    mine, theirs = picture(project, user), picture(project, project.new_user())

    project.as_user(user, f"update public.images set {edit} where id = %s", mine["id"])  # noqa: S608

    assert project.one("select * from public.images where id = %s", mine["id"]) != mine
    assert project.one("select * from public.images where id = %s", theirs["id"]) == theirs


def test_users_delete_their_pictures_and_the_items_stay(project: Database) -> None:
    user = project.new_user()
    batch = project.submit(user)
    for claim in project.claim():
        project.complete(claim)

    project.as_user(user, "delete from public.images where user_id = %s", user)

    assert project.value("select count(*) from public.images") == 0
    assert project.totals(batch["id"]) == ("completed", 2, 0)


def test_the_app_makes_a_tag_relies_on_23505_and_tags_and_untags_its_pictures(project: Database) -> None:
    user = project.new_user()
    image = picture(project, user)["id"]
    [tag] = project.as_user(user, "insert into public.tags (name) values ('fox') returning id")
    with refused("23505"):
        project.as_user(project.new_user(), "insert into public.tags (name) values ('fox')")

    project.as_user(user, "insert into public.image_tags (image_id, tag_id) values (%s, %s)", image, tag["id"])
    assert project.value("select count(*) from public.image_tags") == 1

    project.as_user(user, "delete from public.image_tags where image_id = %s", image)
    assert project.value("select count(*) from public.image_tags") == 0


def test_admins_and_workers_write_as_before(project: Database) -> None:
    user, other = project.new_user(), project.new_user()
    image = picture(project, user)

    project.as_service("update public.images set user_id = %s, storage_path = 'elsewhere.png'", other)
    project.as_service("insert into public.tags (name) values ('by an operator')")

    assert project.one("select user_id, storage_path from public.images where id = %s", image["id"]) == {
        "user_id": other,
        "storage_path": "elsewhere.png",
    }
