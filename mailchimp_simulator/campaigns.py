"""Campaigns, their recipients, and what the recipients did."""

import random
from collections import Counter
from dataclasses import dataclass, field

from .selection import conditions_test, members_of
from .state import hash_of, parse_time

TYPES = ("regular", "plaintext", "absplit", "rss", "variate", "automation")


@dataclass
class Recipient:
    """One campaign sent to one address, and what came of it."""

    email: str
    status: str = "sent"
    opens: list = field(default_factory=list)
    #: Times of those opens that Apple's mail proxy made.
    proxy_opens: list = field(default_factory=list)
    #: (when, url)
    clicks: list = field(default_factory=list)
    bounced_at: int = 0
    unsubscribed_at: int = 0
    unsubscribe_reason: str = ""
    complained_at: int = 0
    group: str = ""

    def __setstate__(self, state):
        self.__dict__.update(state)
        if isinstance(self.proxy_opens, int):  # from an older state file
            self.proxy_opens = self.opens[: self.proxy_opens]

    def open(self, when, proxy=False):
        self.opens.append(when)
        if proxy:
            self.proxy_opens.append(when)

    def told_opens(self):
        """Return ``[(when, made by a proxy), ...]`` for all opens."""
        by_proxy = Counter(self.proxy_opens)
        told = []
        for when in self.opens:
            proxy = by_proxy[when] > 0
            by_proxy[when] -= proxy
            told.append((when, proxy))
        return told

    def history(self, send_time):
        items = [{"action": "sent", "when": send_time}]
        items += [{"action": "open", "when": when} for when in self.opens]
        items += [
            {"action": "click", "when": when, "url": url} for when, url in self.clicks
        ]
        if self.bounced_at:
            items.append(
                {"action": "bounce", "when": self.bounced_at, "type": self.status}
            )
        if self.unsubscribed_at:
            items.append(
                {
                    "action": "unsub",
                    "when": self.unsubscribed_at,
                    "reason": self.unsubscribe_reason,
                }
            )
        if self.complained_at:
            items.append({"action": "abuse", "when": self.complained_at})
        return items


@dataclass(eq=False)
class Campaign:
    id: str
    web_id: int
    type: str
    audience: object
    create_time: int
    title: str = ""
    subject: str = ""
    preview: str = ""
    from_name: str = ""
    reply_to: str = ""
    status: str = "save"
    send_time: int = 0
    segment_opts: dict | None = None
    urls: list = field(default_factory=list)
    #: A/B, RSS and automation children know their parent.
    parent: object = None
    children: list = field(default_factory=list)
    variate_settings: dict | None = None
    #: Name that Google Analytics tracking puts into links, "" for none.
    google_analytics: str = ""
    recipients: dict = field(default_factory=dict)

    @property
    def has_content(self):
        return bool(self.subject)


def add_campaign(
    account, audience, kind="regular", *, parent=None, variants=2, **settings
):
    """Create an unsent campaign; an A/B test (variate) comes with its children."""
    if kind not in TYPES:
        raise ValueError(f"Unknown campaign type {kind!r}; known: {', '.join(TYPES)}.")
    number = account.new_number()
    title = settings.pop("title", None) or f"Campaign {number}"
    settings.setdefault("subject", title)
    settings.setdefault("from_name", audience.campaign_defaults["from_name"])
    settings.setdefault("reply_to", audience.campaign_defaults["from_email"])
    urls = settings.pop("urls", None) or [
        "https://www.example.com/news",
        "https://www.example.com/shop?from=mail&item=1",
    ]
    campaign = Campaign(
        account.new_id(),
        number,
        kind,
        audience,
        account.clock.now(),
        title=title,
        urls=list(urls),
        parent=parent,
        **settings,
    )
    account.campaigns[campaign.id] = campaign
    if parent is not None:
        parent.children.append(campaign)
    if kind == "variate":
        for number in range(variants):
            add_campaign(
                account,
                audience,
                "regular",
                parent=campaign,
                title=f"{title} ({chr(65 + number)})",
                urls=urls,
            )
    return campaign


def recipients_of(campaign, wanted="all"):
    """Return the subscribed members a campaign goes to.

    :param wanted: "all", ``{"interest": id}``, ``{"tag": name}``, or addresses.
    """
    audience = campaign.audience
    members = list(audience.by_status["subscribed"])
    if campaign.segment_opts and wanted == "all":
        saved = audience.segments.get(campaign.segment_opts.get("saved_segment_id"))
        if saved is not None:
            return members_of(audience, saved)
        test = conditions_test(audience, campaign.segment_opts)
        return [m for m in members if test(m)]
    if wanted == "all":
        return members
    if isinstance(wanted, dict) and "interest" in wanted:
        return [m for m in members if wanted["interest"] in m.interests]
    if isinstance(wanted, dict) and "tag" in wanted:
        tag = audience.tag(wanted["tag"])
        return [m for m in members if tag is not None and tag in m.tags]
    if isinstance(wanted, (list, tuple, set)):
        addresses = {email.lower() for email in wanted}
        return [m for m in members if m.email.lower() in addresses]
    raise ValueError(
        'Recipients are "all", {"interest": id}, {"tag": name} or a list of addresses.'
    )


def send(campaign, wanted="all", send_time=None):
    """Send a campaign, now or backdated.

    :param send_time: ISO 8601. :return: the number of recipients.
    """
    members = recipients_of(campaign, wanted)
    now = campaign.audience.account.clock.now()
    if send_time:
        now = int(parse_time(send_time).timestamp())
    campaign.status, campaign.send_time = "sent", now
    for child in campaign.children:
        if campaign.type == "variate":
            child.status, child.send_time = "sent", now
    for index, member in enumerate(members):
        recipient = Recipient(member.email)
        campaign.recipients[member] = recipient
        if campaign.type == "absplit":
            recipient.group = "ab"[index % 2]
        if campaign.type == "variate" and campaign.children:
            child = campaign.children[index % len(campaign.children)]
            child.recipients[member] = recipient
    if campaign.type == "variate" and campaign.children:
        campaign.variate_settings = {
            **(campaign.variate_settings or {}),
            "winning_campaign_id": campaign.children[0].id,
            "winning_combination_id": hash_of(campaign.children[0].id)[:24],
        }
    data = {
        "id": campaign.id,
        "subject": campaign.subject,
        "status": "sent",
        "reason": "",
    }
    campaign.audience.account.notify(campaign.audience, "campaign", data, "admin")
    if campaign.parent is not None:
        # An RSS or automation child: the parent's totals include it.
        campaign.parent.recipients.update(campaign.recipients)
        campaign.parent.send_time = campaign.parent.send_time or now
        campaign.parent.status = "sending"
    return len(members)


def generate(
    campaign,
    act,
    *,
    opens=0.4,
    clicks=0.1,
    hard_bounces=0.0,
    soft_bounces=0.0,
    unsubscribes=0.0,
    complaints=0.0,
    proxy=0.3,
    within=0,
    seed=0,
):
    """Let recipients react, each in a share (0 to 1) of the mails sent.

    :param act: the audience's acts; unsubscribes and bounces change members.
    :param within: the reactions fall within so many seconds after the send; 0: now.
    :param seed: the same seed gives the same reactions; None differs each time.
    :return: how many did what.
    """
    rng = random.Random(seed)
    counts = dict.fromkeys(
        "opens clicks hard_bounces soft_bounces unsubscribes complaints".split(), 0
    )
    clock = campaign.audience.account.clock
    for member, recipient in list(campaign.recipients.items()):
        # In a second round, those who bounced, left or were erased do nothing more.
        if recipient.status != "sent" or member.status != "subscribed":
            continue
        if campaign.audience.members.get(member.email.lower()) is not member:
            continue
        now = clock.now()
        if within:
            # Most reactions come soon after a mail arrives.
            now = min(now, campaign.send_time + int(within * rng.random() ** 3))
        roll = rng.random()
        if roll < hard_bounces:
            act.bounce(member.email, "hard", campaign=campaign.id, when=now)
            counts["hard_bounces"] += 1
            continue
        if roll < hard_bounces + soft_bounces:
            act.bounce(member.email, "soft", campaign=campaign.id, when=now)
            counts["soft_bounces"] += 1
            continue
        wants_click = rng.random() < clicks
        if wants_click or rng.random() < opens:
            for again in range(rng.choice((1, 1, 1, 2, 3))):
                when = now
                if again and within:
                    # Hardly anybody opens a mail twice in the same second.
                    last = min(campaign.send_time + within, clock.now())
                    when = rng.randint(now, max(now, last - 1))
                recipient.open(when, rng.random() < proxy)
                counts["opens"] += 1
        if wants_click and campaign.urls:
            recipient.clicks.append((now, rng.choice(campaign.urls)))
            counts["clicks"] += 1
        if rng.random() < unsubscribes:
            act.unsubscribe(member.email, campaign=campaign.id, when=now)
            counts["unsubscribes"] += 1
        elif rng.random() < complaints:
            act.complain(member.email, campaign=campaign.id, when=now)
            counts["complaints"] += 1
    return counts
