"""Build requests to providers: for a new picture, for one already ordered, and about an open order."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from batchgen.errors import InvalidRequest, ModelUnusable
from batchgen.providers.base import AccountableProvider, ImageRequest, Provider
from batchgen.providers.inputs import provider_inputs
from batchgen.queue.types import Claim, OpenOrder


def new_request(claim: Claim, provider: Provider) -> ImageRequest:
    """Build the request for a new picture. Raises `ModelUnusable` if the model's row lacks usable inputs."""
    return _request(claim, _inputs(claim, provider))


def request_of_order(claim: Claim) -> ImageRequest:
    """Rebuild the request as it was ordered, even if the model's row has changed since."""
    ago = claim.ordered_seconds_ago
    return replace(
        _request(claim, claim.ordered_inputs or {}),
        key="" if claim.order_key is None else str(claim.order_key),
        ordered_at=None if ago is None else time.monotonic() - ago,
    )


def request_about(order: OpenOrder) -> ImageRequest:
    """Build a request that is enough to ask about an open order, but not to order its picture."""
    return ImageRequest(
        generation_id=order.generation_id,
        prompt="",
        seed=order.seed,
        width=0,
        height=0,
        model=order.model,
        model_version=order.version,
        key=str(order.order_key),
        inputs=order.inputs,
        ordered_at=time.monotonic() - order.ordered_seconds_ago,
    )


def _inputs(claim: Claim, provider: Provider) -> Mapping[str, Any]:
    """Return the model's inputs at its provider; none for a provider without orders, which reads the request itself."""
    if not isinstance(provider, AccountableProvider):
        return {}
    if claim.input_spec is None:
        if provider.name != claim.model_provider:  # it replaces all providers, and no row describes it
            return {}
        raise ModelUnusable(
            f"The model {claim.model} has no inputs in batchgen.models: nothing can be ordered of it.",
            code="inputs_missing",
        )
    try:
        return provider_inputs(
            claim.input_spec,
            prompt=claim.prompt,
            negative_prompt=claim.negative_prompt,
            seed=claim.seed,
            width=claim.width,
            height=claim.height,
            steps=claim.steps,
            guidance_scale=claim.guidance_scale,
        )
    except InvalidRequest as error:
        raise ModelUnusable(error.message, code=error.code) from error


def _request(claim: Claim, inputs: Mapping[str, Any]) -> ImageRequest:
    return ImageRequest(
        generation_id=claim.generation_id,
        prompt=claim.prompt,
        seed=claim.seed,
        width=claim.width,
        height=claim.height,
        negative_prompt=claim.negative_prompt,
        model=claim.model,
        model_version=claim.model_version,
        steps=claim.steps,
        guidance_scale=claim.guidance_scale,
        retry_count=claim.retry_count,
        inputs=inputs,
        estimated_seconds=claim.estimated_seconds,
    )
