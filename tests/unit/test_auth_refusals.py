"""Errors of Auth in batchgen's own words, each with its remedy."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, cast
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr
from supabase import AsyncClient

from batchgen.backend.connection import connect, disconnect
from batchgen.client import auth
from batchgen.client.session import Session
from batchgen.errors import BackendUnavailable, BatchgenError, InvalidRequest, NotSignedIn
from batchgen.settings import Settings

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIiwiZXhwIjo0MTAyNDQ0ODAwfQ.c2lnbmF0dXJl"
USER: dict[str, Any] = {
    "id": str(UUID(int=1)),
    "email": "a@example.test",
    "aud": "authenticated",
    "created_at": "2026-11-28T00:00:00Z",
    "app_metadata": {},
    "user_metadata": {},
}
Refusing = Callable[[int, dict[str, Any]], Awaitable[AsyncClient]]


@pytest.fixture
async def refusing() -> AsyncGenerator[Refusing]:
    """A client whose requests are all answered with this status and body."""
    clients: list[AsyncClient] = []

    async def client_for(status: int, body: dict[str, Any]) -> AsyncClient:
        client = await connect(Settings.model_validate({"supabase_url": "http://project.test"}), key="sb_test")
        http = cast("httpx.AsyncClient", vars(client.options)["httpx_client"])
        await http._transport.aclose()  # pyright: ignore[reportPrivateUsage]
        http._transport = httpx.MockTransport(lambda _: httpx.Response(status, json=body))  # pyright: ignore[reportPrivateUsage]
        clients.append(client)
        return client

    yield client_for
    for client in clients:
        await disconnect(client)


def error_body(code: str, message: str = "Auth's own words") -> dict[str, Any]:
    return {"code": 400, "error_code": code, "msg": message, "weak_password": {"reasons": ["length"]}}


def sign_in(client: AsyncClient) -> Awaitable[Session]:
    return auth.sign_in(client, "a@example.test", "pass-word")


def sign_up(client: AsyncClient) -> Awaitable[Session]:
    return auth.sign_up(client, "a@example.test", "pass-word")


def resume(client: AsyncClient) -> Awaitable[Session]:
    return auth.resume(client, kept())


def renew(client: AsyncClient) -> Awaitable[Session]:
    return auth.renew(client, kept())


def kept() -> Session:
    return Session(
        access_token=SecretStr(JWT), refresh_token=SecretStr("r"), expires_at=4_102_444_800, user_id=UUID(int=1)
    )


@pytest.mark.parametrize(
    ("ask", "status", "body", "kind", "code", "remedy"),
    [
        (sign_in, 400, error_body("invalid_credentials"), NotSignedIn, "invalid_credentials", "--sign-up"),
        (sign_in, 400, {"error": "invalid_grant"}, NotSignedIn, "invalid_credentials", "Try again"),
        (sign_in, 400, error_body("email_not_confirmed"), NotSignedIn, "email_not_confirmed", "Open the link"),
        (sign_in, 400, error_body("user_banned"), NotSignedIn, "user_banned", "Ask"),
        (sign_in, 422, error_body("email_provider_disabled"), InvalidRequest, "email_provider_disabled", "settings"),
        (sign_in, 400, error_body("captcha_failed"), InvalidRequest, "captcha_failed", "settings"),
        (sign_in, 401, {"message": "Invalid API key"}, NotSignedIn, "key_refused", "SUPABASE_PUBLISHABLE_KEY"),
        (sign_in, 429, error_body("over_request_rate_limit"), BackendUnavailable, "rate_limited", "Wait"),
        (sign_in, 429, {"msg": "slow down"}, BackendUnavailable, "rate_limited", "Wait"),
        (sign_up, 429, error_body("over_email_send_rate_limit"), BackendUnavailable, "rate_limited", "Wait"),
        (sign_up, 422, error_body("weak_password"), InvalidRequest, "weak_password", "longer"),
        (sign_up, 422, error_body("user_already_exists"), InvalidRequest, "user_already_exists", "without --sign-up"),
        (sign_up, 422, error_body("email_exists"), InvalidRequest, "user_already_exists", "without --sign-up"),
        (sign_up, 422, error_body("signup_disabled"), InvalidRequest, "signup_disabled", "settings"),
        (sign_up, 400, error_body("email_address_invalid"), InvalidRequest, "validation_failed", "address"),
        (sign_up, 200, USER, NotSignedIn, "email_not_confirmed", "link"),
        (resume, 403, error_body("bad_jwt"), NotSignedIn, "session_of_another_project", "batchgen login"),
        (resume, 403, error_body("user_not_found"), NotSignedIn, "session_of_another_project", "batchgen login"),
        (resume, 403, error_body("session_not_found"), NotSignedIn, "session_ended", "batchgen login"),
        (renew, 400, error_body("refresh_token_not_found"), NotSignedIn, "session_ended", "batchgen login"),
        (renew, 400, error_body("validation_failed"), NotSignedIn, "session_ended", "batchgen login"),
    ],
)
async def test_each_auth_refusal_has_its_code_and_remedy(
    refusing: Refusing,
    ask: Callable[[AsyncClient], Awaitable[Session]],
    status: int,
    body: dict[str, Any],
    kind: type[BatchgenError],
    code: str,
    remedy: str,
) -> None:
    client = await refusing(status, body)

    with pytest.raises(kind) as refused:
        await ask(client)

    error = cast("InvalidRequest", refused.value)
    assert error.code == code
    assert error.remedy
    assert remedy in error.remedy
    assert "Auth's own words" not in str(error) or kind is InvalidRequest


@pytest.mark.parametrize(("status", "body"), [(200, {"hello": "world"}), (404, {"path": "/auth/v1/token"})])
async def test_a_foreign_answer_from_auth_is_an_unavailable_backend(
    refusing: Refusing, status: int, body: dict[str, Any]
) -> None:
    with pytest.raises((BackendUnavailable, NotSignedIn)) as raised:
        await sign_in(await refusing(status, body))

    assert "validation error" not in str(raised.value)


async def test_control_characters_from_auth_are_escaped(refusing: Refusing) -> None:
    client = await refusing(422, error_body("weak_password", "too\x1b[31m short\u202e"))

    with pytest.raises(InvalidRequest) as refused:
        await sign_up(client)

    assert str(refused.value) == "The password is too weak: too\\x1b[31m short\\u202e"


@pytest.mark.parametrize("ask", [renew, resume])
@pytest.mark.parametrize("status", [402, 404, 405, 408, 429, 500])
async def test_a_gateways_refusal_ends_no_session(
    refusing: Refusing, ask: Callable[[AsyncClient], Awaitable[Session]], status: int
) -> None:
    client = await refusing(status, {"message": "Service for this project is restricted: exceed_egress_quota."})

    with pytest.raises(BackendUnavailable):
        await ask(client)
