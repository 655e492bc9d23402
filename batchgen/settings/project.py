"""Settings that clients and workers share: the project's address, its keys and timeouts.

Values that must be equal for all workers and clients are in the database: the row `batchgen.settings`.
"""

from typing import Self

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from batchgen.settings.keys_and_urls import foreign_project
from batchgen.settings.proxies import Proxies
from batchgen.settings.types import BucketName, ProjectUrl, PublishableKey, Seconds, SecretKey


class Settings(BaseSettings):
    """The project's address, keys and timeouts, for clients and workers."""

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
    supabase_publishable_key: PublishableKey | None = Field(
        default=None,
        validation_alias=AliasChoices("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY", "supabase_publishable_key"),
        description="The key for users (`sb_publishable_…`, or the older anon key).",
    )
    supabase_secret_key: SecretKey | None = Field(
        default=None,
        validation_alias=AliasChoices("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY", "supabase_secret_key"),
        description="The key for workers and operators (`sb_secret_…`, or the older service_role key).",
    )
    request_timeout_seconds: Seconds = Field(default=20, description="Longest wait for one response of the API.")
    bucket: BucketName = Field(
        default="generated-images",
        description="The Storage bucket of the pictures. Fixed: the app, the database's functions and its policies "
        "name it.",
    )
    watch_poll_seconds: Seconds = Field(
        default=10,
        description="Longest pause between two reads of a watched batch; at most 2 while Realtime delivers nothing.",
    )
    watch_silence_seconds: Seconds = Field(
        default=30, description="A watch resubscribes after this time without a Realtime event while items run."
    )

    @model_validator(mode="after")
    def _check_proxies(self) -> Self:
        if (message := Proxies.of_environment().error()) is not None:
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _check_that_keys_match_the_address(self) -> Self:
        for name in ("supabase_secret_key", "supabase_publishable_key"):
            key: SecretStr | None = getattr(self, name)
            if key and (project := foreign_project(key.get_secret_value(), self.supabase_url.host or "")):
                raise ValueError(
                    f"{name.upper()} is a key of the project {project}, and SUPABASE_URL the address of another one: "
                    "take both from the same project"
                )
        return self

    @property
    def url(self) -> str:
        return str(self.supabase_url).rstrip("/")
