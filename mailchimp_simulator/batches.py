"""How batches progress, what they did, and the archive of their results.

Nothing runs in the background: any API call lets batches catch up with the clock or,
with a switch, only a call that reads batches moves them on.
"""

import io
import json
import tarfile
from dataclasses import dataclass, field

from . import problems
from .routing import Request, match, shaped
from .state import hash_of, iso

MAX_OPEN = 500
STEPS = ("pending", "preprocessing", "started", "finalizing", "finished")


@dataclass(eq=False)
class Batch:
    account: object
    id: str
    operations: list
    submitted_at: float
    ip: str
    status: str = "pending"
    #: When the present status began.
    since: float = 0
    completed_at: float = 0
    finished: int = 0
    errored: int = 0
    #: ``{status_code, operation_id, response}`` of every operation done.
    results: list = field(default_factory=list)
    #: Secret part of the result URL -> when it expires.
    tokens: dict = field(default_factory=dict)


def batch_view(batch, base_url, fresh=False):
    """Return a batch as the API shows it.

    :param fresh: make a new result URL, as a GET of the batch does.
    """
    url = ""
    if batch.status == "finished":
        url = _result_url(batch, base_url, fresh)
    pending = batch.status == "pending"
    return {
        "id": batch.id,
        "status": batch.status,
        "total_operations": 0 if pending else len(batch.operations),
        "finished_operations": batch.finished,
        "errored_operations": batch.errored,
        "submitted_at": iso(int(batch.submitted_at)),
        "completed_at": iso(int(batch.completed_at)),
        "response_body_url": url,
    }


def _result_url(batch, base_url, fresh):
    account = batch.account
    now = account.clock.exact()
    if now > batch.completed_at + account.switches.result_seconds:
        return ""
    token = next((t for t, until in batch.tokens.items() if until > now), None)
    if fresh or token is None:
        token = hash_of(f"{batch.id}:{len(batch.tokens)}:{account.id}")
        batch.tokens[token] = now + account.switches.result_url_seconds
    root = base_url.removesuffix("/3.0")
    return f"{root}/batch-results/{batch.id}/{token}-response.tar.gz"


def look(account, polled=True):
    """Move batches on.

    :param polled: the call reads batches (False: any other call).
    """
    by_time = account.switches.batch_progress == "time"
    if not by_time and not polled:
        return
    now = account.clock.exact()
    free_from = None
    for batch in list(account.batches.values()):
        if batch.status == "finished":
            free_from = max(free_from or 0, batch.completed_at)
            continue
        if not by_time:
            _step(account, batch, now)
            return
        # Only one batch of an account runs at a time.
        if not batch.since:
            batch.since = max(batch.submitted_at, free_from or 0)
        step = account.switches.batch_step_seconds
        while batch.status != "finished" and now >= batch.since + step:
            _step(account, batch, batch.since + step)
        if batch.status != "finished":
            return
        free_from = batch.completed_at


def _step(account, batch, when):
    if batch.status == "started":
        _work(account, batch)
    batch.status = STEPS[STEPS.index(batch.status) + 1]
    batch.since = when
    if batch.status == "started":
        # Half of the operations now, the rest when the step ends.
        _work(account, batch, (len(batch.operations) + 1) // 2)
    elif batch.status == "finished":
        batch.completed_at = when


def _work(account, batch, until=None):
    todo = batch.operations[batch.finished : until]
    for operation in todo:
        status, data = _run(account, batch, operation)
        batch.results.append(
            {
                "status_code": status,
                "operation_id": operation.get("operation_id"),
                "response": json.dumps(data) if data is not None else "",
            }
        )
        batch.finished += 1
        batch.errored += status >= 400


def _run(account, batch, operation):
    """Run one operation, checked like a direct call. :return: (status, data)."""
    query = {k: _query_text(v) for k, v in (operation.get("params") or {}).items()}
    path, _mark, _rest = operation["path"].partition("?")
    request = Request(account, operation["method"], path, query, ip=batch.ip)
    try:
        if path.strip("/").startswith("batches"):
            raise problems.bad_request("A batch cannot contain batches.")
        found, values = match(request.method, path)
        request.template = found.template
        request.body = _body(operation.get("body"))
        data = found.handler(request, **values)
    except problems.Problem as problem:
        return problem.status, problem.body("", account.switches.problems_have_type)
    return (204, None) if data is None else (200, shaped(data, query))


def _query_text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _body(text):
    if not text:
        return {}
    try:
        body = json.loads(text)
    except ValueError:
        raise problems.json_parse() from None
    if not isinstance(body, dict):
        raise problems.json_parse()
    return body


def archive(batch, per_file):
    """Return the results as a gzipped tar: a directory entry and several files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:
        folder = tarfile.TarInfo(f"./{batch.id}")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
        # The service promises no order.
        results = batch.results[::-1]
        for start in range(0, len(results), per_file):
            raw = json.dumps(results[start : start + per_file]).encode()
            entry = tarfile.TarInfo(f"./{batch.id}/{hash_of(f'{start}')[:12]}.json")
            entry.size = len(raw)
            tar.addfile(entry, io.BytesIO(raw))
    return stream.getvalue()
