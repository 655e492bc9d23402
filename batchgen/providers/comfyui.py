"""ComfyUI on the operator's own GPU.

Written from the page "Routes" (docs.comfy.org/development/comfyui-server/comms_routes) and from the server itself:
`server.py`, `execution.py` and `comfy_execution/jobs.py` (commits 002c3fb9, 04e2a914, 172be438); older servers from
`server.py` of commit 005f3ba4.

`POST /prompt` takes a workflow and a `prompt_id` of ours, a canonical UUID made from the order's key, so that an order
whose answer was lost is found again. Older servers mint their own id; they keep our key in `extra_data`, which queue
and history show. Both are in the server's memory: a job that is in neither is gone. A job is cancelled by its id with
`POST /api/jobs/{id}/cancel`. On servers without that route it is removed from `/queue`, or interrupted if it runs: the
oldest servers stop whatever runs, so `/interrupt` is sent only while that is our job (issue 2566).

The server caches the results of nodes and does not repeat them. Without a `client_id`, cached results are missing in
the history (pull request 14939), and a cached result may name a file that has been removed. So each order has a
`client_id` and file names of its own, and is made again if the picture is missing.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import SecretStr

from batchgen.errors import OutcomeUnknown, ProviderBusy, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.order_state import NOT_CHARGED, OPEN, OVER
from batchgen.providers.base import ImageRequest, RemoteImage, Settlement
from batchgen.providers.comfyui_answers import (
    Entry,
    address_of,
    body_of,
    code_of,
    extra_data_of,
    failed_outputs,
    faults_in,
    has_moving_pictures,
    job_id_of,
    messages_of,
    missing_file,
    names_in,
    picture_in,
    refusal_of,
    times_of,
    was_cached,
    workflow_of,
)
from batchgen.providers.http.client import Answer, mapping, sequence, text, whole_number
from batchgen.providers.http.own_server import OwnServerApi
from batchgen.providers.model_file_names import or_near, same_name
from batchgen.providers.out_of_memory import is_out_of_memory
from batchgen.providers.workflow import (
    MissingInput,
    class_names,
    default_workflow,
    filled,
    is_workflow,
    last_nodes,
    marked,
    saving_nodes,
)

T = TypeVar("T")
log = logging.getLogger(__name__)

LOCAL_URL = "http://127.0.0.1:8188"
ORDER_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.3
LONGEST_PAUSE_SECONDS = 5.0
LONGEST_BUSY_SECONDS = 60.0
"""Of a wait during which the item keeps its slot."""
SILENCE_SECONDS = 120.0
"""How long a server may give no valid answer while a job is waited for."""
LOOKS_AFTER_SECONDS = (0.2, 1.0, 3.0)
"""Pauses before asking a server that did not answer an order."""
RECENT_JOBS = 100
"""Of the history, which is searched for jobs whose ids the server minted."""
KEY = "batchgen_key"
REPEATED = "batchgen_repeated"
"""In `extra_data` of an order that follows a failed one."""
JOB_LOST = "job_lost"
LOOKS_FOR_A_FILE_SECONDS = (0.0, 0.5, 2.0)
GONE = frozenset({400, 403, 404, 410})
"""The answers of `/view` for a file that is gone."""
REMEMBERED_JOBS = 1000
LONGEST_HINT = 200
_NAMESPACE = uuid.UUID("6f1a2a52-6f0f-5d6c-9a55-0a7a3a1d9a11")


class ComfyUIProvider:
    """Pictures from a workflow. Nothing is charged, so that a lost job is made again.

    `inputs["workflow"]` is the workflow with placeholders (`batchgen.providers.workflow`), the other inputs fill them,
    and `inputs["output_node"]` names the node whose picture counts if several nodes save one. Without a workflow the
    request's model is a checkpoint file for the default one. `key`: for a proxy that requires a token.
    """

    name = "comfyui"

    def __init__(
        self,
        *,
        base_url: str = LOCAL_URL,
        key: SecretStr | None = None,
        order_seconds: float = ORDER_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._api = OwnServerApi(base_url, service=self.name, key=key)
        self._order_seconds = order_seconds
        self._silence_seconds = silence_seconds
        self._sleep = sleep
        self._clock = clock or _loop_time
        self._left_out: dict[str, ProviderRejected] = {}
        """The errors of nodes that the server left out of jobs that it accepted."""
        self._handed_over: dict[str, str] = {}
        """The addresses of the pictures that `wait` has returned, by job."""

    async def submit(self, request: ImageRequest) -> str:
        """Queue the workflow. If the answer is lost, ask the server whether it has the job."""
        nodes = _nodes(request)
        try:
            answer = await self._ordered(nodes, request)
            if answer.status != 400:
                return await self._accepted(answer, nodes, request)
            renamed, hint = await self._with_the_servers_names(nodes, body_of(answer))
            if renamed is None:
                raise self._refused(answer, hint)
            return await self._accepted(await self._ordered(renamed, request), renamed, request)
        except OutcomeUnknown as error:
            if (job_id := await self._look_for(request, error)) is not None:
                return job_id
            # The server was asked and has no such job, so the order's outcome is known.
            code = "provider_unavailable" if error.code == "outcome_unknown" else error.code
            raise ProviderUnavailable(str(error), code=code) from error

    async def find(self, request: ImageRequest) -> str | None:
        """The job with our id, or with our key among the queued, running and latest finished jobs."""
        job_id, key = _prompt_id(request), _key(request)
        if await self._entry(job_id) is not None:
            return job_id
        queued, running = await self._queue()
        recent = await self._object("/history", params={"max_items": RECENT_JOBS})
        finished = [sequence(mapping(entry).get("prompt")) for entry in recent.values()]
        return next((_id_of(job) for job in (*queued, *running, *finished) if _is_ours(job, job_id, key)), None)

    async def wait(self, job_id: str, request: ImageRequest) -> RemoteImage:
        """Ask until the job is over. A failed question says nothing about the job and is asked again."""
        pauses, last_answer = _pauses(request.estimated_seconds), self._clock()
        while True:
            pause, entry = next(pauses), None
            try:
                entry = await self._finished(job_id)
                last_answer = self._clock()
            except ProviderBusy as busy:
                if busy.retry_after_seconds > LONGEST_BUSY_SECONDS:
                    raise  # the item keeps its job, and frees its slot meanwhile
                pause = max(pause, busy.retry_after_seconds)
            except ProviderUnavailable as error:
                if error.code == JOB_LOST:
                    raise
                if self._clock() - last_answer > self._silence_seconds:
                    error.order = error.order.merge(OPEN)  # its state is unknown: the next attempt asks for it again
                    raise
            if entry is not None:
                return await self._delivered(job_id, entry, request)
            await self._sleep(pause)

    async def settle(self, job_id: str, request: ImageRequest) -> Settlement:
        """What the server still knows; a job that it no longer knows is over."""
        entry = await self._entry(job_id)
        if entry is None and await self._is_queued_or_runs(job_id):
            return Settlement(OPEN)
        if entry is None:
            return Settlement(NOT_CHARGED)
        try:
            picture = self._picture(job_id, entry, request)
        except ProviderError:
            picture = None
        return Settlement(NOT_CHARGED.merge(times_of(entry)), picture)

    async def cancel(self, job_id: str) -> None:
        """Remove the job from the queue or stop it; an ended or unknown job is left alone."""
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
        """Look for the job a few times. Raises `OutcomeUnknown` if the server does not answer these either."""
        for pause in LOOKS_AFTER_SECONDS:
            await self._sleep(pause)
            try:
                return await self.find(request)
            except (ProviderUnavailable, ProviderBusy):
                continue
        raise lost

    async def _finished(self, job_id: str) -> Entry | None:
        """The finished job; None while it waits or runs. Raises `job_lost` if the server does not know it."""
        entry = await self._entry(job_id)
        if entry is None and not await self._is_queued_or_runs(job_id):
            entry = await self._entry(job_id)  # it may have ended between the two questions
            if entry is None:
                what = f"{self.name} no longer knows the job {job_id}; was it restarted?"
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
        """The queued and the running jobs, each as (number, id, workflow, extra data, …)."""
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
            raise self._api.error_of(answer, refusal_of(body_of(answer)))
        return answer

    async def _ordered(self, nodes: Mapping[str, Any], request: ImageRequest) -> Answer:
        return await self._api.order("/prompt", _order(nodes, request), seconds=self._order_seconds, most_bytes=2**20)

    async def _accepted(self, answer: Answer, nodes: Mapping[str, Any], request: ImageRequest) -> str:
        """The id of the job. If the server runs no node that saves the picture, cancel the job and raise."""
        if not answer.is_success:
            raise self._refused(answer)
        body = body_of(answer)
        job_id = job_id_of(body.get("prompt_id"))
        if not job_id:
            raise OutcomeUnknown(f"{self.name} accepted an order without giving its id.", code="provider_garbage")
        if mapping(body.get("node_errors")):
            what = self._api.message("leaves out a part of the workflow", refusal_of(body).message)
            refused = ProviderRejected(what, code=_code_of_a_part(body))
            if not _can_save(nodes, failed_outputs(body), text(request.inputs.get("output_node"))):
                with suppress(ProviderError):
                    await self.cancel(job_id)
                raise refused
            _remember(self._left_out, job_id, refused)
        return job_id

    async def _with_the_servers_names(
        self, nodes: Mapping[str, Any], body: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any] | None, str]:
        """The refused workflow with this server's spelling of file names; None and a hint if it lacks a file."""
        renamed, can_be_mended = dict(nodes), False
        for node_id, node in mapping(body.get("node_errors")).items():
            for fault in sequence(mapping(node).get("errors")):
                name = missing_file(mapping(fault))
                wanted = text(mapping(mapping(renamed.get(node_id)).get("inputs")).get(name))
                if not name or not wanted:
                    return None, ""
                known = await self._known_files(mapping(fault), text(renamed[node_id].get("class_type")), name)
                found = same_name(wanted, known)
                if found is None or found == wanted:
                    return None, f"it does not have {wanted}; {or_near(wanted, known)}"
                renamed[node_id] = {**renamed[node_id], "inputs": {**renamed[node_id]["inputs"], name: found}}
                can_be_mended = True
        return (renamed, "") if can_be_mended else (None, "")

    async def _known_files(self, fault: Mapping[str, Any], node_class: str, name: str) -> list[str]:
        """The allowed values of the input. Newer servers leave long lists out of the refusal."""
        known = names_in(mapping(fault.get("extra_info")).get("input_config"))
        if known:
            return known
        try:
            answer = await self._object(f"/object_info/{quote(node_class.encode('utf-8', 'replace'), safe='')}")
        except ProviderError:
            return []  # it only improves the message or the spelling
        inputs = mapping(mapping(answer.get(node_class)).get("input"))
        return names_in({**mapping(inputs.get("optional")), **mapping(inputs.get("required"))}.get(name))

    def _refused(self, answer: Answer, hint: str = "") -> ProviderError:
        body = body_of(answer)
        refusal = refusal_of(body)
        if answer.status != 400 or "error" not in body:
            return self._api.error_of(answer, refusal)
        words = f"{hint[:LONGEST_HINT]}. {refusal.message}" if hint else refusal.message
        return ProviderRejected(self._api.message("refuses the workflow", words), code=code_of(body))

    async def _delivered(self, job_id: str, entry: Entry, request: ImageRequest) -> RemoteImage:
        """The picture. At the second call the first fetch has failed: if the file is gone, the job is over."""
        picture = self._picture(job_id, entry, request)
        if self._handed_over.get(job_id) == picture.url and await self._is_gone(picture.url):
            del self._handed_over[job_id]
            what = f"{self.name} has the job {job_id} in its history, but its file is gone; it is made again."
            raise ProviderUnavailable(what, code="link_expired", is_provider_fault=False)
        _remember(self._handed_over, job_id, picture.url)
        if (refused := self._left_out.get(job_id)) is not None:
            log.warning("accepting the picture of a job that ran only in part: %s", refused)
        return picture

    async def _is_gone(self, url: str) -> bool:
        """Ask for the file a few times: a server that misses it once may find it a moment later."""
        for pause in LOOKS_FOR_A_FILE_SECONDS:
            await self._sleep(pause)
            try:
                answer = await self._api.ask(
                    "GET", url.removeprefix(self._api.base_url), headers={"Range": "bytes=0-0"}
                )
            except ProviderUnavailable:
                return False  # the answer is longer than a question allows: the file is there
            if answer.status not in GONE:
                return False
        return True

    def _picture(self, job_id: str, entry: Entry, request: ImageRequest) -> RemoteImage:
        """The picture's address. Raises how the job ended if it made none."""
        self._raise_what_went_wrong(entry)
        wanted, nodes = text(request.inputs.get("output_node")), workflow_of(entry)
        takes_previews = job_id not in self._left_out and not _saves(nodes or _nodes(request), wanted)
        image = picture_in(mapping(entry.get("outputs")), wanted, takes_previews=takes_previews)
        if image is None:
            raise self._no_picture(job_id, entry, request)
        self._check_models(nodes, request)
        return RemoteImage(
            self._api.base_url + address_of(image),
            self._api.authorization,
            seed=whole_number(request.inputs.get("seed", request.seed)),
            order=OVER.merge(times_of(entry)),
        )

    def _no_picture(self, job_id: str, entry: Entry, request: ImageRequest) -> ProviderError:
        if (refused := self._left_out.get(job_id)) is not None:
            return refused
        if was_cached(entry) and not extra_data_of(entry).get(REPEATED):
            what = f"{self.name} answered the job {job_id} from its cache and lists no picture; it is made again."
            return ProviderUnavailable(what, code="no_image", is_provider_fault=False)
        if has_moving_pictures(mapping(entry.get("outputs"))):
            what = f"{self.name} ran the workflow, which saved a video, a sound or a model but no still picture."
            return ProviderRejected(what, code="no_image")
        nodes = workflow_of(entry) or _nodes(request)
        wanted = text(request.inputs.get("output_node"))
        found = [wanted] if wanted in nodes else saving_nodes(nodes) or last_nodes(nodes)
        named = ", ".join(class_names(nodes, found))[:LONGEST_HINT]
        if wanted and wanted not in nodes:
            return ProviderRejected(f"The workflow has no node {wanted[:LONGEST_HINT]} (output_node).", code="no_image")
        words = f"it ends in {named}; a SaveImage node is needed"
        return ProviderRejected(self._api.message("ran the workflow, which lists no picture", words), code="no_image")

    def _check_models(self, ran: Mapping[str, Any], request: ImageRequest) -> None:
        """Raises `wrong_model` if the history shows another file than the ordered one."""
        for node_id, node in _nodes(request).items() if ran else ():
            inputs = mapping(mapping(ran.get(node_id)).get("inputs"))
            for name in ("ckpt_name", "unet_name"):
                wanted, found = text(mapping(node.get("inputs")).get(name)), text(inputs.get(name))
                if wanted and found and same_name(wanted, [found]) is None:
                    words = f"{found} instead of {wanted}"
                    raise ProviderUnavailable(
                        self._api.message("took another model", words), code="wrong_model", is_provider_fault=False
                    )

    def _raise_what_went_wrong(self, entry: Entry) -> None:
        messages = messages_of(entry)
        if "execution_interrupted" in messages:
            what = f"{self.name} was told to stop before the picture was finished."
            raise ProviderUnavailable(what, code="job_cancelled", is_provider_fault=False)
        if "execution_error" in messages or mapping(entry.get("status")).get("status_str") == "error":
            error = messages.get("execution_error", {})
            words, kind = text(error.get("exception_message")), text(error.get("exception_type"))
            node = text(error.get("node_type"))[:LONGEST_HINT] or "the workflow"
            what = self._api.message(f"failed in {node}", words or kind)
            code = "out_of_memory" if is_out_of_memory(kind, words) else "job_failed"
            raise ProviderUnavailable(what, code=code)


def _nodes(request: ImageRequest) -> Mapping[str, Any]:
    """The workflow with its inputs. Raises `workflow_invalid`."""
    known = {"model": request.model, "prompt": request.prompt, "seed": request.seed}
    inputs = {**{name: value for name, value in known.items() if value is not None}, **request.inputs}
    workflow = inputs.get("workflow") or default_workflow()
    if not is_workflow(workflow):
        what = "The model's workflow is not in ComfyUI's API format; export it with the menu “Export (API)”."
        raise ProviderRejected(what, code="workflow_invalid")
    try:
        return filled(workflow, inputs)
    except MissingInput as error:
        what = f"The model's workflow needs an input {error.name}, which its row does not provide."
        raise ProviderRejected(what, code="workflow_invalid") from error


def _order(nodes: Mapping[str, Any], request: ImageRequest) -> Mapping[str, Any]:
    """The order's body. It has file names of its own; after a failed order, nodes without a name are marked as well."""
    job_id, is_repeated = _prompt_id(request), request.retry_count > 0
    extra_data = {KEY: _key(request), **({REPEATED: True} if is_repeated else {})}
    prompt = marked(nodes, job_id[:8], also_unnamed=is_repeated)
    return {"prompt": prompt, "prompt_id": job_id, "client_id": job_id, "extra_data": extra_data}


def _saves(nodes: Mapping[str, Any], wanted: str) -> bool:
    """Whether the workflow saves its picture, so that a preview does not count."""
    saving = saving_nodes(nodes) if is_workflow(nodes) else []
    return wanted in saving if wanted else bool(saving)


def _can_save(nodes: Mapping[str, Any], failed: frozenset[str], wanted: str) -> bool:
    """Whether a node remains that may save the picture."""
    if wanted:
        return wanted not in failed
    left = {*saving_nodes(nodes), *last_nodes(nodes)}.difference(failed)
    return any("preview" not in name.lower() for name in class_names(nodes, left))


def _code_of_a_part(body: Mapping[str, Any]) -> str:
    """The code for a node that cannot run: a file is missing or the workflow is wrong, never a choice of the user."""
    is_file = any(missing_file(fault) for _, fault in faults_in(body))
    return "model_not_found" if is_file else "workflow_invalid"


def _remember(known: dict[str, T], job_id: str, what: T) -> None:
    known[job_id] = what
    while len(known) > REMEMBERED_JOBS:
        known.pop(next(iter(known)))


def _key(request: ImageRequest) -> str:
    return request.key or f"{request.generation_id}:{request.retry_count}"


def _prompt_id(request: ImageRequest) -> str:
    return str(uuid.uuid5(_NAMESPACE, _key(request)))


def _id_of(job: list[Any]) -> str:
    return text(job[1]) if len(job) > 1 else ""


def _is_ours(job: list[Any], job_id: str, key: str) -> bool:
    return _id_of(job) == job_id or (len(job) > 3 and mapping(job[3]).get(KEY) == key)


def _pauses(estimated_seconds: float | None) -> Iterator[float]:
    """Growing pauses, which start longer for a slow model."""
    pause = min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, (estimated_seconds or 0) / 20))
    while True:
        yield pause
        pause = min(LONGEST_PAUSE_SECONDS, pause * 1.3)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
