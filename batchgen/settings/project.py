"""Where the project is and who is asking: the settings of clients and workers alike.

What must be the same for all workers and clients is not here but in the database: the row `batchgen.settings`.
"""

from typing import Self

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from batchgen.settings.faults import other_project
from batchgen.settings.proxies import Proxies
from batchgen.settings.types import Bucket, ProjectUrl, Seconds, UsersKey, WorkersKey


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
