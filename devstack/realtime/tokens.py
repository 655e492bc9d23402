"""Check the JWTs that authenticate sockets and channels.

Rules and messages from supabase/realtime v2.129.8 lib/realtime_web/channels/auth/jwt_verification.ex and
channels_authorization.ex. Only HS256, HS384 and HS512 with the shared secret are supported.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, cast
from urllib.parse import unquote

import jwt

_ALGORITHMS = ("HS256", "HS384", "HS512")
_UNCHECKED = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
_TEN_YEARS_SECONDS = 10 * 365 * 86_400


class TokenFault(Enum):
    """Errors of tokens: code and text for a refused join, and the text for a refused refresh."""

    MISSING = ("", "API key is missing", "API key is missing")
    MALFORMED = (
        "MalformedJWT",
        "The token provided is not a valid JWT",
        "The token provided is not a valid JWT",
    )
    SIGNATURE = ("JwtSignatureError", "Failed to validate JWT signature", ":signature_error")
    SIGNER = (
        "JwtSignerError",
        "Failed to generate JWT signer, check your JWT secret or JWKS configuration",
        ":error_generating_signer",
    )
    CLAIMS = (
        "InvalidJWTToken",
        "Fields `role` and `exp` are required in JWT",
        "Fields `role` and `exp` are required in JWT",
    )
    EXPIRED = ("InvalidJWTToken", "Token has expired", "Token has expired")
    UNKNOWN = ("", "Error connecting to Realtime", "Unknown Error on Channel")


class TokenError(Exception):
    def __init__(self, fault: TokenFault, expired_seconds: int = 0) -> None:
        super().__init__(fault.name)
        self.fault = fault
        self.expired_seconds = expired_seconds

    @property
    def handshake_answer(self) -> tuple[int, str]:
        """Status and `error` of a refused handshake (lib/realtime_web/channels/user_socket.ex)."""
        return (500 if self.fault is TokenFault.UNKNOWN else 401), self.fault.value[1]

    @property
    def join_reason(self) -> str:
        if self.fault is TokenFault.UNKNOWN:
            return "Unknown Error on Channel"
        code, text, _ = self.fault.value
        return f"{code}: {self._with_age(text)}"

    @property
    def refresh_message(self) -> str:
        return self._with_age(self.fault.value[2])

    def _with_age(self, text: str) -> str:
        return f"{text} {self.expired_seconds} seconds ago" if self.fault is TokenFault.EXPIRED else text


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified token. `claims_json` is the setting `request.jwt.claims` for row level security."""

    token: str
    role: str
    expires_at: int
    claims_json: str
    claims: Mapping[str, Any] = field(compare=False)


class TokenChecker:
    def __init__(self, jwt_secret: str, api_keys: Mapping[str, str]) -> None:
        self._secret = jwt_secret
        self._api_keys = dict(api_keys)

    def check_socket_key(self, key: str | None) -> Identity:
        """A socket's identity. A new-style key counts as a JWT with its role, as on the hosted gateway."""
        if key is None:
            raise TokenError(TokenFault.MISSING)
        role = self._api_keys.get(key)
        return self.check(key) if role is None else _key_identity(key, role)

    def check(self, token: str) -> Identity:
        claims = self._verified_claims(re.sub(r"\s", "", unquote(token)))
        _check_times(claims)
        if "role" not in claims or "exp" not in claims:
            raise TokenError(TokenFault.CLAIMS)
        return _identity(token, claims)

    def _verified_claims(self, token: str) -> dict[str, Any]:
        _check_format(token)
        try:
            return jwt.decode(token, self._secret, algorithms=list(_ALGORITHMS), options=cast(Any, _UNCHECKED))
        except jwt.InvalidAlgorithmError as error:
            raise TokenError(TokenFault.SIGNER) from error
        except jwt.PyJWTError as error:
            raise TokenError(TokenFault.SIGNATURE) from error


def still_valid(identity: Identity) -> Identity:
    """Return the identity. Raises `TokenError` once it has expired."""
    _check_times(identity.claims)
    return identity


def _check_format(token: str) -> None:
    """Check that header and payload are JSON; the signature is checked later."""
    try:
        header, payload, _ = (part.encode() for part in token.split("."))
        readable = [json.loads(base64.urlsafe_b64decode(part + b"==")) for part in (header, payload)]
    except ValueError as error:
        raise TokenError(TokenFault.MALFORMED) from error
    if not all(isinstance(part, dict) for part in readable):
        raise TokenError(TokenFault.UNKNOWN)


def _check_times(claims: Mapping[str, Any]) -> None:
    now = int(time.time())
    for name in ("exp", "iat"):
        if name in claims and not _is_number(claims[name]):
            raise TokenError(TokenFault.UNKNOWN)
    if "exp" in claims and claims["exp"] <= now:
        raise TokenError(TokenFault.EXPIRED, now - round(claims["exp"]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _identity(token: str, claims: dict[str, Any]) -> Identity:
    rounded = {**claims, **{name: round(claims[name]) for name in ("exp", "iat") if name in claims}}
    role = rounded["role"] if isinstance(rounded["role"], str) else json.dumps(rounded["role"])
    return Identity(token, role, rounded["exp"], json.dumps(rounded), rounded)


def _key_identity(key: str, role: str) -> Identity:
    now = int(time.time())
    claims = {"iss": "supabase", "role": role, "iat": now, "exp": now + _TEN_YEARS_SECONDS}
    return _identity(key, claims)
