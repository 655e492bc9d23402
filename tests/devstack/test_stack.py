"""One stack, used as an app and a worker use hosted Supabase."""

import asyncio
import os
import signal
import uuid
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from postgrest import APIError
from storage3.exceptions import StorageApiError
from supabase import AsyncClient
from supabase_auth.errors import AuthApiError

from devstack import DevstackError, Stack, StackConfig
from tests.devstack.stack_clients import Running, User, client_of


async def test_signing_up_gives_a_session_without_confirmation(user: User) -> None:
    answer = await user.client.auth.get_user()

    assert answer is not None
    assert answer.user.id == user.id


async def test_rows_of_other_users_are_hidden(user: User, other_user: User) -> None:
    note = await insert_note(user)
    seen_by_other = await select_all(other_user.client, "notes")

    assert note["user_id"] == user.id
    assert seen_by_other == []


async def test_times_are_iso_8601_with_an_offset(user: User) -> None:
    note = await insert_note(user)

    assert "T" in note["written_at"]
    assert note["written_at"].endswith("+00:00")


async def test_lite_grants_nothing_beyond_the_migrations(service: AsyncClient) -> None:
    with pytest.raises(APIError) as refused:
        await select_all(service, "unseen")

    assert refused.value.code == "42501"


@pytest.mark.parametrize(("code", "status"), [("PT409", 409), ("PT422", 422)])
async def test_pt_errors_keep_status_detail_and_hint(running: Running, code: str, status: int) -> None:
    async with httpx.AsyncClient(base_url=running.info.url) as http:
        answer = await http.post(
            "/rest/v1/rpc/refuse", json={"p_code": code}, headers={"apikey": running.info.secret_key}
        )

    assert answer.status_code == status
    assert answer.json() == {"code": code, "message": "refused", "details": "the detail", "hint": "the hint"}


@pytest.mark.parametrize(
    ("value", "kind"), [({"a": [1, {"b": None}]}, "object"), ([1], "array"), ("text", "string"), (1.5, "number")]
)
async def test_json_arguments_keep_their_types(service: AsyncClient, value: object, kind: str) -> None:
    assert await call(service, "type_of", {"p_value": value}) == kind


async def test_uuid_arrays_can_be_arguments(service: AsyncClient) -> None:
    assert await call(service, "how_many", {"p_ids": [str(uuid.uuid4()), str(uuid.uuid4())]}) == 2


async def test_requests_without_a_key_and_with_a_wrong_token_are_refused(running: Running) -> None:
    async with httpx.AsyncClient(base_url=running.info.url) as http:
        keyless = await http.get("/rest/v1/notes")
        wrong = await http.get(
            "/rest/v1/notes", headers={"apikey": running.info.publishable_key, "authorization": "Bearer a.b.c"}
        )

    assert (keyless.status_code, wrong.status_code) == (401, 401)


@pytest.mark.parametrize("path", ["/rest/v1/notes", "/auth/v1/signup", "/storage/v1/object/pictures/a"])
async def test_browsers_may_send_their_key_to_every_service(running: Running, path: str) -> None:
    asked = {"origin": "http://localhost:5173", "access-control-request-method": "POST"}
    async with httpx.AsyncClient(base_url=running.info.url) as http:
        answer = await http.options(path, headers={**asked, "access-control-request-headers": "apikey,authorization"})

    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == "apikey,authorization"


async def test_a_file_of_50_mb_can_be_uploaded_and_downloaded(user: User) -> None:
    picture = b"0123456789abcdef" * (50 * 1024 * 1024 // 16)
    bucket = user.client.storage.from_("pictures")

    await bucket.upload(f"{user.id}/large.png", picture, {"content-type": "image/png"})
    public = await bucket.get_public_url(f"{user.id}/large.png")
    async with httpx.AsyncClient() as http:
        answer = await http.get(public)

    assert answer.headers["content-type"] == "image/png"
    assert answer.content == picture


async def test_an_object_is_replaced_only_on_request(user: User) -> None:
    bucket, path = user.client.storage.from_("private"), f"{user.id}/one.txt"
    await bucket.upload(path, b"first")

    with pytest.raises(StorageApiError):
        await bucket.upload(path, b"second")
    await bucket.upload(path, b"third", {"upsert": "true"})
    third = await bucket.download(path)
    await bucket.update(path, b"fourth")

    assert third == b"third"
    assert await bucket.download(path) == b"fourth"


async def test_objects_below_a_folder_are_listed_one_level_deep(user: User) -> None:
    bucket = user.client.storage.from_("private")
    await bucket.upload(f"{user.id}/b.txt", b"b")
    await bucket.upload(f"{user.id}/deeper/a.txt", b"a")

    listed = await bucket.list(user.id)

    assert sorted(entry["name"] for entry in listed) == ["b.txt", "deeper"]


async def test_storage_keeps_users_in_their_own_folder(user: User, other_user: User) -> None:
    path = f"{user.id}/mine.txt"
    await user.client.storage.from_("private").upload(path, b"mine")
    theirs = other_user.client.storage.from_("private")

    with pytest.raises(StorageApiError):
        await theirs.download(path)
    with pytest.raises(StorageApiError):
        await theirs.upload(f"{user.id}/planted.txt", b"x")
    assert await theirs.remove([path]) == []


async def test_the_secret_key_passes_every_policy_of_storage(service: AsyncClient, user: User) -> None:
    path = f"{user.id}/by-worker.png"
    bucket = service.storage.from_("pictures")

    await bucket.upload(path, b"1", {"content-type": "image/png", "upsert": "true"})
    await bucket.upload(path, b"2", {"content-type": "image/png", "upsert": "true"})
    down = await bucket.download(path)
    removed = await bucket.remove([path])

    assert down == b"2"
    assert [entry["name"] for entry in removed] == [path]


async def test_signed_urls_lead_through_the_gateway(running: Running, user: User) -> None:
    path = f"{user.id}/signed.txt"
    bucket = user.client.storage.from_("private")
    await bucket.upload(path, b"signed")

    one = await bucket.create_signed_url(path, 60)
    several = await bucket.create_signed_urls([path, "nowhere"], 60)
    async with httpx.AsyncClient() as http:
        answers = [(await http.get(str(url))).content for url in (one["signedURL"], several[0]["signedURL"])]

    assert str(one["signedURL"]).startswith(running.info.url)
    assert answers == [b"signed", b"signed"]
    assert several[1]["error"]


async def test_sql_cannot_delete_storage_objects(running: Running) -> None:
    async with await psycopg.AsyncConnection.connect(running.info.database_url) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("delete from storage.objects")


async def test_storage_metadata_can_be_read_in_sql(running: Running, user: User) -> None:
    path = f"{user.id}/size.txt"
    await user.client.storage.from_("private").upload(path, b"12345")

    async with await psycopg.AsyncConnection.connect(running.info.database_url) as connection:
        found = await connection.execute("select metadata ->> 'size' from storage.objects where name = %s", (path,))
        assert await found.fetchone() == ("5",)


async def test_rest_sees_a_new_table_after_a_restart(running: Running, service: AsyncClient) -> None:
    async with await psycopg.AsyncConnection.connect(running.info.database_url) as connection:
        await connection.execute("create table public.late (id int primary key)")
        await connection.execute("grant select on public.late to service_role")

    await running.stack.restart_lite()

    assert await select_all(service, "late") == []


async def test_lite_is_restarted_when_it_dies(running: Running) -> None:
    lite = running.stack.lite_pid
    assert lite
    os.kill(lite, signal.SIGKILL)

    assert await statuses_until(running, 503) is not None
    assert await statuses_until(running, 200) is not None
    assert running.stack.lite_pid not in (None, lite)


async def test_a_second_stack_on_the_same_folder_names_the_first(running: Running) -> None:
    with pytest.raises(DevstackError, match=r"Another dev stack \(pid \d+\)"):
        await Stack(StackConfig(running.info.data_dir, port=0)).start()


async def test_a_port_in_use_is_reported_before_anything_starts(running: Running, tmp_path: Path) -> None:
    port = httpx.URL(running.info.url).port
    assert port is not None

    with pytest.raises(DevstackError, match=f"Port {port} on 127.0.0.1 is in use"):
        await Stack(StackConfig(tmp_path, port=port)).start()

    assert not (tmp_path / "postgres").exists()


async def insert_note(user: User) -> dict[str, Any]:
    table: Any = user.client.table("notes")  # rows have the table's own columns, which no type knows
    inserted = await table.insert({"text": uuid.uuid4().hex}).execute()
    (row,) = inserted.data
    return row


async def select_all(client: AsyncClient, table: str) -> list[dict[str, Any]]:
    selected: Any = await client.table(table).select("*").execute()
    return selected.data


async def call(client: AsyncClient, function: str, arguments: dict[str, Any]) -> Any:
    answer: Any = await client.rpc(function, arguments).execute()
    return answer.data


async def statuses_until(running: Running, status: int) -> list[int]:
    """Ask for the stack's health until it answers with `status`; returns all answers."""
    seen: list[int] = []
    async with httpx.AsyncClient(base_url=running.info.url) as http, asyncio.timeout(20):
        while status not in seen:
            seen.append((await http.get("/health")).status_code)
    return seen


async def test_only_the_secret_key_lists_users(running: Running, user: User) -> None:
    async with client_of(running.info, running.info.secret_key) as operator:
        users = await operator.auth.admin.list_users(page=1, per_page=1000)
    async with client_of(running.info, running.info.publishable_key) as anybody:
        with pytest.raises(AuthApiError) as refused:
            await anybody.auth.admin.list_users()

    assert user.id in {found.id for found in users}
    assert refused.value.status == 401
