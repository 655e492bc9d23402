"""The five providers: a fake server, the worker's environment and the row of `batchgen.models` for each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from tests.money.faults import FaultSource
from tests.money.faulty_hosted_servers import FaultyFalServer, FaultyReplicateServer
from tests.money.faulty_local_servers import FaultyAutomatic1111Server, FaultyComfyUIServer, FaultyOpenAIServer
from tests.money.provider_log import ProviderLog
from tests.providers import fal_server, openai_server, replicate_server
from tests.support import Database

FakeServer = (
    FaultyReplicateServer | FaultyFalServer | FaultyOpenAIServer | FaultyComfyUIServer | FaultyAutomatic1111Server
)

SIZE: Mapping[str, Any] = {"kind": "width_height", "width": "width", "height": "height", "min": 64, "max": 1440}
INPUTS: Mapping[str, Any] = {"prompt": "prompt", "seed": {"name": "seed", "max": 2147483647}, "size": SIZE}
ADD_MODEL = """
    insert into batchgen.models (name, provider, provider_model, inputs, price_usd, estimated_seconds)
    values (%s, %s, %s, %s, %s, 1) returning id
"""


@dataclass(frozen=True)
class ProviderSetup:
    """`job_column`: the column of a ledger row with the job's name in the provider's log."""

    provider: str
    model: str
    price_usd: Decimal
    inputs: Mapping[str, Any]
    make: Callable[[FaultSource, ProviderLog], FakeServer]
    environment: Callable[[str], Mapping[str, str]]
    job_column: str = "provider_job_id"

    def server(self, fault_source: FaultSource, provider_log: ProviderLog) -> FakeServer:
        return self.make(fault_source, provider_log)

    async def add_model(self, database: Database, name: str) -> UUID:
        """Add the model with one SQL statement, as docs/models.md shows it; returns its id."""
        row = (name, self.provider, self.model, Jsonb(self.inputs), self.price_usd)
        return await _id(database, row)

    def job_in(self, row: Mapping[str, Any]) -> str | None:
        """The job of a ledger row, as the provider's log names it."""
        name = row[self.job_column]
        return None if name is None else str(name).removesuffix("/response").rpartition("/")[2]


async def _id(database: Database, row: tuple[object, ...]) -> UUID:
    found = await (await database.execute(ADD_MODEL, row)).fetchone()
    assert found
    return found["id"]


PROVIDER_SETUPS: Mapping[str, ProviderSetup] = {
    setup.provider: setup
    for setup in (
        ProviderSetup(
            "replicate",
            "black-forest-labs/flux-schnell",
            Decimal("0.0031"),
            INPUTS,
            lambda fault_source, provider_log: FaultyReplicateServer(
                fault_source=fault_source, provider_log=provider_log
            ),
            lambda url: {"BATCHGEN_REPLICATE_API_TOKEN": replicate_server.TOKEN, "BATCHGEN_REPLICATE_URL": f"{url}/v1"},
        ),
        ProviderSetup(
            "fal",
            "fal-ai/flux/dev",
            Decimal("0.025"),
            INPUTS,
            lambda faults, log: FaultyFalServer(fault_source=faults, provider_log=log),
            lambda url: {"BATCHGEN_FAL_KEY": fal_server.KEY, "BATCHGEN_FAL_URL": url},
        ),
        ProviderSetup(
            "openai",
            "gpt-image-1",
            Decimal("0.042"),
            {"prompt": "prompt"},
            FaultyOpenAIServer,
            lambda url: {"BATCHGEN_OPENAI_API_KEY": openai_server.KEY, "BATCHGEN_OPENAI_URL": f"{url}/v1"},
            job_column="order_key",
        ),
        ProviderSetup(
            "comfyui",
            "sdxl.safetensors",
            Decimal(0),
            INPUTS,
            FaultyComfyUIServer,
            lambda url: {"BATCHGEN_COMFYUI_URL": url},
        ),
        ProviderSetup(
            "automatic1111",
            "xl/sdxl.safetensors [31e35c80fc]",
            Decimal(0),
            INPUTS,
            FaultyAutomatic1111Server,
            lambda url: {"BATCHGEN_AUTOMATIC1111_URL": url},
        ),
    )
}
