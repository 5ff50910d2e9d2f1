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

#: The reason on an address that was changed to another one in Mailchimp.
RENAMED = "renamed"
#: The reason on an address that never confirmed: Mailchimp forgets it after some weeks.
NOT_CONFIRMED = "not_confirmed"

#: The reason on a member whose contact refuses a change from Mailchimp.
NOT_TAKEN = "not_taken"

# === SUPPRESSIONS: WHO SAID NO === #

#: What the person said in Mailchimp: it removes the opt-in of their contacts.
SAID = ("unsubscribed", "complained")
#: What Mailchimp says about the address: it is barred wherever it is not yet reachable.
ABOUT_ADDRESS = ("compliance", "cleaned", "forgotten")

# === WEBHOOKS === #

#: The kind of the row that stands for deliveries that were not kept: the next reading
#: covers all changes.
DROPPED = "dropped"

# === LIMITS OF MAILCHIMP === #

#: Groups in one audience, over all categories.
MAX_INTERESTS = 60
#: Merge fields in one audience, EMAIL included: on most plans, and on Premium.
MERGE_FIELDS, PREMIUM_MERGE_FIELDS = 30, 80
#: Addresses that can be tagged, and as many untagged, in one call.
TAGGED_AT_ONCE = 500
