"""Kinds of settings values, each with its rules."""

from ipaddress import ip_network
from typing import Annotated

from pydantic import (
    AfterValidator,
    Field,
    HttpUrl,
    SecretStr,
)

from batchgen.settings.faults import fault_of_project_url, role_of

Seconds = Annotated[float, Field(ge=0.05, le=86_400)]


def _without_secrets(url: HttpUrl) -> HttpUrl:
    """Addresses are shown in messages and logs."""
    if url.username or url.password or url.query is not None or url.fragment is not None:
        raise ValueError("holds no user, password, query or fragment; keys are settings of their own")
    return url


def _of_the_project(url: HttpUrl) -> HttpUrl:
    if (fault := fault_of_project_url(url)) is not None:
        raise ValueError(fault)
    return url


def _printable(secret: SecretStr) -> SecretStr:
    """The secret without blanks around it. HTTP's own error would print a malformed one."""
    value = secret.get_secret_value().strip()
    if not value:
        raise ValueError("is empty; set it, or remove the variable")
    if not value.isascii():
        raise ValueError("has characters beyond ASCII, which no key has; paste it again, whole and alone")
    if any(not (character.isprintable() or character.isspace()) for character in value):
        raise ValueError("has control characters, which no key has; paste it again, whole and alone")
    if "\n" in value or "\r" in value:
        raise ValueError("has more than one line; paste it again, whole and alone")
    return SecretStr(value)


def _of_one_word(key: SecretStr) -> SecretStr:
    if any(character.isspace() for character in key.get_secret_value()):
        raise ValueError("has white space within, which no key has; paste it again, whole and alone")
    return key


def _for_users(key: SecretStr) -> SecretStr:
    if role_of(key.get_secret_value()) == "service_role":
        raise ValueError("holds the secret key, which is for workers and operators; put the publishable key here")
    return key


def _for_workers(key: SecretStr) -> SecretStr:
    if role_of(key.get_secret_value()) in ("anon", "authenticated"):
        raise ValueError("holds a key for users; put the project's secret key (sb_secret_…) here")
    return key


def _without_hidden(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise ValueError("is blank or has control characters; give a name such as worker-1, or remove it")
    return name.strip()


def in_lower_case(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _with_a_user(pair: SecretStr) -> SecretStr:
    user, colon, _ = pair.get_secret_value().partition(":")
    if not user or not colon:
        raise ValueError("has to be user:password, as given to --api-auth")
    return pair


def _the_one_that_all_name(bucket: str) -> str:
    if bucket != "generated-images":
        raise ValueError(
            "has to be generated-images: the database deletes files there, and its policies hold there. "
            "Remove the variable"
        )
    return bucket


Bucket = Annotated[str, AfterValidator(_the_one_that_all_name)]


def _of_bounded_size(text: str) -> str:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if len(names) > MOST_NETWORKS:
        raise ValueError(f"holds at most {MOST_NETWORKS} networks")
    for name in names:
        try:
            network = ip_network(name)
        except ValueError:
            raise ValueError("has to be networks such as 198.18.0.0/15, with commas between them") from None
        if network.prefixlen < (10 if network.version == 4 else 16):
            raise ValueError("has a network larger than /10 (IPv6: /16); name the part that is needed")
        if network.is_loopback or network.is_link_local or network.is_multicast or network.is_unspecified:
            raise ValueError("has a network of this machine alone (loopback, link-local, multicast)")
    return ",".join(names)


MOST_NETWORKS = 8
Networks = Annotated[str, AfterValidator(_of_bounded_size)]
ApiUrl = Annotated[HttpUrl, AfterValidator(_without_secrets)]
ProjectUrl = Annotated[HttpUrl, AfterValidator(_of_the_project)]
Credentials = Annotated[SecretStr, AfterValidator(_printable), AfterValidator(_with_a_user)]
Key = Annotated[SecretStr, AfterValidator(_printable), AfterValidator(_of_one_word)]
UsersKey = Annotated[Key, AfterValidator(_for_users)]
WorkersKey = Annotated[Key, AfterValidator(_for_workers)]
Name = Annotated[str, AfterValidator(_without_hidden)]
