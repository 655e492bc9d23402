"""AUTOMATIC1111's web UI and its descendants (Forge, reForge), started with `--api`.

Written from the wiki page "API" of stable-diffusion-webui and from `modules/api/api.py`, `modules/api/models.py`,
`modules/progress.py`, `modules/processing.py` and `modules/shared_state.py` of it (commit 0050a354) and of
stable-diffusion-webui-forge (dfdcbab6); a running server shows the same at `/docs`.

`POST /sdapi/v1/txt2img` answers with the picture when it is done; `force_task_id` names the task. The server keeps no
result, so that a picture whose answer was lost is made again: it costs time on one's own GPU and no money. `POST
/internal/progress` tells whether a task runs. `POST /sdapi/v1/interrupt` stops whatever runs, so it is sent only
while that is our task; a task that waits in the server's own queue cannot be taken out of it. An interrupted task
answers like a finished one, with half a picture.
"""

import asyncio
import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import SecretStr

from batchgen.errors import OutcomeUnknown, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.providers.base import ImageRequest, Output, RawImage, Settlement
from batchgen.providers.exchange import Complaint, Exchange
from batchgen.providers.http_api import Answer, mapping, read_list, read_object, sequence, text, whole_number
from batchgen.providers.synchronous import SynchronousJobs

LOCAL_URL = "http://127.0.0.1:7860"
ANSWER_SECONDS = 600.0
ANSWER_BYTES = 96 * 2**20
QUEUE_PAUSE_SECONDS = 1.0
"""Between two looks whether a task that nobody wants any more has begun."""


class Automatic1111Provider:
    """Pictures from `/sdapi/v1/txt2img`. `credentials` are `user:password` of `--api-auth`.

    The body is the request's `inputs` as they stand. The request's model is the checkpoint, by any name that the server
    knows it by.
    """

    name = "automatic1111"

    def __init__(
        self,
        *,
        base_url: str = LOCAL_URL,
        credentials: SecretStr | None = None,
        answer_seconds: float = ANSWER_SECONDS,
        most_bytes: int = ANSWER_BYTES,
    ) -> None:
        self._api = Exchange(base_url, service=self.name, key=credentials, scheme="Basic")
        self._answer_seconds = answer_seconds
        self._most_bytes = most_bytes
        self._jobs = SynchronousJobs(self.name, self._order, is_free=True)
        self._checkpoints: frozenset[str] = frozenset()

    async def submit(self, request: ImageRequest) -> str:
        """Name the task, after a look whether the server has the checkpoint: it would silently take another one."""
        if request.model and request.model not in self._checkpoints:
            self._checkpoints = await self._known_checkpoints()
            if request.model not in self._checkpoints:
                raise ProviderRejected(f"{self.name} has no checkpoint {request.model}.", code="model_not_found")
        return self._jobs.mint(request)

    async def find(self, request: ImageRequest) -> str | None:
        """The task of this process with the same key. None: no picture can be lost under a name that was."""
        return self._jobs.find(request)

    async def wait(self, job_id: str, request: ImageRequest) -> Output:
        """Order the picture and wait for it. A task of another process is stopped, since its picture cannot be had.

        One that waits in the server's own queue is waited for, and stopped when it begins.
        """
        if not self._jobs.is_awaited(job_id):
            while await self._interrupt(job_id):  # noqa: ASYNC110 - the server tells nobody by itself
                await asyncio.sleep(QUEUE_PAUSE_SECONDS)
        return await self._jobs.wait(job_id, request)

    async def settle(self, job_id: str, request: ImageRequest) -> Settlement:  # noqa: ARG002 - others need the request
        """What this process knows; of another one's task nothing can be had, and it is stopped.

        Not over while the server has it: nobody else would stop it when it begins, and it may keep the server for ever.
        """
        settlement = self._jobs.settle(job_id)
        if settlement.is_over and settlement.output is None and await self._interrupt(job_id):
            return Settlement(is_over=False)
        return settlement

    async def cancel(self, job_id: str) -> None:
        """Stop the task where it runs right now, and let the picture go."""
        await self._interrupt(job_id)
        self._jobs.cancel(job_id)

    async def aclose(self) -> None:
        """Give back connections; pictures that are being made are lost."""
        await self._jobs.aclose()
        await self._api.aclose()

    async def _order(self, job_id: str, request: ImageRequest) -> RawImage:
        body = {"prompt": request.prompt, **request.inputs, **_checkpoint(request)}
        answer = await self._api.buy(
            "/sdapi/v1/txt2img",
            {**body, "force_task_id": job_id, "send_images": True},
            seconds=self._answer_seconds,
            most_bytes=self._most_bytes,
        )
        if not answer.is_success:
            raise self._refused(answer)
        picture, info = await asyncio.to_thread(self._picture, answer)
        if await self._was_interrupted(text(info.get("job_timestamp"))):
            what = f"{self.name} was told to stop before the picture was finished."
            raise ProviderUnavailable(what, code="job_cancelled", is_provider_fault=False)
        return picture

    def _picture(self, answer: Answer) -> tuple[RawImage, Mapping[str, Any]]:
        """Plain CPU work without a loop. `info` is JSON within the JSON."""
        body = mapping(answer.as_object())
        info = mapping(read_object(text(body.get("info"))))
        images = sequence(body.get("images"))
        first = whole_number(info.get("index_of_first_image")) or 0  # a grid of all of them may come before it
        if not 0 <= first < len(images):
            raise self._senseless()
        version = text(info.get("sd_model_hash")) or text(info.get("sd_model_name")) or None
        return RawImage(self._unpacked(images[first]), seed=whole_number(info.get("seed")), version=version), info

    def _unpacked(self, packed: object) -> bytes:
        try:
            content = base64.b64decode(text(packed).partition("base64,")[2] or text(packed), validate=True)
        except (binascii.Error, ValueError) as error:
            raise self._senseless() from error
        if not content:
            raise self._senseless()
        return content

    def _refused(self, answer: Answer) -> ProviderError:
        body = mapping(answer.as_object())
        words = (body.get("errors"), body.get("detail"), body.get("error"))
        complaint = Complaint(next((word for word in words if isinstance(word, str) and word), _field_faults(body)))
        if answer.status == 404 and "not found" in complaint.message.lower() and complaint.message != "Not Found":
            return ProviderRejected(self._api.says("does not have all of this", complaint), code="model_not_found")
        return self._api.refusal(answer, complaint)

    async def _known_checkpoints(self) -> frozenset[str]:
        answer = await self._api.ask("GET", "/sdapi/v1/sd-models")
        if not answer.is_success:
            raise self._refused(answer)
        if (checkpoints := read_list(answer.body)) is None:
            raise self._api.garbage()
        return frozenset(name for item in checkpoints for name in _names(mapping(item)))

    async def _interrupt(self, job_id: str) -> bool:
        """Stop the task if it is the one that runs; whether it still waits there. Another may just have begun instead.

        Raises `ProviderUnavailable` or `ProviderBusy` where the server did not hear of it: a task that nobody stops may
        keep the server from all others, so that its job is not over for that.
        """
        try:
            answer = await self._api.ask("POST", "/internal/progress", json={"id_task": job_id, "live_preview": False})
            self._check_heard(answer)
            place = mapping(answer.as_object())
            if place.get("active") is True:
                self._check_heard(await self._api.ask("POST", "/sdapi/v1/interrupt"))
            return place.get("active") is not True and place.get("queued") is True
        except ProviderUnavailable as error:
            error.is_job_over = False
            raise

    def _check_heard(self, answer: Answer) -> None:
        """A server that does not have the route, or does not let us, will not do so later either."""
        if answer.status == 429 or answer.status >= 500:
            raise self._refused(answer)
        if answer.is_success and answer.as_object() is None:
            raise self._api.garbage()

    async def _was_interrupted(self, job_timestamp: str) -> bool:
        """Whether the task that began at this time was stopped; False where the server has begun another since."""
        try:
            answer = await self._api.ask("GET", "/sdapi/v1/progress", params={"skip_current_image": "true"})
        except ProviderUnavailable:
            return False  # the picture came; a question more or less does not decide about it
        state = mapping(mapping(answer.as_object()).get("state"))
        return state.get("interrupted") is True and bool(job_timestamp) and state.get("job_timestamp") == job_timestamp

    def _senseless(self) -> OutcomeUnknown:
        return OutcomeUnknown(f"{self.name} answered with something that is no picture.", code="provider_garbage")


def _checkpoint(request: ImageRequest) -> Mapping[str, Any]:
    """Without the second setting the server would load its former checkpoint again after every picture."""
    if not request.model:
        return {}
    settings = {**mapping(request.inputs.get("override_settings")), "sd_model_checkpoint": request.model}
    return {"override_settings": settings, "override_settings_restore_afterwards": False}


def _names(checkpoint: Mapping[str, Any]) -> Iterable[str]:
    """All that the server finds a checkpoint by (`CheckpointInfo.ids`), as far as it lists it."""
    title = text(checkpoint.get("title"))
    file = text(checkpoint.get("filename")).replace("\\", "/").rpartition("/")[2]
    names = (title, title.rpartition(" [")[0], text(checkpoint.get("model_name")), file, file.rpartition(".")[0])
    return filter(None, (*names, text(checkpoint.get("hash")), text(checkpoint.get("sha256"))))


def _field_faults(body: Mapping[str, Any]) -> str:
    """FastAPI's list of what is wrong with which field, as one sentence."""
    faults = [mapping(fault) for fault in sequence(body.get("detail"))]
    return "; ".join(f"{'.'.join(map(str, sequence(fault.get('loc'))))}: {text(fault.get('msg'))}" for fault in faults)
