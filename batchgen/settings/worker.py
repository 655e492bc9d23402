"""The settings of a worker, with units, bounds and defaults."""

from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    HttpUrl,
    SecretStr,
    model_validator,
)

from batchgen.settings.project import Settings
from batchgen.settings.types import ApiUrl, Credentials, Key, Networks, Seconds, WorkerName, in_lower_case

SHORTEST_RENEWAL_SECONDS = 1.0


class WorkerSettings(Settings):
    """Settings of one worker, beside those of `Settings`."""

    worker_name: WorkerName | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Name in leases and logs. Default: host, pid and a random part.",
    )
    max_parallel: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="Most items that this worker runs at once; the database's limits apply as well.",
    )
    poll_seconds: Seconds = Field(
        default=5, description="Longest pause between two polls of the queue, and until a cancel request is seen."
    )
    lease_seconds: int = Field(
        default=60,
        ge=2,
        le=3600,
        description="How long a lease lasts without renewal. Leases are renewed at each poll, and after a third of "
        "this time at the latest.",
    )
    deletions_seconds: Seconds = Field(
        default=30, description="Pause between two polls of the outbox of files to delete."
    )
    exports_seconds: Seconds = Field(default=5, description="Pause between two polls for exports that users asked for.")
    item_timeout_seconds: Seconds = Field(
        default=600,
        description="Time limit of one attempt. An attempt that exceeds it counts as failed and is retried.",
    )
    check_seconds: float = Field(
        default=60,
        ge=1,
        le=600,
        description="Time limit for checking one picture from a provider. An item that exceeds it fails with "
        "`check_timed_out`.",
    )
    check_memory_mib: int = Field(
        default=1536,
        ge=256,
        le=65_536,
        description="Memory limit in MiB for checking one picture; two are checked at once. An item that exceeds it "
        "fails with `check_out_of_memory`.",
    )
    grace_seconds: float = Field(
        default=30,
        ge=0,
        le=3600,
        description="How long running items may continue after SIGTERM before the worker releases them.",
    )
    watchdog_seconds: float = Field(
        default=60,
        ge=5,
        le=3600,
        description="A worker whose event loop hangs for this long while its process is awake ends with exit code 1.",
    )
    storage_patience_seconds: Seconds = Field(
        default=120,
        description="How long the upload of a picture to Storage is retried before the attempt counts as failed; "
        "the next attempt resumes the same job, and orders again if its picture is gone.",
    )
    backoff_seconds: Seconds = Field(
        default=0.5, description="First pause after an error of the backend or Storage; doubles with each further one."
    )
    backoff_max_seconds: Seconds = Field(default=30, description="Longest pause between two tries after such errors.")
    settle_seconds: Seconds = Field(
        default=30, description="Pause between two searches for paid orders that no attempt waits for any more."
    )
    provider: Literal["model", "offline"] = Field(
        default="model",
        description="model: each model runs at its own provider; offline: all models run at the offline provider.",
    )
    provider_timeout_seconds: Seconds = Field(
        default=30,
        description="Longest wait for one response of Replicate or fal. OpenAI's API and AUTOMATIC1111 respond with "
        "the picture itself and may take as long as the attempt.",
    )
    replicate_api_token: Key | None = Field(default=None, description="Replicate's API token (`r8_…`).")
    replicate_url: ApiUrl = Field(
        default=HttpUrl("https://api.replicate.com/v1"), description="Address of Replicate's API."
    )
    fal_key: Key | None = Field(default=None, description="fal's API key.")
    fal_url: ApiUrl = Field(default=HttpUrl("https://queue.fal.run"), description="Address of fal's queue API.")
    openai_api_key: Key | None = Field(
        default=None, description="Key for OpenAI's images API; leave it out if your own server needs none."
    )
    openai_url: ApiUrl = Field(
        default=HttpUrl("https://api.openai.com/v1"),
        description="Address of the images API, OpenAI's or your own server's.",
    )
    openai_is_free: bool = Field(
        default=False, description="Whether that server is free of charge: then a lost picture is made again."
    )
    comfyui_url: ApiUrl | None = Field(default=None, description="Address of ComfyUI, such as `http://127.0.0.1:8188`.")
    comfyui_key: Key | None = Field(
        default=None, description="Bearer token, if a proxy in front of ComfyUI requires one."
    )
    automatic1111_url: ApiUrl | None = Field(
        default=None, description="Address of AUTOMATIC1111 or Forge, such as `http://127.0.0.1:7860`."
    )
    automatic1111_auth: Credentials | None = Field(
        default=None, description="`user:password`, as given to `--api-auth`."
    )
    picture_networks: Networks = Field(
        default="",
        description="Networks, separated by commas, from which pictures may be fetched as from the internet, such as "
        "`198.18.0.0/15` for fake-IP DNS. At most 8, of /10 (IPv6: /16) or smaller; never this machine's own.",
    )
    picture_ports: Literal["own", "any"] = Field(
        default="own",
        description="Ports of its host from which your own server may serve pictures over http or https: `own` (the "
        "port of its address) or `any`.",
    )
    offline_seconds: float = Field(
        default=1, ge=0, le=3600, description="How long the offline provider takes to make a picture."
    )
    offline_commands: bool = Field(
        default=False,
        description="Whether the offline provider obeys #fail, #fail:2, #blocked, #busy:8 and #slow:5 in prompts.",
    )
    offline_format: Literal["png", "webp"] = Field(default="png", description="The offline provider's file format.")
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(in_lower_case)] = Field(
        default="info", description="Lowest log level shown."
    )
    log_format: Annotated[Literal["auto", "text", "json"], BeforeValidator(in_lower_case)] = Field(
        default="auto", description="auto: readable on a terminal, one JSON object per line otherwise."
    )

    @property
    def renew_seconds(self) -> float:
        """Interval of lease renewals. One per poll, since the answer carries cancel requests; at most a third of the
        lease, so that it survives two lost renewals.
        """
        return min(self.lease_seconds / 3, max(self.poll_seconds, SHORTEST_RENEWAL_SECONDS))

    @model_validator(mode="after")
    def _require_the_secret_key(self) -> Self:
        if self.supabase_secret_key is None:
            raise ValueError("SUPABASE_SECRET_KEY is missing: a worker needs the project's secret key (sb_secret_…)")
        return self

    @model_validator(mode="after")
    def _check_the_backoff(self) -> Self:
        if self.backoff_max_seconds < self.backoff_seconds:
            raise ValueError("BATCHGEN_BACKOFF_MAX_SECONDS is below BATCHGEN_BACKOFF_SECONDS: raise it")
        return self

    @model_validator(mode="after")
    def _refuse_a_free_openai(self) -> Self:
        if self.openai_is_free and not self.is_given("openai_url"):
            raise ValueError("BATCHGEN_OPENAI_IS_FREE needs BATCHGEN_OPENAI_URL: OpenAI itself is not free")
        return self

    def is_given(self, name: str) -> bool:
        """Whether a setting differs from its default."""
        return getattr(self, name) != type(self).model_fields[name].default

    def secrets(self) -> list[str]:
        """The values that must never be shown."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
