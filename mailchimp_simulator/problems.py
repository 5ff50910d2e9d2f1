"""Mailchimp's error bodies (problem documents), worded as the service words them.

Sources: Mailchimp's error glossary, and answers quoted by users of the API.
"""

VALIDATED = (
    "The resource submitted could not be validated. For field-specific details, see "
    "the 'errors' array."
)
MERGE_INVALID = "Your merge fields were invalid."

#: Field messages come in the language of the account; titles and details do not.
MESSAGES = {
    "en": {
        "value": "Please enter a value",
        "number": "Please enter a number",
        "address": "Please enter a complete address",
        "date": "Please enter the date",
        "birthday": "Please enter a month (01-12) and a day (01-31)",
        "choice": "Please select one of the choices",
        "url": "Please enter a valid URL",
        "phone": "Please enter a valid phone number",
        "zip": "Please enter a valid zip code",
        "long": "Please enter a value shorter than 255 characters",
    },
    "de": {
        "value": "Bitte gib einen Wert ein.",
        "number": "Bitte gib eine Zahl ein.",
        "address": "Bitte gib eine vollständige Adresse ein.",
        "date": "Bitte gib das Datum ein.",
        "birthday": "Bitte gib Monat (01-12) und Tag (01-31) ein.",
        "choice": "Bitte wähle eine der Möglichkeiten.",
        "url": "Bitte gib eine gültige URL ein.",
        "phone": "Bitte gib eine gültige Telefonnummer ein.",
        "zip": "Bitte gib eine gültige Postleitzahl ein.",
        "long": "Bitte gib einen kürzeren Wert ein.",
    },
}


class Problem(Exception):
    """A refusal.

    :param errors: ``[(field, message), ...]``, shown in the ``errors`` array.
    """

    def __init__(self, status, title, detail, errors=None, headers=None):
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}

    def body(self, instance, with_type=False):
        """The problem document. :param instance: also sent as ``X-Request-Id``."""
        body = {
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        }
        if with_type:
            body["type"] = "https://mailchimp.com/developer/marketing/docs/errors/"
        if self.errors is not None:
            body["errors"] = [{"field": f, "message": m} for f, m in self.errors]
        return body


def invalid(detail, errors=None):
    return Problem(400, "Invalid Resource", detail, errors)


def schema(*errors):
    """A 400 for a body of the wrong shape."""
    return invalid(VALIDATED, list(errors))


def missing(*names):
    return schema(("", f"Required fields were not provided: {', '.join(names)}"))


def merge_fields(errors):
    return invalid(MERGE_INVALID, errors)


def bad_request(detail):
    return Problem(400, "Bad Request", detail)


def not_found():
    return Problem(
        404, "Resource Not Found", "The requested resource could not be found."
    )


def method_not_allowed(allowed):
    return Problem(
        405,
        "Method Not Allowed",
        "The requested method and resource are not compatible. See the Allow header "
        "for this resource's available methods.",
        headers={"Allow": ", ".join(sorted(allowed))},
    )


def member_exists(email):
    return Problem(
        400,
        "Member Exists",
        f"{email} is already a list member. Use PUT to insert or update list members.",
    )


def compliance(email):
    return Problem(
        400,
        "Member In Compliance State",
        f"{email} is in a compliance state due to unsubscribe, bounce, or compliance "
        "review and cannot be subscribed.",
    )


def forgotten(email):
    return Problem(
        400,
        "Forgotten Email Not Subscribed",
        f"{email} was permanently deleted and cannot be re-imported. The contact must "
        "re-subscribe to get back on the list.",
    )


def fake(email):
    return invalid(f"{email} looks fake or invalid, please enter a real email address.")


def bad_syntax():
    return invalid("Please provide a valid email address.")


def single_at():
    return invalid("An email address must contain a single @")


def bad_username(email):
    local = email.rpartition("@")[0]
    return invalid(
        "The username portion of the email address is invalid (the portion before the "
        f"@: {local})"
    )


def bad_domain(email):
    domain = email.rpartition("@")[2]
    return invalid(
        "The domain portion of the email address is invalid (the portion after the "
        f"@: {domain})"
    )


def too_many_signups(email):
    return invalid(
        f"{email} has signed up to a lot of lists very recently; we're not allowing "
        "more signups for now"
    )


def too_many_requests_to_sign_up(email):
    return invalid(f'Recipient "{email}" has too many recent signup requests')


def unknown_interest(interest_id):
    return invalid(f"Invalid interest ID: '{interest_id}'.")


def contact_limit(status):
    """The plan has no room for another contact; the words are a guess."""
    if status == 403:
        return not_permitted()
    return bad_request("You have reached the contact limit of your plan.")


def address_status(status):
    return schema(
        (
            "email address",
            f'This member\'s status is "{status}." You can only update email addresses '
            'for members with a status of "subscribed."',
        )
    )


def address_taken(email, status):
    shown = "Deleted" if status == "archived" else status.capitalize()
    return schema(
        (
            "email address",
            f'"{email}" is already in this list with a status of "{shown}".',
        )
    )


def cannot_archive():
    return Problem(
        405,
        "Method Not Allowed",
        "This list member cannot be removed. Can not archive a contact that is "
        "bounced, pending or archived",
        headers={"Allow": "GET, PUT"},
    )


def key_invalid():
    return Problem(
        401,
        "API Key Invalid",
        "Your API key may be invalid, or you've attempted to access the wrong "
        "datacenter.",
    )


def key_missing():
    return Problem(401, "API Key Missing", "Your request did not include an API key.")


def wrong_data_center():
    return Problem(
        403,
        "Wrong Datacenter",
        "The API key provided is linked to a different datacenter.",
    )


def user_disabled():
    return Problem(403, "User Disabled", "This account has been disabled.")


def forbidden():
    return Problem(
        403,
        "Forbidden",
        "You don't have permission to access this resource.",
    )


def not_permitted():
    return Problem(
        403,
        "User action not permitted",
        "User does not have access to the requested operation",
    )


def too_many_requests():
    return Problem(
        429,
        "Too Many Requests",
        "You have exceeded the limit of 10 simultaneous connections.",
    )


def too_many_batches():
    return Problem(429, "Too Many Requests", "You have more than 500 pending batches.")


def json_parse():
    return Problem(
        400,
        "JSON Parse Error",
        "We encountered an unspecified JSON parsing error.",
    )
