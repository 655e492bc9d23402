"""Find a user by e-mail, for operators."""

from uuid import UUID

from supabase import AsyncClient

from batchgen.errors import InvalidRequest, NotFound, NotSignedIn
from batchgen.postgrest import translated

PAGE_SIZE = 1000
MOST_PAGES = 100


async def find_user(supabase: AsyncClient, user: str) -> UUID:
    """The id of a user given by id or e-mail. Auth has no search, so an e-mail costs a request per 1,000 users."""
    try:
        return UUID(user)
    except ValueError:
        if "@" not in user:
            raise InvalidRequest(
                "The user is neither an id nor an e-mail address.", code="invalid_user", field="user"
            ) from None
    for page in range(1, MOST_PAGES + 1):
        users = await _page(supabase, page)
        for found_id, email in users:
            if email.lower() == user.lower():
                return UUID(found_id)
        if len(users) < PAGE_SIZE:
            break
    raise NotFound(
        "No user has this e-mail address.", code="user_not_found", field="user", remedy="Give the user's id instead."
    )


async def _page(supabase: AsyncClient, page: int) -> list[tuple[str, str]]:
    try:
        with translated("Looking up the user"):
            users = await supabase.auth.admin.list_users(page=page, per_page=PAGE_SIZE)
    except NotSignedIn as error:
        raise InvalidRequest(
            "This project's Auth does not let the secret key look up users by e-mail.",
            code="no_user_lookup",
            field="user",
            remedy="Give the user's id instead.",
        ) from error
    return [(user.id, user.email or "") for user in users]
