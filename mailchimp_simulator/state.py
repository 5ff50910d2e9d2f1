"""The account: audiences, members, tags, campaigns, and the clock they live by.

Plain data, with the few operations that keep its indexes consistent. ``rules`` decides
what is allowed, ``webhooks`` who is notified.
"""

import hashlib
import re
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache

DATA_CENTER = "us21"
DEFAULT_KEY = f"0123456789abcdef0123456789abcdef-{DATA_CENTER}"
WRITABLE = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
STATUSES = (*WRITABLE, "archived")


def parse_time(text):
    """Return a datetime from ISO 8601; without a zone it is UTC.

    :raise ValueError: for anything else.
    """
    # Python 3.10 knows neither "Z" nor an offset without a colon.
    text = re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", text.replace("Z", "+00:00"))
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment


class Clock:
    """UTC with a movable offset, in whole seconds as Mailchimp shows times."""

    def __init__(self):
        self.offset = 0.0

    def exact(self):
        """Seconds since 1970 as a float."""
        return time.time() + self.offset

    def now(self):
        """Seconds since 1970 as an integer."""
        return int(self.exact())

    def advance(self, seconds):
        self.offset += seconds

    def set(self, when):
        """Set the time to ``when`` (a datetime with a zone, or ISO 8601 text)."""
        if isinstance(when, str):
            when = parse_time(when)
        self.offset = when.timestamp() - time.time()


@lru_cache(maxsize=65536)
def iso(seconds):
    """Return a time as Mailchimp writes it; an unset one is an empty string."""
    if not seconds:
        return ""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="seconds")


def hash_of(email):
    """Return the subscriber hash: MD5 of the lowercased address."""
    return hashlib.md5(
        email.strip().lower().encode(), usedforsecurity=False
    ).hexdigest()


@dataclass
class MergeField:
    merge_id: int
    tag: str
    name: str
    type: str = "text"
    required: bool = False
    default_value: str = ""
    public: bool = True
    display_order: int = 0
    options: dict = field(default_factory=dict)
    help_text: str = ""


@dataclass
class Interest:
    id: str
    name: str
    display_order: int = 0


@dataclass
class Category:
    id: str
    title: str
    type: str = "checkboxes"
    display_order: int = 0
    interests: dict = field(default_factory=dict)


@dataclass(eq=False)
class Segment:
    """A tag (static) or a saved segment; tags share the ids of segments."""

    id: int
    name: str
    type: str
    created_at: int
    updated_at: int
    options: dict | None = None
    #: Member -> when it was added, for static ones.
    members: dict = field(default_factory=dict)

    @property
    def member_count(self):
        return sum(1 for m in self.members if m.status == "subscribed")


class Member:
    """One address in one audience.

    ``compliance`` remembers why Mailchimp will not let others subscribe the person
    ("unsubscribe", "bounce", "abuse"), whatever the status becomes later.
    """

    __slots__ = (
        "audience",
        "compliance",
        "confirmations",
        "contact_id",
        "email",
        "email_type",
        "feed",
        "hash",
        "interests",
        "ip_opt",
        "ip_signup",
        "language",
        "last_changed",
        "location",
        "notes",
        "permissions",
        "source",
        "status",
        "tags",
        "timestamp_opt",
        "timestamp_signup",
        "unsubscribe_reason",
        "unsubscribed_at",
        "unsubscribed_by",
        "values",
        "vip",
        "web_id",
    )

    def __init__(self, audience, email, status, number):
        self.audience = audience
        self.email = email
        self.hash = hash_of(email)
        self.status = status
        self.web_id = 100_000_000 + number
        self.contact_id = f"{audience.id}{number:022x}"
        self.email_type = "html"
        self.values = {}
        # Members share these empty values, because few ever get others: they are
        # replaced, never changed in place.
        self.interests = self.permissions = frozenset()
        self.tags = {}
        self.language = ""
        self.vip = False
        self.location = (0, 0)
        self.ip_signup = self.ip_opt = ""
        self.timestamp_signup = self.timestamp_opt = 0
        self.last_changed = 0
        self.source = "API - Generic"
        self.compliance = None
        #: Confirmation mails that Mailchimp would have sent.
        self.confirmations = 0
        self.unsubscribed_by = None
        self.unsubscribe_reason = ""
        self.unsubscribed_at = 0
        self.feed = self.notes = ()

    def __setstate__(self, state):
        # Older state files have no confirmations.
        self.confirmations = 0
        for name, value in state[1].items():
            setattr(self, name, value)

    def __repr__(self):
        return f"<Member {self.email} {self.status}>"

    @property
    def merge_fields(self):
        """Values by merge tag; unset ones are empty strings."""
        values = self.values
        return {
            f.tag: values.get(f.merge_id, "")
            for f in self.audience.merge_fields.values()
        }

    @property
    def tag_names(self):
        return sorted(s.name for s in self.tags)

    @property
    def interest_names(self):
        return sorted(
            interest.name
            for category in self.audience.categories.values()
            for interest in category.interests.values()
            if interest.id in self.interests
        )


class Audience:
    """A list with its members and what can be set on them."""

    def __init__(self, account, list_id, name, number, **settings):
        self.account = account
        self.id = list_id
        self.web_id = 1000 + number
        self.name = name
        self.date_created = account.clock.now()
        self.contact = {
            "company": "Example Ltd",
            "address1": "1 Example Street",
            "address2": "",
            "city": "Atlanta",
            "state": "GA",
            "zip": "30308",
            "country": "US",
            "phone": "",
        }
        self.permission_reminder = "You signed up on our website."
        self.campaign_defaults = {
            "from_name": "Example Ltd",
            "from_email": "news@example.com",
            "subject": "",
            "language": "en",
        }
        self.use_archive_bar = True
        self.email_type_option = False
        self.double_optin = False
        self.marketing_permissions = False
        self.notify_on_subscribe = self.notify_on_unsubscribe = ""
        for key, value in settings.items():
            setattr(self, key, value)
        #: Id -> text of the marketing permissions of a GDPR audience.
        self.permission_texts = {}
        #: Lowercased address -> member, in order of arrival.
        self.members = {}
        self.by_hash = {}
        self.by_contact_id = {}
        #: Members that are not archived / by status, least recently changed first.
        self.current = {}
        self.by_status = {status: {} for status in STATUSES}
        #: False once a member got a ``last_changed`` older than the newest before it.
        self.ordered = True
        self._newest = 0
        #: Hashes of permanently deleted addresses.
        self.forgotten = set()
        self.merge_fields = {}
        self.categories = {}
        self.segments = {}
        self.webhooks = {}
        self.abuse_reports = []
        self._member_number = 0
        for name_, tag, kind in (
            ("First Name", "FNAME", "text"),
            ("Last Name", "LNAME", "text"),
            ("Address", "ADDRESS", "address"),
            ("Phone Number", "PHONE", "phone"),
        ):
            self.add_merge_field(name_, tag, kind)

    # --- members -----------------------------------------------------------------

    def add(self, email, status, when=None):
        """Add a member, without checks or notifications."""
        self._member_number += 1
        member = Member(self, email, status, self._member_number)
        self.members[email.lower()] = member
        self.by_hash[member.hash] = member
        self.by_contact_id[member.contact_id] = member
        self.touch(member, when)
        return member

    def touch(self, member, when=None):
        """Note that a member changed, now or at ``when``."""
        when = self.account.clock.now() if when is None else when
        member.last_changed = when
        if when < self._newest:
            self.ordered = False
        else:
            self._newest = when
        for index in (self.by_status[member.status], self.current):
            index.pop(member, None)
        self.by_status[member.status][member] = None
        if member.status != "archived":
            self.current[member] = None

    def set_status(self, member, status, when=None):
        self.by_status[member.status].pop(member, None)
        self.current.pop(member, None)
        member.status = status
        self.touch(member, when)

    def rename(self, member, email):
        del self.members[member.email.lower()]
        del self.by_hash[member.hash]
        member.email = email
        member.hash = hash_of(email)
        self.members[email.lower()] = member
        self.by_hash[member.hash] = member
        self.touch(member)

    def remove(self, member):
        """Forget the person for good."""
        self.by_status[member.status].pop(member, None)
        self.current.pop(member, None)
        del self.members[member.email.lower()]
        del self.by_hash[member.hash]
        del self.by_contact_id[member.contact_id]
        for segment in list(member.tags):
            segment.members.pop(member, None)
        self.forgotten.add(member.hash)

    def find(self, reference):
        """Return a member by hash, address or contact id, or None."""
        return (
            self.by_hash.get(reference.lower())
            or self.members.get(reference.strip().lower())
            or self.by_contact_id.get(reference)
        )

    def count(self, status):
        return len(self.by_status[status])

    # --- what members can carry --------------------------------------------------

    def add_merge_field(self, name, tag=None, kind="text", **settings):
        merge_id = max(self.merge_fields, default=0) + 1
        tag = tag or f"MMERGE{merge_id}"
        settings.setdefault("display_order", merge_id + 1)
        options = dict(settings.pop("options", None) or {})
        if kind == "phone":
            options.setdefault("phone_format", "none")
        elif kind == "date":
            options.setdefault("date_format", "MM/DD/YYYY")
        elif kind == "birthday":
            options.setdefault("date_format", "MM/DD")
        elif kind == "address":
            options.setdefault("default_country", 164)
        elif kind in ("radio", "dropdown"):
            options.setdefault("choices", [])
        elif kind == "text":
            options.setdefault("size", 25)
        new = MergeField(merge_id, tag, name, kind, options=options, **settings)
        self.merge_fields[merge_id] = new
        return new

    def merge_field(self, tag):
        return next((f for f in self.merge_fields.values() if f.tag == tag), None)

    def add_category(self, title, kind="checkboxes", display_order=0):
        category = Category(self.account.new_id(), title, kind, display_order)
        self.categories[category.id] = category
        return category

    def add_interest(self, category, name, display_order=0):
        interest = Interest(self.account.new_id(), name, display_order)
        category.interests[interest.id] = interest
        return interest

    @property
    def interest_ids(self):
        return [i for c in self.categories.values() for i in c.interests]

    def add_segment(self, name, kind="static", options=None):
        now = self.account.clock.now()
        segment = Segment(self.account.new_number(), name, kind, now, now, options)
        self.segments[segment.id] = segment
        return segment

    def tag(self, name):
        """Return the tag of a name, or None; names are compared ignoring case."""
        wanted = name.strip().lower()
        return next(
            (
                s
                for s in self.segments.values()
                if s.type == "static" and s.name.lower() == wanted
            ),
            None,
        )

    def put_tag(self, member, segment):
        """:return: True when the member did not have it."""
        if segment in member.tags:
            return False
        now = self.account.clock.now()
        member.tags[segment] = now
        segment.members[member] = now
        segment.updated_at = now
        if self.account.switches.tags_move_last_changed:
            self.touch(member)
        return True

    def drop_tag(self, member, segment):
        """:return: True when the member had it."""
        if member.tags.pop(segment, None) is None:
            return False
        segment.members.pop(member, None)
        segment.updated_at = self.account.clock.now()
        if self.account.switches.tags_move_last_changed:
            self.touch(member)
        return True


@dataclass
class ApiKey:
    """A user's key. Roles: owner, admin, manager, author, viewer."""

    role: str = "owner"
    revoked: bool = False
    disabled: bool = False


class Account:
    """Everything one Mailchimp account holds."""

    def __init__(self, switches, name="Simulated account", seed="simulator"):
        self.switches = switches
        self.clock = Clock()
        self.name = name
        self.seed = seed
        self._ids = 0
        self._numbers = 0
        self.id = self.new_id()
        self.login_id = self.new_number()
        self.keys = {}
        self.audiences = {}
        self.campaigns = {}
        self.batches = {}
        #: Registered apps by client id, login codes, and the tokens that were issued.
        self.apps = {}
        self.codes = {}
        self.tokens = {}
        #: Other Mailchimp accounts behind the same server, with keys of their own.
        self.others = []
        self.member_since = self.clock.now()
        #: Set by the simulator: called as (audience, event, data, source).
        self.listener = None

    def __getstate__(self):
        return {**self.__dict__, "listener": None}

    def __setstate__(self, state):
        # An account saved before there were logins lacks these.
        blank = {"apps": {}, "codes": {}, "tokens": {}, "others": []}
        self.__dict__.update({**blank, **state})

    def new_id(self):
        """Return a ten-character hexadecimal id; every fresh account gives the same."""
        self._ids += 1
        text = f"{self.seed}:{self._ids}"
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:10]

    def new_number(self):
        self._numbers += 1
        return 10_000 + self._numbers

    def add_audience(self, name, **settings):
        audience = Audience(self, self.new_id(), name, self.new_number(), **settings)
        if audience.marketing_permissions:
            for text in ("Email", "Direct Mail", "Customized Online Advertising"):
                audience.permission_texts[self.new_id()] = text
        self.audiences[audience.id] = audience
        return audience

    def notify(self, audience, event, data, source):
        """Notify the webhooks, if there are any.

        :param data: a dict, or a callable that returns it, called only when needed.
        """
        if self.listener and audience.webhooks:
            data = data() if callable(data) else data
            self.listener(audience, event, data, source)
