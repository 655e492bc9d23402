"""Types of settings values, each with its rules."""

from collections.abc import Callable
from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, Field, HttpUrl, SecretStr

from batchgen.settings.keys_and_urls import (
    api_url_error,
    checked_credentials,
    checked_key,
    project_url_error,
    role_of_key,
)

MOST_NETWORKS = 8

Seconds = Annotated[float, Field(ge=0.05, le=86_400)]


def in_lower_case(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _secret(check: Callable[[str], str]) -> AfterValidator:
    return AfterValidator(lambda secret: SecretStr(check(secret.get_secret_value())))


def _refuse(error: Callable[[HttpUrl], str | None]) -> AfterValidator:
    def checked(url: HttpUrl) -> HttpUrl:
        if (message := error(url)) is not None:
            raise ValueError(message)
        return url

    return AfterValidator(checked)


def _not_secret(key: SecretStr) -> SecretStr:
    if role_of_key(key.get_secret_value()) == "service_role":
        raise ValueError("is the secret key, which is for workers and operators; put the publishable key here")
    return key


def _not_public(key: SecretStr) -> SecretStr:
    if role_of_key(key.get_secret_value()) in ("anon", "authenticated"):
        raise ValueError("is a key for users; put the project's secret key (sb_secret_…) here")
    return key


def _checked_name(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise ValueError("is blank or contains control characters; use a name such as worker-1, or remove it")
    return name.strip()


def _checked_bucket(bucket: str) -> str:
    if bucket != "generated-images":
        raise ValueError(
            "must be generated-images, since the database deletes files there and its policies apply there; "
            "remove the variable"
        )
    return bucket


def _checked_networks(text: str) -> str:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if len(names) > MOST_NETWORKS:
        raise ValueError(f"is too long; list at most {MOST_NETWORKS} networks")
    for name in names:
        try:
            network = ip_network(name)
        except ValueError:
            raise ValueError("must be networks separated by commas, such as 198.18.0.0/15") from None
        if network.prefixlen < (10 if network.version == 4 else 16):
            raise ValueError("contains a network larger than /10 (IPv6: /16); list only the part that you need")
        if network.is_loopback or network.is_link_local or network.is_multicast or network.is_unspecified:
            raise ValueError("contains a network local to this machine (loopback, link-local, multicast); remove it")
    return ",".join(names)


ApiUrl = Annotated[HttpUrl, _refuse(api_url_error)]
ProjectUrl = Annotated[HttpUrl, _refuse(project_url_error)]
Credentials = Annotated[SecretStr, _secret(checked_credentials)]
Key = Annotated[SecretStr, _secret(checked_key)]
PublishableKey = Annotated[Key, AfterValidator(_not_secret)]
SecretKey = Annotated[Key, AfterValidator(_not_public)]
BucketName = Annotated[str, AfterValidator(_checked_bucket)]
Networks = Annotated[str, AfterValidator(_checked_networks)]
WorkerName = Annotated[str, AfterValidator(_checked_name)]
