"""``/batches``: many operations in one call, carried out later."""

from .. import problems, rules, shape
from ..batches import MAX_OPEN, Batch, batch_view, look
from ..routing import page_of, route

_OPERATIONS = shape.obj(
    ("operations",),
    operations={
        "type": "array",
        "items": shape.obj(
            ("method", "path"),
            method=shape.choice("GET", "POST", "PUT", "PATCH", "DELETE"),
            path=shape.STRING,
            params={"type": "object"},
            body=shape.STRING,
            operation_id=shape.STRING,
        ),
    },
)


@route("GET", "/batches")
def get_batches(request):
    account = request.account
    look(account)
    found = list(account.batches.values())
    return {
        "batches": [batch_view(b, request.base_url) for b in page_of(found, request)],
        "total_items": len(found),
    }


@route("POST", "/batches")
def add_batch(request):
    account = request.account
    rules.check_shape(_OPERATIONS, request.body)
    operations = request.body["operations"]
    if not operations:
        raise problems.schema(("operations", "Array contains no items"))
    if len(operations) > account.switches.max_operations:
        limit = account.switches.max_operations
        raise problems.schema(("operations", f"Array contains more than {limit} items"))
    if sum(b.status != "finished" for b in account.batches.values()) >= MAX_OPEN:
        raise problems.too_many_batches()
    batch = Batch(
        account, account.new_id(), operations, account.clock.exact(), request.ip
    )
    account.batches[batch.id] = batch
    return batch_view(batch, request.base_url)


def _find(request, batch_id):
    batch = request.account.batches.get(batch_id)
    if batch is None:
        raise problems.not_found()
    return batch


@route("GET", "/batches/{batch_id}")
def get_batch(request, batch_id):
    look(request.account)
    return batch_view(_find(request, batch_id), request.base_url, fresh=True)


@route("DELETE", "/batches/{batch_id}")
def delete_batch(request, batch_id):
    """Stop a batch; what was done stays done, the results are lost."""
    del request.account.batches[_find(request, batch_id).id]
