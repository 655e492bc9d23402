"""Check the providers' keys at the start, with calls that cost nothing, before anything is ordered."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from batchgen.errors import ProviderUnavailable
from batchgen.providers.http.client import HttpApi, Scheme, Unanswered
from batchgen.settings import WorkerSettings

REFUSALS_BELIEVED = 3
"""Refusals in a row that count: gateways refuse valid keys in passing."""
REFUSAL_PAUSE_SECONDS = 0.7
ANSWER_SECONDS = 10.0
MOST_BYTES = 2**22


@dataclass(frozen=True)
class FreeCall:
    """`GET path` at the address of the setting `url`, with the key of the setting `key`."""

    url: str
    key: str
    scheme: Scheme
    path: str


FREE_CALLS: Mapping[str, FreeCall] = {
    "replicate": FreeCall("replicate_url", "replicate_api_token", "Bearer", "account"),
    "openai": FreeCall("openai_url", "openai_api_key", "Bearer", "models"),
    "comfyui": FreeCall("comfyui_url", "comfyui_key", "Bearer", "system_stats"),
    "automatic1111": FreeCall("automatic1111_url", "automatic1111_auth", "Basic", "sdapi/v1/options"),
}
"""fal has no free call."""


@dataclass(frozen=True)
class KeyProblem:
    """A problem in reaching one provider; `is_setting` tells a wrong setting from an outage."""

    provider: str
    problem: str
    is_setting: bool


async def check_keys(settings: WorkerSettings, providers: Collection[str]) -> Sequence[KeyProblem]:
    """Check each of these providers that has a free call. A problem that is no setting's fault is an outage."""
    asked = [name for name in FREE_CALLS if name in providers and getattr(settings, FREE_CALLS[name].url) is not None]
    found = await asyncio.gather(*(_check(settings, name, FREE_CALLS[name]) for name in asked))
    return [one for one in found if one]


async def _check(settings: WorkerSettings, name: str, call: FreeCall) -> KeyProblem | None:
    url = str(getattr(settings, call.url))
    key: SecretStr | None = getattr(settings, call.key)
    api = _Api(url, service=name, key=key, scheme=call.scheme)
    try:
        for tries in range(1, REFUSALS_BELIEVED + 1):
            if not await api.refuses(call.path):
                return None
            if tries < REFUSALS_BELIEVED:
                await asyncio.sleep(REFUSAL_PAUSE_SECONDS)
    except (ProviderUnavailable, Unanswered) as error:
        variable = f"BATCHGEN_{call.url.upper()}"
        return KeyProblem(
            name, f"{name} at {url}: {error} If the address is wrong, correct {variable}.", is_setting=False
        )
    finally:
        await api.aclose()
    variable = f"BATCHGEN_{call.key.upper()}"
    if key is None:
        return KeyProblem(name, f"{variable} is missing: {url} requires it. Set it.", is_setting=True)
    problem = f"{variable}: {name} at {url} refuses this key (401). Set a valid key, or remove the variable."
    return KeyProblem(name, problem, is_setting=True)


class _Api(HttpApi):
    async def refuses(self, path: str) -> bool:
        """Whether the key is refused. Other answers say nothing about the key: not every server has the call."""
        answer = await self._send(self._asking, "GET", path, ANSWER_SECONDS, MOST_BYTES)
        return answer.status == 401
