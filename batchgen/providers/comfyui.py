"""ComfyUI on one's own GPU.

Written from the page "Routes" (docs.comfy.org/development/comfyui-server/comms_routes) and from the server itself:
`server.py`, `execution.py` and `comfy_execution/jobs.py` (commits 002c3fb9, 04e2a914, 172be438); older servers from
`server.py` of commit 005f3ba4.

`POST /prompt` takes a workflow and a `prompt_id` of ours, a UUID in its canonical form, made from the purchase's key:
an order whose answer was lost is found again. Older servers mint their own id; they keep our key in `extra_data`,
which queue and history show. Both live in the server's memory: what is in neither is gone. A job is cancelled by its
id with `POST /api/jobs/{id}/cancel`. Where that does not exist yet it is taken out of `/queue`, or interrupted if it
runs: the oldest servers stop whatever runs then, so `/interrupt` is sent only while that is our job (issue 2566).
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from batchgen.errors import OutcomeUnknown, ProviderBusy, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.providers.base import ImageRequest, RemoteImage, Settlement
from batchgen.providers.exchange import Complaint, Exchange
from batchgen.providers.http_api import Answer, mapping, sequence, text, whole_number
from batchgen.providers.workflow import MissingInput, default_workflow, filled, is_workflow

LOCAL_URL = "http://127.0.0.1:8188"
ORDER_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.3
LONGEST_PAUSE_SECONDS = 5.0
LONGEST_BUSY_SECONDS = 60.0
"""Of a wait that the server asks for and that is worth keeping a place."""
PATIENCE_SECONDS = 120.0
"""How long a server may give no good answer while a job is waited for."""
LOOKS_AFTER_SECONDS = (0.2, 1.0, 3.0)
"""At a server that took an order and did not answer."""
RECENT_JOBS = 100
"""Of the history: where a job is looked for whose id the server has minted."""
KEY = "batchgen_key"
JOB_LOST = "job_lost"
_NAMESPACE = uuid.UUID("6f1a2a52-6f0f-5d6c-9a55-0a7a3a1d9a11")

Entry = Mapping[str, Any]
"""A finished job, as the history has it."""


class ComfyUIProvider:
    """Pictures from a workflow. Nothing is charged, so that a job that got lost is made again.

    `inputs["workflow"]` is the workflow with its holes (`batchgen.providers.workflow`), the other inputs fill them, and
    `inputs["output_node"]` names the node whose picture counts, where more than one saves one. Without a workflow the
    request's model is a checkpoint file for the default one. `key`: for a proxy before the server that wants a token.
    """

    name = "comfyui"

    def __init__(
        self,
        *,
        base_url: str = LOCAL_URL,
        key: SecretStr | None = None,
        order_seconds: float = ORDER_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._api = Exchange(base_url, service=self.name, key=key)
        self._order_seconds = order_seconds
        self._patience_seconds = patience_seconds
        self._sleep = sleep
        self._clock = clock or _loop_time

    async def submit(self, request: ImageRequest) -> str:
        """Queue the workflow. Where the answer is lost the server is asked whether it has the job."""
        try:
            answer = await self._api.buy("/prompt", _order(request), seconds=self._order_seconds, most_bytes=2**20)
            return self._id_in(answer)
        except OutcomeUnknown as error:
            if (job_id := await self._look_for(request, error)) is not None:
                return job_id
            raise ProviderUnavailable(str(error), code=error.code) from error

    async def find(self, request: ImageRequest) -> str | None:
        """The job with our id, or with our key among the queued, running and last finished ones."""
        job_id, key = _prompt_id(request), _key(request)
        if await self._entry(job_id) is not None:
            return job_id
        queued, running = await self._queue()
        recent = await self._object("/history", params={"max_items": RECENT_JOBS})
        finished = [sequence(mapping(entry).get("prompt")) for entry in recent.values()]
        return next((_id_of(job) for job in (*queued, *running, *finished) if _is_ours(job, job_id, key)), None)

    async def wait(self, job_id: str, request: ImageRequest) -> RemoteImage:
        """Ask until the job is over. One question without a good answer says nothing about it: it is asked again."""
        pauses, last_answer = _pauses(request.estimated_seconds), self._clock()
        while True:
            pause, entry = next(pauses), None
            try:
                entry = await self._finished(job_id)
                last_answer = self._clock()
            except ProviderBusy as busy:
                if busy.retry_after_seconds > LONGEST_BUSY_SECONDS:
                    raise  # the job stays known, and nobody holds a place for it meanwhile
                pause = max(pause, busy.retry_after_seconds)
            except ProviderUnavailable as error:
                if error.code == JOB_LOST:
                    raise
                if self._clock() - last_answer > self._patience_seconds:
                    error.is_job_over = False  # nothing was heard of it: the next attempt asks for it again
                    raise
            if entry is not None:
                return self._picture(entry, request)
            await self._sleep(pause)

    async def settle(self, job_id: str, request: ImageRequest) -> Settlement:
        """What the server still knows; a job that it has forgotten is over."""
        entry = await self._entry(job_id)
        if entry is None and await self._is_queued_or_runs(job_id):
            return Settlement(is_over=False)
        if entry is None:
            return Settlement(is_over=True, is_charged=False)
        queued_seconds, running_seconds = _times(entry)
        try:
            picture = self._picture(entry, request)
        except ProviderError:
            picture = None
        return Settlement(True, False, picture, queued_seconds, running_seconds)

    async def cancel(self, job_id: str) -> None:
        """Take the job out of the queue or stop it; one that ended or is unknown is left alone."""
        answer = await self._api.ask("POST", f"/api/jobs/{quote(job_id, safe='')}/cancel")
        if not answer.is_success:
            await self._cancel_at_an_older_server(job_id)

    async def aclose(self) -> None:
        await self._api.aclose()

    async def _cancel_at_an_older_server(self, job_id: str) -> None:
        self._checked(await self._api.ask("POST", "/queue", json={"delete": [job_id]}))
        _, running = await self._queue()
        if any(_id_of(job) == job_id for job in running):
            self._checked(await self._api.ask("POST", "/interrupt", json={"prompt_id": job_id}))

    async def _look_for(self, request: ImageRequest, lost: OutcomeUnknown) -> str | None:
        """A few looks. A server that does not answer these either has told nothing."""
        for pause in LOOKS_AFTER_SECONDS:
            await self._sleep(pause)
            try:
                return await self.find(request)
            except (ProviderUnavailable, ProviderBusy):
                continue
        raise lost

    async def _finished(self, job_id: str) -> Entry | None:
        """The job's end; None while it waits or runs. Raises `job_lost` where the server does not know it."""
        entry = await self._entry(job_id)
        if entry is None and not await self._is_queued_or_runs(job_id):
            entry = await self._entry(job_id)  # it may have ended between the two questions
            if entry is None:
                what = f"{self.name} does not know the job {job_id} any more; was it started anew?"
                raise ProviderUnavailable(what, code=JOB_LOST, is_provider_fault=False)
        return entry

    async def _entry(self, job_id: str) -> Entry | None:
        entry = (await self._object(f"/history/{quote(job_id, safe='')}")).get(job_id)
        if entry is not None and not mapping(entry):
            raise self._api.garbage()
        return mapping(entry) or None

    async def _is_queued_or_runs(self, job_id: str) -> bool:
        queued, running = await self._queue()
        return any(_id_of(job) == job_id for job in (*queued, *running))

    async def _queue(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """The jobs that wait and those that run, each as (number, id, workflow, extra data, …)."""
        body = await self._object("/queue")
        lists = body.get("queue_pending"), body.get("queue_running")
        if not all(isinstance(part, list) for part in lists):
            raise self._api.garbage()
        queued, running = ([sequence(job) for job in sequence(part)] for part in lists)
        return queued, running

    async def _object(self, path: str, **more: Any) -> Mapping[str, Any]:
        answer = self._checked(await self._api.ask("GET", path, **more))
        body = await asyncio.to_thread(answer.as_object)
        if body is None:
            raise self._api.garbage()
        return body

    def _checked(self, answer: Answer) -> Answer:
        if not answer.is_success:
            raise self._api.refusal(answer, _complaint(answer))
        return answer

    def _id_in(self, answer: Answer) -> str:
        if not answer.is_success:
            raise self._refused(answer)
        job_id = text(mapping(answer.as_object()).get("prompt_id"))
        if not job_id:
            raise OutcomeUnknown(f"{self.name} took an order without saying under which id.", code="provider_garbage")
        return job_id

    def _refused(self, answer: Answer) -> ProviderError:
        body, complaint = mapping(answer.as_object()), _complaint(answer)
        if answer.status != 400 or "error" not in body:
            return self._api.refusal(answer, complaint)
        code = "model_not_found" if _lacks_a_model(body) else "invalid_input"
        if complaint.codes & {"missing_node_type", "invalid_prompt", "prompt_no_outputs", "no_prompt"}:
            code = "workflow_invalid"
        return ProviderRejected(self._api.says("refuses the workflow", complaint), code=code)

    def _picture(self, entry: Entry, request: ImageRequest) -> RemoteImage:
        """Where the picture is. Raises what the job ended with, where it made none."""
        self._raise_what_went_wrong(entry)
        image = _image(mapping(entry.get("outputs")), text(request.inputs.get("output_node")))
        if image is None:
            raise ProviderRejected(f"{self.name} ran the workflow, which saved no picture.", code="no_image")
        query = "&".join(
            f"{name}={quote(text(image.get(name)), safe='')}" for name in ("filename", "subfolder", "type")
        )
        queued, running = _times(entry)
        return RemoteImage(
            f"{self._api.base_url}/view?{query}",
            self._api.authorization,
            seed=whole_number(request.inputs.get("seed", request.seed)),
            queued_seconds=queued,
            running_seconds=running,
        )

    def _raise_what_went_wrong(self, entry: Entry) -> None:
        messages = _messages(entry)
        if "execution_interrupted" in messages:
            what = f"{self.name} was told to stop before the picture was finished."
            raise ProviderUnavailable(what, code="job_cancelled", is_provider_fault=False)
        if "execution_error" in messages or mapping(entry.get("status")).get("status_str") == "error":
            error = messages.get("execution_error", {})
            words = text(error.get("exception_message"))
            is_memory = "outofmemory" in text(error.get("exception_type")).lower() or "out of memory" in words.lower()
            what = self._api.says(f"failed in {text(error.get('node_type')) or 'the workflow'}", Complaint(words))
            raise ProviderUnavailable(what, code="out_of_memory" if is_memory else "job_failed")


def _order(request: ImageRequest) -> Mapping[str, Any]:
    known = {"model": request.model, "prompt": request.prompt, "seed": request.seed}
    inputs = {**{name: value for name, value in known.items() if value is not None}, **request.inputs}
    workflow = inputs.get("workflow") or default_workflow()
    if not is_workflow(workflow):
        what = "The model's workflow is not in ComfyUI's API format; its menu writes it as “Export (API)”."
        raise ProviderRejected(what, code="workflow_invalid")
    try:
        nodes = filled(workflow, inputs)
    except MissingInput as error:
        what = f"The model's workflow needs an input {error.name}, which its row does not provide."
        raise ProviderRejected(what, code="workflow_invalid") from error
    return {"prompt": nodes, "prompt_id": _prompt_id(request), "extra_data": {KEY: _key(request)}}


def _key(request: ImageRequest) -> str:
    return request.key or f"{request.generation_id}:{request.retry_count}"


def _prompt_id(request: ImageRequest) -> str:
    return str(uuid.uuid5(_NAMESPACE, _key(request)))


def _id_of(job: list[Any]) -> str:
    return text(job[1]) if len(job) > 1 else ""


def _is_ours(job: list[Any], job_id: str, key: str) -> bool:
    return _id_of(job) == job_id or (len(job) > 3 and mapping(job[3]).get(KEY) == key)


def _complaint(answer: Answer) -> Complaint:
    """What a refused workflow lacks: the details of each node before the general sentence."""
    body = mapping(answer.as_object())
    error = mapping(body.get("error"))
    faults = [
        fault for node in mapping(body.get("node_errors")).values() for fault in sequence(mapping(node).get("errors"))
    ]
    words = [f"{text(mapping(fault).get('message'))} ({text(mapping(fault).get('details'))})" for fault in faults]
    message = "; ".join(words) or text(error.get("message")) or text(body.get("error"))
    return Complaint(message, codes=frozenset({text(error.get("type"))}))


def _lacks_a_model(body: Mapping[str, Any]) -> bool:
    """Whether a file that the workflow loads is not among those that the server has."""
    for node in mapping(body.get("node_errors")).values():
        for fault in sequence(mapping(node).get("errors")):
            name = text(mapping(mapping(fault).get("extra_info")).get("input_name"))
            if mapping(fault).get("type") == "value_not_in_list" and name.endswith("_name") and "sampler" not in name:
                return True
    return False


def _image(outputs: Mapping[str, Any], wanted_node: str) -> Mapping[str, Any] | None:
    """The first saved picture, of the wanted node or of any; a preview where nothing was saved."""
    nodes = [outputs.get(wanted_node)] if wanted_node else list(outputs.values())
    images = [mapping(image) for node in nodes for image in sequence(mapping(node).get("images"))]
    images = [image for image in images if text(image.get("filename"))]
    saved = [image for image in images if image.get("type") == "output"]
    return next(iter(saved or images), None)


def _messages(entry: Entry) -> Mapping[str, Mapping[str, Any]]:
    """What happened to the job, by the event's name."""
    pairs = [sequence(pair) for pair in sequence(mapping(entry.get("status")).get("messages"))]
    return {text(pair[0]): mapping(pair[1]) for pair in pairs if len(pair) > 1}


def _times(entry: Entry) -> tuple[float | None, float | None]:
    """The seconds that the job waited and ran, as far as the server tells."""
    messages, prompt = _messages(entry), sequence(entry.get("prompt"))
    created = whole_number(mapping(prompt[3]).get("create_time")) if len(prompt) > 3 else None
    started = whole_number(messages.get("execution_start", {}).get("timestamp"))
    ends = ("execution_success", "execution_error", "execution_interrupted")
    ended = next((whole_number(messages[name].get("timestamp")) for name in ends if name in messages), None)
    return _seconds_between(created, started), _seconds_between(started, ended)


def _seconds_between(first: int | None, last: int | None) -> float | None:
    return None if first is None or last is None else max(0.0, (last - first) / 1000)


def _pauses(estimated_seconds: float | None) -> Iterator[float]:
    """Short at first, then growing; for a slow model they begin longer."""
    pause = min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, (estimated_seconds or 0) / 20))
    while True:
        yield pause
        pause = min(LONGEST_PAUSE_SECONDS, pause * 1.3)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
