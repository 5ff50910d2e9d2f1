"""Words, shapes and limits that several parts of the add-on share."""

from datetime import datetime
from typing import Any

#: An object of Mailchimp's API, or columns of a row, by name.
Json = dict[str, Any]
#: The first and the last moment, naive and in UTC.
Period = tuple[datetime, datetime]

#: Kinds of runs that send contacts to Mailchimp.
PUSHES = ("push", "full")

# === MEMBERS === #

#: The reason of a member whose contact refuses what Mailchimp says of it.
NOT_TAKEN = "not_taken"

# === SUPPRESSIONS: WHO SAID NO === #

#: What the person said in Mailchimp: it takes the opt-in of its contacts.
SAID = ("unsubscribed", "complained")
#: What Mailchimp says of the address: it bars it wherever it is not reachable already.
ABOUT_ADDRESS = ("compliance", "cleaned", "forgotten")

# === WEBHOOKS === #

#: The kind of the row that stands for deliveries that were not kept: the next reading
#: is of all changes.
DROPPED = "dropped"

# === LIMITS OF MAILCHIMP === #

#: Groups in one audience, over all categories.
MAX_INTERESTS = 60
#: Merge fields in one audience, EMAIL included: of most plans, and of Premium.
MERGE_FIELDS, PREMIUM_MERGE_FIELDS = 30, 80
#: Addresses that are tagged, and untagged, in one call.
TAGGED_AT_ONCE = 500
