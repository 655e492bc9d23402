"""Rules for keys and addresses. None of the messages repeats the value, since it may hold a secret."""

import base64
import json
from collections.abc import Mapping
from typing import Any, cast

from pydantic import HttpUrl

HOSTED_DOMAIN = ".supabase.co"
JWT_PARTS = 3


def checked_key(text: str) -> str:
    """The key without surrounding blanks. Raises `ValueError`; httpx's own error would print a malformed key."""
    key = text.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("is empty or contains spaces, control or non-ASCII characters; paste only the key")
    return key


def checked_credentials(text: str) -> str:
    """`user:password` without surrounding blanks; the password may contain spaces. Raises `ValueError`."""
    pair = text.strip()
    if not pair.isascii() or not all(character.isprintable() or character in " \t" for character in pair):
        raise ValueError("contains control or non-ASCII characters; paste only user:password")
    user, colon, _ = pair.partition(":")
    if not user or not colon:
        raise ValueError("must be user:password, as given to --api-auth")
    return pair


def api_url_error(url: HttpUrl) -> str | None:
    """Why this address of an API is refused; None if it is fine. Addresses appear in messages and logs."""
    if url.username or url.password or url.query is not None or url.fragment is not None:
        return "must not contain a user, password, query or fragment; keys have settings of their own"
    return None


def project_url_error(url: HttpUrl) -> str | None:
    """Why this address of a project is refused; None if it is fine. Clients append paths to it."""
    if url.username or url.password:
        return "contains a user or password; give only the address, keys have settings of their own"
    if url.query is not None or url.fragment is not None:
        return "contains a query or fragment (? or #); give only the address, such as https://abc.supabase.co"
    if (url.path or "/").strip("/"):
        return "contains a path; give only the address, such as https://abc.supabase.co, without /rest/v1 or the like"
    return None


def role_of_key(key: str) -> str | None:
    """The role that a project's key grants, from its prefix or its JWT claims; None if the key does not tell."""
    if key.startswith("sb_secret_"):
        return "service_role"
    if key.startswith("sb_publishable_"):
        return "anon"
    role = _claims(key).get("role")
    return role if isinstance(role, str) else None


def foreign_project(key: str, host: str) -> str | None:
    """The project that issued an older key (a JWT), if `host` belongs to another project on supabase.co."""
    project = _claims(key).get("ref")
    if not isinstance(project, str) or not project.isalnum() or not host.lower().endswith(HOSTED_DOMAIN):
        return None
    return None if host.lower() == project.lower() + HOSTED_DOMAIN else project


def _claims(key: str) -> Mapping[str, Any]:
    """The claims of a JWT, unverified; empty if the key is not a JWT."""
    parts = key.split(".")
    if len(parts) != JWT_PARTS:
        return {}
    try:
        claims: Any = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", claims) if isinstance(claims, dict) else {}
