"""A worker's writes and other helpers for the library's tests."""

import json
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from batchgen import BatchRequest, CreatedBatch, Prompt, Session
from tests.support import Database


@dataclass
class FakeWorker:
    """Does a worker's writes, one at a time."""

    database: Database

    async def start_all(self, batch: CreatedBatch) -> dict[UUID, str]:
        """Claim items (pending -> processing); returns the leases by item."""
        rows = await (await self.database.execute("select * from public.claim_generations('fake', 20, 600)")).fetchall()
        mine = {item.id for item in batch.generations}
        return {row["generation_id"]: str(row["lease_id"]) for row in rows if row["generation_id"] in mine}

    async def complete(self, item_id: UUID, lease: str, user_id: str) -> None:
        result = {"storage_path": f"{user_id}/{item_id}.png", "format": "png", "width": 8, "height": 8}
        await self._call("complete_generation", item_id, lease, result)

    async def fail(self, item_id: UUID, lease: str, reason: str = "no", *, code: str = "x") -> None:
        await self._call("fail_generation", item_id, lease, {"code": code, "message": reason, "retryable": False})

    async def _call(self, function: str, item_id: UUID, lease: str, what: dict[str, Any]) -> None:
        await self.database.execute(f"select public.{function}(%s, %s, %s)", (item_id, lease, json.dumps(what)))  # pyright: ignore[reportArgumentType]


def two_prompts(**changes: Any) -> BatchRequest:
    request = BatchRequest(prompts=(Prompt(text="a fox"), Prompt(text="a bird")))
    return request.model_copy(update=changes)


def expired(session: Session) -> Session:
    """The same session with an access token that has just expired."""
    return session.model_copy(update={"access_token": SecretStr("ended"), "expires_at": int(time.time()) - 1})
