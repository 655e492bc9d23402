"""A fully wired worker with a provider that delivers what the test says.

Its pictures come from a `FakeNetwork`: names have the addresses that the task says, and every connection leads to one
server of the test. Each connection is logged on stderr before it is made.

HOSTILE_TASK names a JSON file: `port` and `authority` of that server, `names` with their addresses, and `outputs`:
for each prompt `{"url": …}` or `{"content": …}`.
"""

import base64
import json
import os
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpcore

import scheduler.__main__ as worker
from batchgen.pictures.fetch import Fetcher
from batchgen.providers.base import ImageRequest, Picture, RawImage, RemoteImage
from scheduler import wiring
from tests.pictures.picture_server import FakeNetwork


class HostileProvider:
    name = "hostile"

    def __init__(self, outputs: Mapping[str, Mapping[str, str]]) -> None:
        self._outputs = outputs

    async def submit(self, request: ImageRequest) -> str:
        return f"hostile-{request.generation_id}"

    async def wait(self, job_id: str, request: ImageRequest) -> Picture:
        output = self._outputs[request.prompt]
        return RemoteImage(output["url"]) if "url" in output else RawImage(base64.b64decode(output["content"]))

    async def cancel(self, job_id: str) -> None:
        """Do nothing: no job runs."""

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""


class LoggedNetwork(FakeNetwork):
    async def connect_tcp(self, host: str, port: int, *more: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        print(json.dumps({"event": "connecting", "host": host, "port": port}), file=sys.stderr, flush=True)  # noqa: T201
        return await super().connect_tcp(host, port, *more, **options)


def main() -> int:
    task = json.loads(Path(os.environ["HOSTILE_TASK"]).read_text())
    network = LoggedNetwork(task["port"])
    for name, addresses in task["names"].items():
        network.knows(name, addresses)
    trusted = ssl.create_default_context(cadata=task["authority"])

    class FetcherThere(Fetcher):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings, resolve=network.resolve, network=network, certificates=trusted)

    wiring.Fetcher = FetcherThere
    return worker.main([], lambda _settings: HostileProvider(task["outputs"]))


if __name__ == "__main__":
    sys.exit(main())
