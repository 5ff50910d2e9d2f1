"""Mailchimp's errors: a small vocabulary, and the one place that tells them apart.

Mailchimp words its messages in the language of the account, so errors are told apart
by HTTP status and title, then by field; the English text decides only where Mailchimp
gives nothing else (Mailchimp API reference, "Errors", and replies seen in public
code). An unknown text becomes ``Rejected`` with the code ``other``: the member waits
for a change, and nothing is concluded about its consent or its address.

``str(error)`` is one English line for logs, without secrets and without addresses;
``detail`` is Mailchimp's own text for the administrator. Messages for users belong to
the Odoo layer.
"""

import re
from collections.abc import Sequence
from typing import Any, TypeGuard

from .vocabulary import Json

DETAIL_LENGTH = 1000
FIELD_ERRORS = 20

#: What ``Rejected.code`` can be.
REJECTED_CODES = {
    "member_exists": "the address is on the audience already, in whatever status",
    "compliance": "unsubscribed, bounced or complained: only the person can return",
    "forgotten": "permanently deleted: can never be imported again",
    "fake": "looks like a made-up address or a throw-away domain",
    "invalid_address": "not an e-mail address",
    "too_many_signups": "the person signed up to many lists: passes after some days",
    "merge_fields": "a required merge field is missing or a value has the wrong form",
    "not_archivable": "the member to archive is pending, cleaned or archived: look",
    "interest_gone": "a group was deleted in Mailchimp",
    "interest_limit": "the audience has the 60 groups it can have",
    "merge_field_limit": "the audience has all the merge fields its plan allows",
    "tag_exists": "the name of a new tag is taken",
    "address_change_status": "only subscribed members can change their address",
    "address_taken": "the new address of a member is another member's",
    "other": "anything else: see the detail",
}


class MailchimpError(Exception):
    """Something between us and Mailchimp went wrong.

    :param detail: Mailchimp's or our own explanation, in one or a few sentences
    :param status: HTTP status, ``None`` when there was no reply
    :param title: the title of Mailchimp's problem document
    :param request_id: the id by which Mailchimp's support can find the request
    :param field_errors: list of dicts with ``field`` and ``message``
    :param method: HTTP method, for the log
    :param path: path below ``/3.0``, for the log
    :param outcome_unknown: the request may have been carried out anyway: before
        repeating it, read what it was meant to change
    """

    def __init__(
        self,
        detail: Any = "",
        *,
        status: int | None = None,
        title: str = "",
        request_id: str | None = None,
        field_errors: Sequence[Json] = (),
        method: str | None = None,
        path: str | None = None,
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(detail)
        self.detail = _cut(detail)
        self.status = status
        self.title = _cut(title)
        self.request_id = request_id or None
        self.field_errors = [
            {"field": _cut(item.get("field")), "message": _cut(item.get("message"))}
            for item in list(field_errors)[:FIELD_ERRORS]
        ]
        self.method = method
        self.path = path
        self.outcome_unknown = outcome_unknown
        self.args = (str(self),)

    @property
    def words(self) -> str:
        """Mailchimp's explanation for people: its text, and which field and why.

        A text that only refers to the errors array is for programs and left out.
        """
        fields = "; ".join(
            ": ".join(part for part in (item["field"], item["message"]) if part)
            for item in self.field_errors
        )
        if not fields:
            return self.detail or self.title
        if not self.detail or "errors' array" in self.detail:
            return fields
        return _cut(f"{self.detail} {fields}")

    def __str__(self) -> str:
        where = " ".join(part for part in (self.method, self.path) if part)
        what = " ".join(str(part) for part in (self.status, self.title) if part)
        fields = "; ".join(
            f"{item['field']}: {item['message']}" for item in self.field_errors
        )
        parts = [where, what, self.detail, fields]
        line = " ".join(": ".join(part for part in parts if part).split())
        # More people can read a log than can read a contact.
        line = re.sub(r"[^\s\"'<>]+@[^\s\"'<>,;]+", "<address>", line)
        return _cut(line or type(self).__name__, 400)


class InvalidKey(MailchimpError):
    """The API key cannot be one of Mailchimp's; nothing was sent."""


class InvalidUrl(MailchimpError):
    """The base URL that replaces Mailchimp's is unusable; nothing was sent."""


class Retryable(MailchimpError):
    """Mailchimp is overloaded, down or out of reach: the same request may work later.

    :param after: seconds Mailchimp asks us to wait, or ``None``
    """

    def __init__(self, *args: Any, after: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.after = after


class AuthLost(MailchimpError):
    """A wrong or revoked key or token, or one for another data centre: work stops."""


class OtherAccount(MailchimpError):
    """The key or token opens a different Mailchimp account from the expected one.

    :param name: the name of the account it opens
    """

    def __init__(self, *args: Any, name: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.name = _cut(name)


class LoginRefused(MailchimpError):
    """Mailchimp refuses to issue or accept a token: the user has to log in again.

    :param code: Mailchimp's code for the reason, such as ``invalid_client``
    """

    def __init__(self, *args: Any, code: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.code = code


class Forbidden(MailchimpError):
    """The role of the key's user, the plan or the account's state does not allow it."""


class MemberForbidden(Forbidden):
    """It was about one member, and so may the reason be: others show whether it is."""


class NoRoom(Forbidden):
    """The plan has no room for more contacts; this says nothing about those sent."""


class NotFound(MailchimpError):
    """The audience, member or other object does not exist."""


class Protocol(MailchimpError):
    """The reply makes no sense: HTML, broken JSON, a redirect, too many bytes."""


class Rejected(MailchimpError):
    """Mailchimp refuses this request, and will again until something changes.

    :param code: one of :data:`REJECTED_CODES`
    :param member_status: with ``address_change_status`` and ``address_taken``, the
        status of the member that prevents the change, where Mailchimp gives it
    """

    def __init__(
        self,
        *args: Any,
        code: str = "other",
        member_status: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.code = code
        self.member_status = member_status
        super().__init__(*args, **kwargs)


#: Refusals of one item, which say nothing about any other.
REFUSED = (Rejected, Forbidden, NotFound)
#: No answer, or not a sensible one: the same request may work later.
PASSING = (Retryable, Protocol)

_SUBJECTS = {
    "members": "members",
    "interest-categories": "groups",
    "merge-fields": "fields",
    "segments": "tags",
    "batches": "members",
    "campaigns": "campaigns",
    "reports": "reports",
}


def subject(error: MailchimpError) -> str:
    """Return what the failed request was about.

    :return: ``account``, ``audience``, ``members``, ``groups``, ``fields``, ``tags``,
        ``campaigns`` or ``reports``
    """
    parts = (error.path or "").strip("/").split("/")
    if parts[0] != "lists":
        return _SUBJECTS.get(parts[0], "account")
    if len(parts) > 2:
        return _SUBJECTS.get(parts[2], "audience")
    # A batch subscribe is a POST on the audience itself.
    return "members" if len(parts) == 2 and error.method == "POST" else "audience"


_TITLES = {
    "member exists": "member_exists",
    "member in compliance state": "compliance",
    "forgotten email not subscribed": "forgotten",
    "merge max limit exceeded": "merge_field_limit",
}
# In this order: the first match decides.
_TEXTS = [
    (code, re.compile(pattern, re.IGNORECASE))
    for code, pattern in (
        ("member_exists", r"is already a list member"),
        ("compliance", r"is in a compliance state"),
        ("forgotten", r"was permanently deleted and cannot be re-?imported"),
        ("address_change_status", r"can only update email addresses for members"),
        ("address_taken", r"is already in this list with a status of"),
        ("interest_gone", r"invalid interest id"),
        ("interest_limit", r"cannot have more than \d+ interests"),
        ("tag_exists", r"that tag already exists"),
        ("merge_fields", r"your merge fields were invalid"),
        ("too_many_signups", r"has signed up to a lot of lists"),
        ("too_many_signups", r"too many recent signup requests"),
        ("fake", r"looks fake or invalid"),
        ("invalid_address", r"provide a valid email address"),
        (
            "invalid_address",
            r"(domain|username) portion of the email address is invalid",
        ),
        ("invalid_address", r"email address must contain a single @"),
    )
]
_MERGE_FIELD = re.compile(r"(.*\bmerge_fields\b.*|[A-Z][A-Z0-9_]{0,9})")
_ADDING_PATH = re.compile(r"/lists/[^/]+(/members(/[^/]+)?)?")
_NO_ROOM = re.compile(
    r"\b(contact|subscriber|member|audience|plan)s?\b[^.]{0,40}\blimit"
    r"|\blimit\b[^.]{0,40}\b(contact|subscriber|plan)"
    r"|\bexceed[^.]{0,60}\bplan\b"
    r"|\bupgrade (your|the) (plan|account)\b",
    re.IGNORECASE,
)
_MEMBER_STATUS = re.compile(r"status (?:is|of) [\"'](\w+)", re.IGNORECASE)
_MEMBER_PATH = re.compile(r"/lists/[^/]+/members/[^/]+")
_AUTH_TITLES = {
    "api key invalid",
    "api key missing",
    "user disabled",
    "wrong datacenter",
}


def classify(
    status: int,
    problem: Any,
    *,
    method: str | None = None,
    path: str | None = None,
    request_id: str | None = None,
    after: int | None = None,
) -> MailchimpError:
    """Return the error for one refused request.

    The request may have been sent on its own, as an operation of a batch, or as one of
    the members in a batch subscribe call (see :func:`classify_member`).

    :param status: HTTP status, 400 or more
    :param problem: the problem document as a dict; ``None`` when the reply has none
    :param method: HTTP method, ``None`` when it is not known
    :param path: path below ``/3.0``, ``None`` when it is not known
    :param request_id: the ``X-Request-Id`` of the reply
    :param after: seconds the reply asks us to wait
    """
    bare = not _is_problem(problem)
    problem = {} if bare else problem
    title = _text(problem.get("title"))
    fields = problem.get("errors")
    fields = fields if isinstance(fields, list) else []
    fields = [item for item in fields if isinstance(item, dict)]
    facts: Json = {
        "status": status,
        "title": title,
        "request_id": _text(problem.get("instance")) or request_id,
        "field_errors": fields,
        "method": method,
        "path": path,
    }
    detail = _text(problem.get("detail"))
    label = title.strip().lower()
    if label == "compliance related":
        # The account is under review: no retry helps, whatever the status says.
        return Forbidden(detail, **facts)
    if status == 401 or (status == 403 and label in _AUTH_TITLES):
        return AuthLost(detail, **facts)
    if status == 429 or (status == 403 and bare):
        # Without a problem document, a 403 comes from the firewall at very high volume.
        # Neither request has reached the application.
        return Retryable(detail or "Mailchimp is overloaded.", after=after, **facts)
    if status >= 500 or status == 408:
        facts["outcome_unknown"] = method != "GET"
        return Retryable(detail or "Mailchimp is down.", after=after, **facts)
    if not bare and _is_no_room(status, label, problem, fields, method, path):
        return NoRoom(detail, **facts)
    if bare:
        return Protocol(f"Mailchimp answered {status} without saying why.", **facts)
    if status == 403:
        about_one = _MEMBER_PATH.fullmatch(path or "")
        return (MemberForbidden if about_one else Forbidden)(detail, **facts)
    if status == 404:
        return NotFound(detail, **facts)
    if label == "resource nesting too deep":
        # Seen as a transient fault on POST /batches; nothing we send is deeply nested.
        return Retryable(detail, after=after, **facts)
    texts = " ".join([detail, *(_text(item.get("message")) for item in fields)])
    code = _rejected_code(status, label, texts, fields, method, path)
    member_status = None
    if code in ("address_change_status", "address_taken"):
        found = _MEMBER_STATUS.search(texts)
        member_status = found and found[1].lower()
        if member_status == "deleted":  # the messages' word for "archived"
            member_status = "archived"
    return Rejected(detail, code=code, member_status=member_status, **facts)


def classify_member(entry: Json, *, path: str | None = None) -> MailchimpError:
    """Return the error for one member in the ``errors`` of a batch subscribe reply.

    :param entry: ``email_address, error, error_code, field, field_message``
    :param path: path of the call, for the log
    """
    problem = {"title": "Member not subscribed", "detail": entry.get("error")}
    if entry.get("error_code") == "ERROR_CONTACT_EXISTS":
        problem["title"] = "Member Exists"
    if entry.get("field") or entry.get("field_message"):
        problem["errors"] = [
            {"field": entry.get("field"), "message": entry.get("field_message")}
        ]
    return classify(400, problem, method="POST", path=path)


def _rejected_code(
    status: int,
    label: str,
    texts: str,
    fields: list[Json],
    method: str | None,
    path: str | None,
) -> str:
    if status == 405:
        # DELETE of a member that is pending, cleaned or archived (recorded in 2021 and
        # 2022): only reading the member shows which. In a batch the method is unknown.
        on_member = _MEMBER_PATH.fullmatch(path or "") and method == "DELETE"
        if on_member or "list member cannot be removed" in texts:
            return "not_archivable"
        return "other"
    if label in _TITLES:
        return _TITLES[label]
    for code, pattern in _TEXTS:
        if pattern.search(texts):
            return code
    names = [_text(item.get("field")) for item in fields]
    if any(_MERGE_FIELD.fullmatch(name) and name != "EMAIL" for name in names):
        return "merge_fields"
    return "other"


def _is_no_room(
    status: int,
    label: str,
    problem: Json,
    fields: list[Json],
    method: str | None,
    path: str | None,
) -> bool:
    """Return whether a write that adds contacts was refused for the plan's limit.

    Mailchimp documents no such answer. It refuses to create an audience beyond the
    plan's limit with 403 "User action not permitted", whatever the role; a limit stated
    in words may also come with 400.
    """
    if status not in (400, 403) or not _ADDING_PATH.fullmatch(path or ""):
        return False
    if method not in ("POST", "PUT", "PATCH") or fields:
        return False
    if label == "user action not permitted":
        # For a single member, it may be something else that the user may not do.
        return "/members" not in (path or "")
    return bool(_NO_ROOM.search(f"{label} {_text(problem.get('detail'))}"))


def _is_problem(problem: Any) -> TypeGuard[Json]:
    return isinstance(problem, dict) and bool(
        problem.get("title") or problem.get("detail") or problem.get("errors")
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _cut(value: Any, length: int = DETAIL_LENGTH) -> str:
    text = _text(value)
    return text if len(text) <= length else text[: length - 1] + "…"
