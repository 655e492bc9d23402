"""Users of the dev stack: the development account, and the list of users, which Supabase Lite does not offer."""

from collections.abc import Mapping
from typing import Any

import aiohttp
import psycopg
from psycopg.rows import dict_row

from devstack.errors import DevstackError
from devstack.keys import DEV_EMAIL, DEV_PASSWORD

MOST_PER_PAGE = 1000

_USERS = """
    select id::text, aud, role, email, coalesce(phone, '') as phone,
           coalesce(raw_app_meta_data, '{}') as app_metadata, coalesce(raw_user_meta_data, '{}') as user_metadata,
           to_json(created_at) as created_at, to_json(updated_at) as updated_at,
           to_json(last_sign_in_at) as last_sign_in_at, to_json(email_confirmed_at) as email_confirmed_at
      from auth.users order by users.created_at desc, users.id limit %s offset %s
"""


async def make_dev_account(url: str, publishable_key: str) -> None:
    """Create the development account unless it exists."""
    account = {"email": DEV_EMAIL, "password": DEV_PASSWORD}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/auth/v1/signup", json=account, headers={"apikey": publishable_key}) as answer,
    ):
        body: dict[str, Any] = await answer.json(content_type=None)
        if answer.status != 200 and body.get("error_code") != "user_already_exists":
            raise DevstackError(f"The account {DEV_EMAIL} could not be created: Auth answered {answer.status} {body}.")


async def list_users(database_url: str, query: Mapping[str, str]) -> dict[str, Any]:
    """A page of users in the format of Auth's admin API, newest first; `query` is the request's."""
    page, per_page = _number(query.get("page"), 1), min(_number(query.get("per_page"), 50), MOST_PER_PAGE)
    async with (
        await psycopg.AsyncConnection.connect(database_url) as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        users = await (await cursor.execute(_USERS, (per_page, (page - 1) * per_page))).fetchall()
    return {"users": users, "aud": "authenticated"}


def _number(text: str | None, default: int) -> int:
    return max(1, int(text)) if text and text.isdecimal() else default
