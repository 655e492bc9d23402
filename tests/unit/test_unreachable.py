"""Errors without an answer: the address without secrets, the reason, and the remedy."""

import socket
import ssl

import httpx
import pytest

from batchgen.backend.unreachable import no_response


def raised(error: httpx.RequestError, url: str, cause: BaseException | None = None) -> httpx.RequestError:
    error.request = httpx.Request("POST", url)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason", "remedy"),
    [
        (raised(httpx.ConnectError(""), "https://p.test", ConnectionRefusedError(111, "")), "refused", "SUPABASE_URL"),
        (
            raised(httpx.ConnectError(""), "https://p.test", socket.gaierror(-2, "")),
            "name cannot be resolved",
            "paused",
        ),
        (raised(httpx.ConnectError(""), "https://p.test", ssl.SSLError(1, "")), "TLS failed", "certificates"),
        (raised(httpx.ConnectTimeout(""), "https://p.test"), "connecting timed out", "Try again"),
        (raised(httpx.ReadTimeout(""), "https://p.test", TimeoutError()), "timed out", "TIMEOUT_SECONDS"),
        (raised(httpx.ReadError(""), "https://p.test"), "the connection was lost", "Check"),
        (raised(httpx.RemoteProtocolError(""), "https://p.test"), "the connection was lost", "Check"),
        (raised(httpx.ProxyError(""), "https://p.test"), "the proxy refused", "Check"),
        (raised(httpx.UnsupportedProtocol(""), "https://p.test"), "UnsupportedProtocol", "Check"),
    ],
)
def test_each_missing_answer_has_its_reason_and_remedy(error: httpx.RequestError, reason: str, remedy: str) -> None:
    told = no_response("Reading batches", error)

    assert str(told).startswith("Reading batches: no answer from https://p.test (")
    assert reason in str(told)
    assert told.remedy
    assert remedy in told.remedy


@pytest.mark.parametrize("host", ["127.0.0.1:54321", "localhost", "[::1]:80", "127.9.9.9", "api.localhost"])
def test_an_unreachable_local_address_suggests_starting_the_stack(host: str) -> None:
    told = no_response("X", raised(httpx.ConnectError(""), f"http://{host}/rest/v1", ConnectionRefusedError()))

    assert told.remedy
    assert "batchgen dev" in told.remedy


def test_credentials_path_and_query_of_an_address_are_not_shown() -> None:
    told = no_response(
        "X", raised(httpx.ConnectError("secret"), "https://secret:secret@p.test:444/secret?apikey=secret")
    )

    assert "https://p.test:444" in str(told)
    assert "secret" not in str(told) + str(told.remedy)


def test_an_error_without_a_request_is_shown_without_an_address() -> None:
    assert str(no_response("X", httpx.ConnectError("y"))) == "X: no answer (ConnectError)."
