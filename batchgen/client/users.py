"""Find a user by id or e-mail, for operators."""

from typing import Any
from uuid import UUID

from supabase import AsyncClient

from batchgen.backend.rpc import translated
from batchgen.client.ids import digits_of, range_of, short_id, with_hyphens
from batchgen.errors import InvalidRequest, NotFound, NotSignedIn

PAGE_SIZE = 1000
MOST_PAGES = 100
NAME_IT = "Give the user's id, its first digits, or an e-mail address."


async def find_user(supabase: AsyncClient, user: str) -> UUID:
    """The id of a user given by id, by the first digits of it, or by e-mail.

    Auth has no search: an e-mail costs one request per 1,000 users, and first digits are only searched among the users
    who have batches.
    """
    if "@" in user:
        return await _by_email(supabase, user)
    digits = digits_of(user, what="user", field="user", code="invalid_user", remedy=NAME_IT)
    return UUID(digits) if len(digits) == len(UUID(int=0).hex) else await _by_digits(supabase, digits)


async def _by_email(supabase: AsyncClient, email: str) -> UUID:
    for page in range(1, MOST_PAGES + 1):
        users = await _page(supabase, page)
        for found_id, address in users:
            if address.lower() == email.lower():
                return UUID(found_id)
        if len(users) < PAGE_SIZE:
            break
    raise NotFound(
        "No user has this e-mail address.", code="user_not_found", field="user", remedy="Give the user's id instead."
    )


async def _by_digits(supabase: AsyncClient, digits: str) -> UUID:
    """Query the smallest and the greatest id that begins with the digits; they are equal if the id is unique."""
    first, last = range_of(digits)
    found: list[UUID] = []
    for is_last in (False, True):
        query = supabase.table("batch_generations").select("user_id").order("user_id", desc=is_last).limit(1)
        with translated("Looking up the user"):
            rows: Any = (await query.gte("user_id", str(first)).lte("user_id", str(last)).execute()).data
        found += [UUID(row["user_id"]) for row in rows]
    if not found:
        raise NotFound(
            f"No user with batches has an id that begins with {with_hyphens(digits)}.",
            code="user_not_found",
            field="user",
            remedy=NAME_IT,
        )
    if found[0] != found[-1]:
        several = [short_id(one, found) for one in found]
        raise InvalidRequest(
            f"{with_hyphens(digits)} matches the ids of several users.",
            code="ambiguous_id",
            field="user",
            limit=[str(one) for one in found],
            remedy=f"Give more digits: {', '.join(several)}, or one between them.",
        )
    return found[0]


async def _page(supabase: AsyncClient, page: int) -> list[tuple[str, str]]:
    try:
        with translated("Looking up the user"):
            users = await supabase.auth.admin.list_users(page=page, per_page=PAGE_SIZE)
    except NotSignedIn as error:
        raise InvalidRequest(
            "This project's Auth does not allow the secret key to look up users by e-mail.",
            code="no_user_lookup",
            field="user",
            remedy="Give the user's id instead.",
        ) from error
    return [(user.id, user.email or "") for user in users]
