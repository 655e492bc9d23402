"""AUTOMATIC1111's web UI and its descendants (Forge, reForge), started with `--api`.

Written from the wiki page "API" of stable-diffusion-webui and from `modules/api/api.py`, `modules/api/models.py`,
`modules/progress.py`, `modules/processing.py` and `modules/shared_state.py` of it (commit 0050a354) and of
stable-diffusion-webui-forge (dfdcbab6); a running server shows the same at `/docs`.

`POST /sdapi/v1/txt2img` answers with the finished picture; `force_task_id` names the task. The server keeps no
results, so a picture whose answer was lost is made again: it costs time on the operator's GPU and no money. `POST
/internal/progress` tells whether a task runs. `POST /sdapi/v1/interrupt` stops whatever runs, so it is sent only
while that is our task; a task that waits in the server's own queue cannot be removed. An interrupted task answers like
a finished one, with half a picture.

Forge ignored `override_settings.sd_model_checkpoint` for long (its issues 1610 and 1940), and A1111 uses the loaded
checkpoint if it does not find the ordered one. So the checkpoint that an answer names is compared with the ordered
one. If it differs, `POST /sdapi/v1/options` sets it, for this order and for all later ones.
"""

import asyncio
import base64
import binascii
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import SecretStr

from batchgen.errors import OutcomeUnknown, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.order_state import OPEN
from batchgen.providers.base import ImageRequest, Picture, RawImage, Settlement
from batchgen.providers.checkpoints import Checkpoint, Made, checkpoints_in, made_with, named
from batchgen.providers.http.client import Answer, mapping, read_list, read_object, sequence, text, whole_number
from batchgen.providers.http.own_server import OwnServerApi
from batchgen.providers.http.refusals import Reason, Refusal
from batchgen.providers.http.synchronous import SynchronousJobs
from batchgen.providers.model_file_names import or_near
from batchgen.providers.out_of_memory import is_out_of_memory

log = logging.getLogger(__name__)

LOCAL_URL = "http://127.0.0.1:7860"
ANSWER_SECONDS = 600.0
ANSWER_BYTES = 96 * 2**20
QUEUE_PAUSE_SECONDS = 1.0
"""Between two questions whether an unwanted task has started."""

REPORTED = ("width", "height", "steps", "cfg_scale", "sampler_name")
"""Differences in these fields between the order and the server's report are logged."""


class Automatic1111Provider:
    """Pictures from `/sdapi/v1/txt2img`. `credentials` are `user:password` of `--api-auth`.

    The body is the request's `inputs`. The request's model is the checkpoint, by any name that the server knows.
    """

    name = "automatic1111"
    is_synchronous = True

    def __init__(
        self,
        *,
        base_url: str = LOCAL_URL,
        credentials: SecretStr | None = None,
        answer_seconds: float = ANSWER_SECONDS,
        most_bytes: int = ANSWER_BYTES,
    ) -> None:
        self._api = OwnServerApi(base_url, service=self.name, key=credentials, scheme="Basic")
        self._answer_seconds = answer_seconds
        self._most_bytes = most_bytes
        self._jobs = SynchronousJobs(self.name, self._order, is_free=True)
        self._wanted: dict[str, Sequence[Checkpoint]] = {}
        """The checkpoint on the server for each model that was ordered."""
        self._sets_checkpoint = False
        """Whether this server ignores the checkpoint in an order."""
        self._one_checkpoint = asyncio.Lock()

    async def submit(self, request: ImageRequest) -> str:
        """Mint the task's id if the server has the checkpoint: otherwise it would silently use another one."""
        if request.model and request.model not in self._wanted:
            self._wanted[request.model] = await self._checkpoints_named(request.model)
        return self._jobs.mint(request)

    async def find(self, request: ImageRequest) -> str | None:
        """The task of this process with the same key. None: nothing can have been ordered under an id that was lost."""
        return self._jobs.find(request)

    async def wait(self, job_id: str, request: ImageRequest) -> Picture:
        """Order the picture and wait for it. Stop a task of another process, since its picture cannot be fetched.

        A task in the server's own queue is stopped when it starts.
        """
        if not self._jobs.is_awaited(job_id):
            while await self._interrupt(job_id):  # noqa: ASYNC110 - the server sends no events
                await asyncio.sleep(QUEUE_PAUSE_SECONDS)
        return await self._jobs.wait(job_id, request)

    async def settle(self, job_id: str, request: ImageRequest) -> Settlement:  # noqa: ARG002 - others need the request
        """What this process knows. A task of another process is stopped, since its picture cannot be fetched.

        It is not over while the server has it: nobody else would stop it, and it may occupy the server forever.
        """
        settlement = self._jobs.settle(job_id)
        if settlement.order.over and settlement.picture is None and await self._interrupt(job_id):
            return Settlement(OPEN)
        return settlement

    async def cancel(self, job_id: str) -> None:
        """Stop the task if it runs right now, and drop its picture."""
        await self._interrupt(job_id)
        self._jobs.cancel(job_id)

    async def aclose(self) -> None:
        """Close connections; pictures that are being made are lost."""
        await self._jobs.aclose()
        await self._api.aclose()

    async def _order(self, job_id: str, request: ImageRequest) -> RawImage:
        """Make the picture with the ordered checkpoint. Raises `wrong_model` if the server uses another one."""
        model = request.model or ""
        if not model or not self._sets_checkpoint:
            picture, made = await self._made(job_id, request)
            if self._is_right(model, made):
                return picture
            log.warning(
                "the server used the checkpoint %s instead of %s; it is set before each order from now on", made, model
            )
        async with self._one_checkpoint:
            await self._set_checkpoint(model)
            picture, made = await self._made(job_id, request)
        if not self._is_right(model, made):
            self._wanted.pop(model, None)  # a file may have been replaced since the list was read
            raise self._wrong_model(f"{made} instead of {model}")
        self._sets_checkpoint = True
        return picture

    def _is_right(self, model: str, made: Made) -> bool:
        wanted = self._wanted.get(model, ())
        return not wanted or any(checkpoint.has_made(made.name, made.short_hash) for checkpoint in wanted)

    async def _set_checkpoint(self, model: str) -> None:
        try:
            answer = await self._api.ask(
                "POST", "/sdapi/v1/options", json={"sd_model_checkpoint": self._name_of(model)}
            )
            if not answer.is_success:
                raise self._refused(answer)
        except (ProviderUnavailable, ProviderRejected) as error:
            raise self._wrong_model(f"{model} could not be set. {error}") from error

    def _wrong_model(self, words: str) -> ProviderUnavailable:
        what = self._api.message("makes pictures with another checkpoint", words)
        return ProviderUnavailable(what, code="wrong_model", is_provider_fault=False)

    async def _made(self, job_id: str, request: ImageRequest) -> tuple[RawImage, Made]:
        body = {"prompt": request.prompt, **request.inputs, **self._checkpoint(request)}
        answer = await self._api.order(
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
        _tell_differences(body, info)
        return picture, made_with(info)

    def _checkpoint(self, request: ImageRequest) -> Mapping[str, Any]:
        """The checkpoint's settings. Without the second one the server would reload its former checkpoint each time."""
        if not request.model:
            return {}
        settings = {
            **mapping(request.inputs.get("override_settings")),
            "sd_model_checkpoint": self._name_of(request.model),
        }
        return {"override_settings": settings, "override_settings_restore_afterwards": False}

    def _name_of(self, model: str) -> str:
        """The model's name in the server's spelling."""
        wanted = self._wanted.get(model, ())
        is_its_own = any(model in (*checkpoint.names, *checkpoint.hashes) for checkpoint in wanted)
        return model if is_its_own or not wanted else wanted[0].title

    def _picture(self, answer: Answer) -> tuple[RawImage, Mapping[str, Any]]:
        """Read the picture and `info`, which is JSON within the JSON and which some servers send as an object."""
        body = mapping(answer.as_object())
        info = mapping(body.get("info")) or mapping(read_object(text(body.get("info"))))
        images = sequence(body.get("images"))
        first = whole_number(info.get("index_of_first_image")) or 0  # a grid of all of them may come before it
        if not 0 <= first < len(images):
            raise self._senseless()
        made = made_with(info)
        return RawImage(
            self._unpacked(images[first]), seed=_seed(info), version=made.short_hash or made.name or None
        ), info

    def _unpacked(self, packed: object) -> bytes:
        plain = "".join((text(packed).partition("base64,")[2] or text(packed)).split())
        try:
            content = base64.b64decode(plain, validate=True)
        except (binascii.Error, ValueError) as error:
            raise self._senseless() from error
        if not content:
            raise self._senseless()
        return content

    def _refused(self, answer: Answer) -> ProviderError:
        body = mapping(answer.as_object())
        words = [word for word in (body.get("errors"), body.get("detail"), body.get("error")) if isinstance(word, str)]
        refusal = Refusal(next(filter(None, words), _field_faults(body)))
        if is_out_of_memory(*words):
            return ProviderUnavailable(self._api.message("has no memory left", refusal.message), code="out_of_memory")
        if answer.status >= 500 and "NansException" in words:
            what = self._api.message("could not compute the picture", refusal.message)
            return ProviderUnavailable(what, code="job_failed", is_provider_fault=False)
        if answer.status == 404 and "not found" in refusal.message.lower() and refusal.message != "Not Found":
            return ProviderRejected(
                self._api.message("does not have all of this", refusal.message), code="model_not_found"
            )
        if answer.status in (404, 405):
            what = f"{self.name} answered {answer.status}: its API is not at this address, or it runs without --api."
            return ProviderUnavailable(what, code="provider_garbage")
        if answer.status == 401:
            what = "it requires the user and password of its --api-auth; set BATCHGEN_AUTOMATIC1111_AUTH=user:password"
            return self._api.error(Reason.KEY_REFUSED, answer, Refusal(what))
        return self._api.error_of(answer, refusal)

    async def _checkpoints_named(self, model: str) -> Sequence[Checkpoint]:
        """The checkpoints by this name, after one refresh of the server's list. Raises `model_not_found`."""
        known = await self._listed_checkpoints()
        if not named(model, known):
            with suppress(ProviderError):  # a server that cannot do so has told what it has
                await self._api.ask("POST", "/sdapi/v1/refresh-checkpoints")
            known = await self._listed_checkpoints()
        if found := named(model, known):
            return found
        hint = or_near(model, (checkpoint.title for checkpoint in known))
        what = self._api.message(f"has no checkpoint {model}", hint)
        raise ProviderRejected(what, code="model_not_found")

    async def _listed_checkpoints(self) -> Sequence[Checkpoint]:
        answer = await self._api.ask("GET", "/sdapi/v1/sd-models")
        if not answer.is_success:
            raise self._refused(answer)
        if (listed := read_list(answer.body)) is None:
            raise self._api.garbage()
        return checkpoints_in(listed)

    async def _interrupt(self, job_id: str) -> bool:
        """Stop the task if it is the one that runs, and return whether it still waits. Another may just have started.

        Raises `ProviderUnavailable` or `ProviderBusy` if the server could not be told: a task that nobody stops may
        block the server for all others, so its job is not over then.
        """
        try:
            answer = await self._api.ask("POST", "/internal/progress", json={"id_task": job_id, "live_preview": False})
            self._check_heard(answer)
            place = mapping(answer.as_object())
            if place.get("active") is True:
                self._check_heard(await self._api.ask("POST", "/sdapi/v1/interrupt"))
            return place.get("active") is not True and place.get("queued") is True
        except ProviderUnavailable as error:
            error.order = error.order.merge(OPEN)
            raise

    def _check_heard(self, answer: Answer) -> None:
        """Ignore answers of servers that lack the route or do not allow it: trying again would not help."""
        if answer.status == 429 or answer.status >= 500:
            raise self._refused(answer)
        if answer.is_success and answer.as_object() is None:
            raise self._api.garbage()

    async def _was_interrupted(self, job_timestamp: str) -> bool:
        """Whether the task that started at this time was stopped; False if the server has started another since."""
        try:
            answer = await self._api.ask("GET", "/sdapi/v1/progress", params={"skip_current_image": "true"})
        except ProviderUnavailable:
            return False  # the picture came; a question more or less does not decide about it
        state = mapping(mapping(answer.as_object()).get("state"))
        return state.get("interrupted") is True and bool(job_timestamp) and state.get("job_timestamp") == job_timestamp

    def _senseless(self) -> OutcomeUnknown:
        return OutcomeUnknown(f"{self.name} answered with something other than a picture.", code="provider_garbage")


def _seed(info: Mapping[str, Any]) -> int | None:
    """The seed that was used, whatever was ordered."""
    seeds = (info.get("seed"), next(iter(sequence(info.get("all_seeds"))), None))
    return next((seed for seed in map(whole_number, seeds) if seed is not None and seed >= 0), None)


def _tell_differences(ordered: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    """Log what an extension or a setting of the server changed in the order; the picture is accepted."""
    pairs = {name: (ordered.get(name), info.get(name)) for name in REPORTED}
    other = {name: pair for name, pair in pairs.items() if None not in pair and pair[0] != pair[1]}
    if other:
        log.warning("the server did something else than was ordered: %.300s", other)


def _field_faults(body: Mapping[str, Any]) -> str:
    """FastAPI's list of invalid fields, as one sentence."""
    faults = [mapping(fault) for fault in sequence(body.get("detail"))]
    return "; ".join(f"{'.'.join(map(str, sequence(fault.get('loc'))))}: {text(fault.get('msg'))}" for fault in faults)
