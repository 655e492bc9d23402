"""The settings of a worker, each with unit, bounds and default."""

from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    HttpUrl,
    SecretStr,
    model_validator,
)

from batchgen.settings.project import Settings
from batchgen.settings.types import ApiUrl, Credentials, Key, Name, Networks, Seconds, in_lower_case

SHORTEST_RENEWAL_SECONDS = 1.0


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
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(in_lower_case)] = Field(
        default="info", description="Least important log level shown."
    )
    log_format: Annotated[Literal["auto", "text", "json"], BeforeValidator(in_lower_case)] = Field(
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
