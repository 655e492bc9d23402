"""Every knob, with unit, bounds and default. Values come from the environment and a `.env` file.

What must be the same for all workers and clients is not here but in the database: the row `batchgen.settings`.
"""

import os
from collections.abc import Callable, Mapping
from io import StringIO
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    HttpUrl,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from batchgen.errors import InvalidRequest
from batchgen.proxies import Proxies
from batchgen.setting_faults import fault_of_project_url, faults, other_project, role_of, unknown, variables

SHORTEST_RENEWAL_SECONDS = 1.0
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


def _lower(value: object) -> object:
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


class Settings(BaseSettings):
    """Where the project is and who is asking. For clients and workers alike."""

    model_config = SettingsConfigDict(
        env_prefix="BATCHGEN_",
        env_file=".env",
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,
        env_ignore_empty=True,
        allow_inf_nan=False,
    )

    supabase_url: ProjectUrl = Field(
        validation_alias=AliasChoices("SUPABASE_URL", "supabase_url"), description="The project's address."
    )
    supabase_publishable_key: UsersKey | None = Field(
        default=None,
        validation_alias=AliasChoices("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY", "supabase_publishable_key"),
        description="The key for users (`sb_publishable_…`, or the older anon key).",
    )
    supabase_secret_key: WorkersKey | None = Field(
        default=None,
        validation_alias=AliasChoices("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY", "supabase_secret_key"),
        description="The key for workers and operators (`sb_secret_…`, or the older service_role key).",
    )
    request_timeout_seconds: Seconds = Field(default=20, description="Longest wait for one answer of the API.")
    bucket: Bucket = Field(
        default="generated-images",
        description="The Storage bucket of the pictures. The app, the database's functions and its policies name it, "
        "too: another one is refused.",
    )
    watch_poll_seconds: Seconds = Field(
        default=10,
        description="Longest pause between two looks at a watched batch; at most 2 while Realtime delivers nothing.",
    )
    watch_silence_seconds: Seconds = Field(
        default=30, description="A watch without any Realtime event for so long, while items run, subscribes again."
    )

    @model_validator(mode="after")
    def _speaks_to_its_proxies(self) -> Self:
        if (fault := Proxies.of_environment().fault()) is not None:
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _is_one_project(self) -> Self:
        for name in ("supabase_secret_key", "supabase_publishable_key"):
            key: SecretStr | None = getattr(self, name)
            if key and (other := other_project(key.get_secret_value(), self.supabase_url.host or "")):
                raise ValueError(
                    f"{name.upper()} is the key of the project {other}, and SUPABASE_URL another one's address: "
                    "take both from the same project"
                )
        return self

    @property
    def url(self) -> str:
        return str(self.supabase_url).rstrip("/")


class WorkerSettings(Settings):
    """What one worker needs."""

    worker_name: Name | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Name in leases and logs. Default: host, pid and a random part.",
    )
    max_parallel: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="Most items that this worker runs at once; the database's own limits hold beside it.",
    )
    poll_seconds: Seconds = Field(
        default=5, description="Longest pause between two looks at the queue, and until a cancellation is heard of."
    )
    lease_seconds: int = Field(
        default=60,
        ge=2,
        le=3600,
        description="How long an item stays this worker's without a renewal. Renewed at each poll, "
        "and at a third of it at the latest.",
    )
    deletions_seconds: Seconds = Field(
        default=30, description="Pause between two looks for deleted pictures whose files are to be removed."
    )
    item_timeout_seconds: Seconds = Field(
        default=600,
        description="Longest time for one attempt at one picture; then it counts as failed and is tried again.",
    )
    check_seconds: float = Field(
        default=60,
        ge=1,
        le=600,
        description="Longest time for checking one picture that a provider delivered; then the item fails with "
        "`check_timed_out`.",
    )
    check_memory_mib: int = Field(
        default=1536,
        ge=256,
        le=65_536,
        description="Most memory, in MiB, for checking one picture; two are checked at once. A picture that needs more "
        "fails with `check_out_of_memory`.",
    )
    grace_seconds: float = Field(
        default=30,
        ge=0,
        le=3600,
        description="How long running items may finish after SIGTERM, before they are handed back.",
    )
    watchdog_seconds: float = Field(
        default=60,
        ge=5,
        le=3600,
        description="A worker whose event loop stands still for so long, while its process is awake, ends with exit "
        "code 1.",
    )
    storage_patience_seconds: Seconds = Field(
        default=120,
        description="How long a finished picture is offered to Storage before the attempt counts as failed; "
        "the next one asks for the same job, and orders again where its picture is gone.",
    )
    backoff_seconds: Seconds = Field(
        default=0.5, description="First pause after a fault of the backend or Storage; doubles with each further one."
    )
    backoff_max_seconds: Seconds = Field(default=30, description="Longest pause between two tries after such faults.")
    settle_seconds: Seconds = Field(
        default=30, description="Pause between two looks for paid orders that nobody waits for any more."
    )
    provider: Literal["model", "offline"] = Field(
        default="model", description="model: each model runs at its own provider; offline: all of them run offline."
    )
    provider_timeout_seconds: Seconds = Field(
        default=30, description="Longest wait for one answer of Replicate or fal. Of others the answer is the picture."
    )
    replicate_api_token: Key | None = Field(default=None, description="Replicate's API token (`r8_…`).")
    replicate_url: ApiUrl = Field(
        default=HttpUrl("https://api.replicate.com/v1"), description="Where Replicate's API is."
    )
    fal_key: Key | None = Field(default=None, description="fal's API key.")
    fal_url: ApiUrl = Field(default=HttpUrl("https://queue.fal.run"), description="Where fal's queue API is.")
    openai_api_key: Key | None = Field(
        default=None, description="The key for OpenAI's images API; none where a server of one's own needs none."
    )
    openai_url: ApiUrl = Field(
        default=HttpUrl("https://api.openai.com/v1"), description="Where the images API is, OpenAI's or another one."
    )
    openai_is_free: bool = Field(
        default=False, description="Whether that server costs nothing: then a lost picture is simply made again."
    )
    comfyui_url: ApiUrl | None = Field(default=None, description="Where ComfyUI is, such as `http://127.0.0.1:8188`.")
    comfyui_key: Key | None = Field(default=None, description="A bearer token, where a proxy before it wants one.")
    automatic1111_url: ApiUrl | None = Field(
        default=None, description="Where AUTOMATIC1111 or Forge is, such as `http://127.0.0.1:7860`."
    )
    automatic1111_auth: Credentials | None = Field(
        default=None, description="`user:password`, as given to `--api-auth`."
    )
    picture_networks: Networks = Field(
        default="",
        description="Networks, with commas between them, that count as the internet's where pictures are fetched, "
        "such as `198.18.0.0/15` for fake-IP DNS. At most 8, of /10 (IPv6: /16) or smaller; never this machine's own.",
    )
    picture_ports: Literal["own", "any"] = Field(
        default="own",
        description="From which ports of its host a server of one's own may give pictures: that of its address, or "
        "any, by http or https.",
    )
    offline_seconds: float = Field(
        default=1, ge=0, le=3600, description="How long the offline provider takes for a picture."
    )
    offline_commands: bool = Field(
        default=False,
        description="Whether the offline provider obeys #fail, #fail:2, #blocked, #busy:8 and #slow:5 in prompts.",
    )
    offline_format: Literal["png", "webp"] = Field(default="png", description="The offline provider's file format.")
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        default="info", description="Least important log level shown."
    )
    log_format: Annotated[Literal["auto", "text", "json"], BeforeValidator(_lower)] = Field(
        default="auto", description="auto: readable on a terminal, one JSON object a line otherwise."
    )

    @property
    def renew_seconds(self) -> float:
        """At each poll, for the answer is how a worker hears that somebody cancelled; after a third of the lease at the
        latest: two renewals may be lost before the lease is.
        """
        return min(self.lease_seconds / 3, max(self.poll_seconds, SHORTEST_RENEWAL_SECONDS))

    @model_validator(mode="after")
    def _needs_the_secret_key(self) -> Self:
        if self.supabase_secret_key is None:
            raise ValueError("SUPABASE_SECRET_KEY is missing: a worker needs the project's secret key (sb_secret_…)")
        return self

    @model_validator(mode="after")
    def _backs_off_upwards(self) -> Self:
        if self.backoff_max_seconds < self.backoff_seconds:
            raise ValueError("BATCHGEN_BACKOFF_MAX_SECONDS is below BATCHGEN_BACKOFF_SECONDS: raise it")
        return self

    @model_validator(mode="after")
    def _only_ones_own_server_is_free(self) -> Self:
        if self.openai_is_free and not self.is_given("openai_url"):
            raise ValueError("BATCHGEN_OPENAI_IS_FREE needs BATCHGEN_OPENAI_URL: OpenAI itself is not free")
        return self

    def is_given(self, name: str) -> bool:
        """Whether the operator has set it, and to something else than the default."""
        return getattr(self, name) != type(self).model_fields[name].default

    def secrets(self) -> list[str]:
        """All that must never be shown."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]


SettingsT = TypeVar("SettingsT", bound=Settings)


def load(kind: type[SettingsT], env_file: Path | None = None, *, warn: Callable[[str], None]) -> SettingsT:
    """Read settings; `env_file` replaces `.env`. `warn` is told of `BATCHGEN_` variables that are no settings.

    Raises `InvalidRequest` that names every wrong or misspelt variable and its rule, and never shows a value.
    """
    given = {**_in_file(env_file or Path(".env")), **os.environ}
    misspelt, others = unknown(variables(WorkerSettings), given)
    problems: list[tuple[str | None, str]] = [*misspelt]
    try:
        settings = kind(_env_file=env_file) if env_file else kind()  # pyright: ignore[reportCallIssue]
    except ValidationError as error:
        problems += faults(kind, error, [name for name, value in given.items() if value])
    else:
        if not problems:
            for sentence in others:
                warn(sentence)
            return settings
    sentences = " ".join(words.rstrip(".") + "." for _, words in problems)
    raise InvalidRequest(
        f"The settings are not right. {sentences}",
        code="invalid_settings",
        field=problems[0][0],
        remedy="Set the variables in the environment or in .env; .env.example lists them all.",
    )


def _in_file(path: Path) -> Mapping[str, str | None]:
    """What a settings file holds, as pydantic-settings reads it. Lines that it would leave out are refused."""
    try:
        text = path.read_text("utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError):
        raise _unusable(
            f"The settings file {path} cannot be read; it has to be a text file in UTF-8.",
            "Save it as UTF-8, and let this user read it.",
        ) from None
    for line in parse_stream(StringIO(text)):
        where = f"The settings are not right: line {line.original.line} of {path}"
        if line.error:
            raise _unusable(f"{where} is no NAME=value.", "Write it so, or put # before it.")
        if line.key and line.value is None and line.key.upper().startswith(("BATCHGEN_", "SUPABASE_")):
            raise _unusable(f"{where} names {line.key} without a value.", f"Write {line.key}=value, or remove it.")
    return dotenv_values(stream=StringIO(text))


def _unusable(message: str, remedy: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_settings", remedy=remedy)
