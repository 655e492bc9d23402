"""A test's own database, with calls as users, workers and admins."""

import json
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

Row = dict[str, Any]
Connection = psycopg.Connection[Row]

WORKER = "worker-a"
OTHER_WORKER = "worker-b"


def connect(dsn: str) -> Connection:
    return psycopg.Connection[Row].connect(dsn, autocommit=True, row_factory=dict_row)


def query(connection: Connection, sql: str, *parameters: object) -> list[Row]:
    cursor = connection.execute(sql.encode(), parameters or None)
    return cursor.fetchall() if cursor.description else []


class Refusal:
    """The database's answer to a refused statement."""

    sqlstate: str = ""
    message: str = ""
    detail: Row

    def __init__(self) -> None:
        self.detail = {}


@contextmanager
def refused(sqlstate: str) -> Generator[Refusal]:
    """The block must end in this SQLSTATE; what was said is there afterwards."""
    refusal = Refusal()
    with pytest.raises(psycopg.Error) as caught:
        yield refusal
    error = caught.value
    assert error.sqlstate == sqlstate, f"{error.sqlstate}: {error}"
    refusal.sqlstate = sqlstate
    refusal.message = error.diag.message_primary or ""
    if error.diag.message_detail and error.diag.message_detail.startswith("{"):
        refusal.detail = json.loads(error.diag.message_detail)


@dataclass
class Database:
    dsn: str
    admin: Connection

    def run(self, sql: str, *parameters: object) -> list[Row]:
        """As the database's owner: what an admin does in the dashboard."""
        return query(self.admin, sql, *parameters)

    def one(self, sql: str, *parameters: object) -> Row:
        rows = self.run(sql, *parameters)
        assert len(rows) == 1, f"{len(rows)} rows: {sql}"
        return rows[0]

    def value(self, sql: str, *parameters: object) -> Any:
        return next(iter(self.one(sql, *parameters).values()))

    @contextmanager
    def acting(self, role: str, user_id: UUID | None = None) -> Generator[Connection]:
        """As a caller of the API: one transaction with its role and claims."""
        claims = {"role": role} | ({"sub": str(user_id)} if user_id else {})
        with self.admin.transaction():
            self.admin.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
            self.admin.execute(f"set local role {role}".encode())
            yield self.admin

    def as_user(self, user_id: UUID | None, sql: str, *parameters: object) -> list[Row]:
        with self.acting("authenticated", user_id) as connection:
            return query(connection, sql, *parameters)

    def as_service(self, sql: str, *parameters: object) -> list[Row]:
        with self.acting("service_role") as connection:
            return query(connection, sql, *parameters)

    # users

    def new_user(self) -> UUID:
        user_id = uuid4()
        self.run("insert into auth.users (id, email) values (%s, %s)", user_id, f"{user_id}@example.com")
        return user_id

    def create(self, user_id: UUID | None, request: object) -> Row:
        """`create_batch` as that user; answers the batch."""
        [row] = self.as_user(user_id, "select public.create_batch(%s::jsonb) as answer", json.dumps(request))
        return row["answer"]["batch"]

    def submit(self, user_id: UUID | None = None, prompts: int = 2, **more: object) -> Row:
        """A valid batch of a user, a new one if none is named."""
        return self.create(user_id or self.new_user(), a_request(prompts, **more))

    # workers

    def claim(self, limit: int = 100, worker: str = WORKER, lease_seconds: int = 60) -> list[Row]:
        return self.as_service("select * from public.claim_generations(%s, %s, %s)", worker, limit, lease_seconds)

    def claim_one(self, worker: str = WORKER) -> Row:
        [claim] = self.claim(1, worker)
        return claim

    def renew(self, *claims: Row, worker: str = WORKER, lease_seconds: int = 60) -> list[Row]:
        leases = [claim["lease_id"] for claim in claims]
        return self.as_service("select * from public.renew_leases(%s, %s::uuid[], %s)", worker, leases, lease_seconds)

    def attach(self, claim: Row, job: str, provider: str = "replicate") -> None:
        sql = "select public.attach_provider_job(%s, %s, %s, %s)"
        self.as_service(sql, claim["generation_id"], claim["lease_id"], provider, job)

    def complete_all(self, claims: list[Row], **result: object) -> list[Row]:
        """In one call; the rows of those that were completed."""
        results = [
            {
                "generation_id": str(claim["generation_id"]),
                "lease_id": str(claim["lease_id"]),
                "result": a_result(claim) | result,
            }
            for claim in claims
        ]
        return self.as_service("select * from public.complete_generations(%s::jsonb)", json.dumps(results))

    def complete(self, claim: Row, **result: object) -> Row:
        whole = a_result(claim) | result
        sql = "select public.complete_generation(%s, %s, %s::jsonb) as answer"
        return self.as_service(sql, claim["generation_id"], claim["lease_id"], json.dumps(whole))[0]["answer"]

    def fail(self, claim: Row, **error: object) -> Row:
        whole = {"code": "timeout", "message": "It took too long."} | error
        sql = "select public.fail_generation(%s, %s, %s::jsonb) as answer"
        return self.as_service(sql, claim["generation_id"], claim["lease_id"], json.dumps(whole))[0]["answer"]

    def release(self, *claims: Row, worker: str = WORKER) -> list[Row]:
        leases = [claim["lease_id"] for claim in claims]
        return self.as_service("select * from public.release_generations(%s, %s::uuid[])", worker, leases)

    def return_expired(self) -> int:
        return self.as_service("select public.return_expired_leases() as returned")[0]["returned"]

    # time

    def expire(self, claim: Row) -> None:
        sql = "update batchgen.queue set lease_expires_at = now() - interval '1 second' where generation_id = %s"
        self.run(sql, claim["generation_id"])

    def make_due(self) -> None:
        """The waits of all delayed items are over, and providers and breakers wait no longer."""
        self.run("delete from batchgen.providers")
        self.run(
            "update batchgen.breakers set opened_until = now() - interval '1 second' where opened_until is not null"
        )
        self.run("update batchgen.queue set due_at = now() - interval '1 second' where state = 'delayed'")

    # looks

    def item(self, generation_id: object) -> Row:
        return self.one("select * from public.image_generations where id = %s", generation_id)

    def batch(self, batch_id: object) -> Row:
        return self.one("select * from public.batch_generations where id = %s", batch_id)

    def totals(self, batch_id: object) -> tuple[str, int, int]:
        batch = self.batch(batch_id)
        return batch["status"], batch["completed_count"], batch["failed_count"]

    def queued(self, generation_id: object) -> Row | None:
        rows = self.run("select * from batchgen.queue where generation_id = %s", generation_id)
        return rows[0] if rows else None

    def waiting_row(self, generation_id: object) -> Row:
        row = self.queued(generation_id)
        assert row is not None, f"{generation_id} is not queued"
        return row

    def wait_seconds(self, generation_id: object) -> float:
        """How long from now until the item is due."""
        sql = (
            "select extract(epoch from due_at - clock_timestamp())::float8 from batchgen.queue where generation_id = %s"
        )
        return self.value(sql, generation_id)


def a_result(claim: Row) -> Row:
    return {"storage_path": f"{claim['user_id']}/{claim['generation_id']}.png", "format": "png"}


NewDatabase = Callable[..., Awaitable[Database]]


def a_request(prompts: int = 2, **more: object) -> Row:
    return {"prompts": [{"text": f"a red fox, number {n}"} for n in range(prompts)]} | more
