"""The five providers: the shop that plays each one, how workers are told of it, and the row that offers its model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from tests.money.books import Books
from tests.money.hosted_shops import FalShop, ReplicateShop
from tests.money.own_gpu_shops import Automatic1111Shop, ComfyUIShop, OpenAIShop
from tests.money.weather import Weather
from tests.providers import fal_server, openai_server, replicate_server
from tests.support import Database

Shop = ReplicateShop | FalShop | OpenAIShop | ComfyUIShop | Automatic1111Shop

SIZE: Mapping[str, Any] = {"kind": "width_height", "width": "width", "height": "height", "min": 64, "max": 1440}
INPUTS: Mapping[str, Any] = {"prompt": "prompt", "seed": {"name": "seed", "max": 2147483647}, "size": SIZE}
OFFER = """
    insert into batchgen.models (name, provider, provider_model, inputs, price_usd, estimated_seconds)
    values (%s, %s, %s, %s, %s, 1) returning id
"""


@dataclass(frozen=True)
class Listing:
    """`job_column`: what of a ledger row names the job in the shop's books."""

    provider: str
    model: str
    price_usd: Decimal
    inputs: Mapping[str, Any]
    make: Callable[[Weather, Books], Shop]
    environment: Callable[[str], Mapping[str, str]]
    job_column: str = "provider_job_id"

    def shop(self, weather: Weather, books: Books) -> Shop:
        return self.make(weather, books)

    async def offer(self, database: Database, name: str) -> UUID:
        """Add the model, in one statement of SQL as docs/models.md shows it; its id."""
        row = (name, self.provider, self.model, Jsonb(self.inputs), self.price_usd)
        return await _id(database, row)

    def job_in(self, row: Mapping[str, Any]) -> str | None:
        """The job that a row of the ledger is about, as the shop's books name it."""
        name = row[self.job_column]
        return None if name is None else str(name).removesuffix("/response").rpartition("/")[2]


async def _id(database: Database, row: tuple[object, ...]) -> UUID:
    found = await (await database.execute(OFFER, row)).fetchone()
    assert found
    return found["id"]


LISTINGS: Mapping[str, Listing] = {
    listing.provider: listing
    for listing in (
        Listing(
            "replicate",
            "black-forest-labs/flux-schnell",
            Decimal("0.0031"),
            INPUTS,
            lambda weather, books: ReplicateShop(weather=weather, books=books),
            lambda url: {"BATCHGEN_REPLICATE_API_TOKEN": replicate_server.TOKEN, "BATCHGEN_REPLICATE_URL": f"{url}/v1"},
        ),
        Listing(
            "fal",
            "fal-ai/flux/dev",
            Decimal("0.025"),
            INPUTS,
            lambda weather, books: FalShop(weather=weather, books=books),
            lambda url: {"BATCHGEN_FAL_KEY": fal_server.KEY, "BATCHGEN_FAL_URL": url},
        ),
        Listing(
            "openai",
            "gpt-image-1",
            Decimal("0.042"),
            {"prompt": "prompt"},
            OpenAIShop,
            lambda url: {"BATCHGEN_OPENAI_API_KEY": openai_server.KEY, "BATCHGEN_OPENAI_URL": f"{url}/v1"},
            job_column="order_key",
        ),
        Listing(
            "comfyui",
            "sdxl.safetensors",
            Decimal(0),
            INPUTS,
            ComfyUIShop,
            lambda url: {"BATCHGEN_COMFYUI_URL": url},
        ),
        Listing(
            "automatic1111",
            "xl/sdxl.safetensors [31e35c80fc]",
            Decimal(0),
            INPUTS,
            Automatic1111Shop,
            lambda url: {"BATCHGEN_AUTOMATIC1111_URL": url},
        ),
    )
}
