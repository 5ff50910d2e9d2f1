"""What the tests of single members send, and the words they are refused with."""

import hashlib

VALIDATED = (
    "The resource submitted could not be validated. For field-specific details, see "
    "the 'errors' array."
)
COMPLIANCE = (
    "{} is in a compliance state due to unsubscribe, bounce, or compliance review and "
    "cannot be subscribed."
)
FORGOTTEN = (
    "{} was permanently deleted and cannot be re-imported. The contact must "
    "re-subscribe to get back on the list."
)
ANN = "ann@firma.be"


def md5(email):
    return hashlib.md5(email.lower().encode(), usedforsecurity=False).hexdigest()


def path(audience, email=ANN):
    return f"/lists/{audience.id}/members/{md5(email)}"


def new(email=ANN, status="subscribed", **values):
    return {"email_address": email, "status": status, **values}


def put(email=ANN, status="subscribed", **values):
    return {"email_address": email, "status_if_new": status, **values}


def problem(data):
    return data["status"], data["title"], data["detail"]


def leave(audience, how):
    audience.add_member(ANN)
    {
        "unsubscribe": lambda: audience.unsubscribe(ANN),
        "complaint": lambda: audience.complain(ANN),
        "bounce": lambda: audience.bounce(ANN),
    }[how]()
