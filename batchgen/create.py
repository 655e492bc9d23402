"""Create a batch."""

from typing import Any
from uuid import uuid4

from batchgen.access import Access
from batchgen.errors import BackendUnavailable, InvalidRequest
from batchgen.models import BatchRequest, CreatedBatch
from batchgen.postgrest import rpc


async def create_batch(access: Access, request: BatchRequest) -> CreatedBatch:
    """Submit a batch and return it with its items.

    Where no answer came, it is sent once more: with the same `client_key` the database makes no second batch.
    """
    if request.client_key is None:
        request = request.model_copy(update={"client_key": str(uuid4())})
    name, arguments = _call(access, request)
    try:
        answer = await access.call(lambda: rpc(access.supabase, name, arguments))
    except BackendUnavailable:
        answer = await access.call(lambda: rpc(access.supabase, name, arguments))
    return CreatedBatch.model_validate(answer["batch"])


def _call(access: Access, request: BatchRequest) -> tuple[str, dict[str, Any]]:
    body = request.model_dump(mode="json", exclude_none=True)
    if not access.is_operator:
        return "create_batch", {"p_request": body}
    if access.user_id is None:
        raise InvalidRequest(
            "An operator submits in the name of a user, and none was named.",
            code="user_missing",
            field="user",
            remedy="Give --user with the user's id or e-mail address, or sign in with batchgen login.",
        )
    return "create_batch_as", {"p_user_id": str(access.user_id), "p_request": body}
