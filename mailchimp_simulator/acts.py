"""What people and Mailchimp do: unsubscribe, bounce, edit, send a campaign.

Everything here happens without an API call by the client. The same acts are available
in Python, through the control API and on the web page.
"""

from functools import partial
from itertools import islice

from . import rules
from .campaigns import add_campaign, generate, send
from .render import member_view

#: Acts that the control API may call by name.
PUBLIC = (
    "add_member add_members unsubscribe complain bounce clean archive "
    "delete_permanently expire edit confirm sign_up change_address touch add_category "
    "add_interest add_tag add_merge_field tag untag add_campaign send_campaign "
    "generate open click"
).split()


def id_of(campaign):
    """Return the id of a campaign, which may be the id itself, or ``None``."""
    return getattr(campaign, "id", campaign) or ""


class AudienceActs:
    """An audience, and everything that people and Mailchimp can do to it.

    Addresses may be in upper or lower case. Attributes of the audience (``members`` by
    lowercased address, ``by_status``, ``categories``, ``segments``...) are available
    on this object. Everything raises ``KeyError`` for an unknown member, interest, tag
    or campaign, and ``Problem`` for a value Mailchimp would refuse.
    """

    def __init__(self, audience, lock):
        self._audience = audience
        self._lock = lock

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._audience, name)

    def __getstate__(self):
        # A lock cannot be pickled; the simulator that restores it sets its own.
        return {"_audience": self._audience}

    def __repr__(self):
        return f"<Audience {self.id} {self.name!r}>"

    @property
    def account(self):
        return self._audience.account

    def member(self, email):
        found = self._audience.members.get(email.strip().lower())
        if found is None:
            raise KeyError(f"{email} is not in the audience {self.name}.")
        return found

    def view(self, email):
        """A member as the API shows it."""
        return member_view(self.member(email))

    def counts(self):
        """Return the number of members by status."""
        return {status: len(found) for status, found in self.by_status.items()}

    # --- members -----------------------------------------------------------------

    def add_member(
        self,
        email,
        status="subscribed",
        *,
        merge_fields=None,
        interests=None,
        tags=(),
        by="person",
        last_changed=None,
        **attributes,
    ):
        """Somebody signs up (or an admin adds them).

        A person may come back after anything, even a permanent deletion.

        :param interests: ids, or ``{id: bool}``.
        :param by: "person", "admin" or "api"; decides whether an opt-out given as
            ``status`` is the person's own.
        :param last_changed: seconds since 1970, to backdate it.
        :param attributes: other attributes of a member (``language``, ``vip``,
            ``timestamp_opt`` and ``timestamp_signup`` in seconds, ``ip_opt``...).
        """
        with self._lock:
            audience = self._audience
            existing = audience.members.get(email.strip().lower())
            if existing is not None and status == "subscribed":
                existing.compliance = None
            body = self._body(merge_fields, interests)
            body.update(email_address=email, tags=list(tags))
            if existing is None:
                audience.forgotten.discard(rules.hash_of(email))
                first = "subscribed" if status == "archived" else status
                member = rules.create(
                    audience, body, first, skip_required=True, source=by
                )
            else:
                member = existing
                rules.update(
                    audience, member, body, status, skip_required=True, source=by
                )
                rules.set_tags(audience, member, tags)
            if status == "archived":
                audience.set_status(member, "archived")
            member.source = "Hosted Signup Form" if by == "person" else "Admin Add"
            if by == "person":
                member.compliance = {
                    "unsubscribed": "unsubscribe",
                    "cleaned": "bounce",
                }.get(status)
            for name, value in attributes.items():
                setattr(member, name, value)
            if last_changed is not None:
                audience.touch(member, last_changed)
                if status == "unsubscribed":
                    member.unsubscribed_at = last_changed
            return member

    def add_members(self, count, *, domain="example.com", prefix="person", **values):
        """Add many members at once: prefix1@domain, prefix2@domain..."""
        with self._lock:
            return [
                self.add_member(f"{prefix}{number}@{domain}", **values)
                for number in range(1, count + 1)
            ]

    def _body(self, merge_fields, interests):
        if interests is not None and not isinstance(interests, dict):
            interests = dict.fromkeys(interests, True)
        return {"merge_fields": merge_fields or {}, "interests": interests or {}}

    def unsubscribe(self, email, reason="", by="person", campaign=None, when=None):
        """Use the unsubscribe link or page; an archived member may have an old mail.

        :param by: "person" (binding), "admin" or "api" (can be undone by others).
        :param when: seconds since 1970, to backdate it (only if by the person).
        """
        with self._lock:
            member = self.member(email)
            if by != "person":
                rules.update(
                    self._audience,
                    member,
                    {},
                    "unsubscribed",
                    skip_required=True,
                    source=by,
                )
                return member
            archived = member.status == "archived"
            if archived and not self.account.switches.archived_can_unsubscribe:
                return member
            self._leave(member, "unsubscribe", reason, when)
            recipient = self._recipient(member, campaign)
            if recipient is not None:
                recipient.unsubscribed_at = member.unsubscribed_at
                recipient.unsubscribe_reason = reason
            else:
                self._feed(
                    member,
                    "unsub",
                    unsubscribe_reason=reason,
                    is_admin_unsubscribed=False,
                )
            self._tell(
                member,
                "unsubscribe",
                action="unsub",
                reason="manual",
                campaign_id=id_of(campaign),
            )
            return member

    def complain(self, email, campaign=None, when=None):
        """The person reports a mail as spam."""
        with self._lock:
            member = self.member(email)
            self._leave(member, "abuse", "abuse", when)
            recipient = self._recipient(member, campaign)
            if recipient is not None:
                recipient.complained_at = member.unsubscribed_at
            else:
                self._feed(member, "abuse")
            self._audience.abuse_reports.append(
                {
                    "id": self.account.new_number(),
                    "campaign_id": id_of(campaign),
                    "email_id": member.hash,
                    "email": member.email,
                    "date": member.unsubscribed_at,
                }
            )
            self._tell(
                member,
                "unsubscribe",
                action="unsub",
                reason="abuse",
                campaign_id=id_of(campaign),
            )
            return member

    def _leave(self, member, why, reason, when=None):
        member.compliance = why
        member.unsubscribed_by = "person"
        member.unsubscribe_reason = reason
        self._set_status(member, "unsubscribed", when)
        member.unsubscribed_at = member.last_changed if when is None else when

    def _set_status(self, member, status, when):
        """Change a status, now or at ``when`` in the past.

        ``last_changed`` never goes back, even if the change is backdated: otherwise a
        client that reads what changed since its last reading would never see it.
        """
        if when is not None and when < member.last_changed:
            when = None
        self._audience.set_status(member, status, when)

    def bounce(self, email, kind="hard", campaign=None, when=None):
        """A hard bounce cleans the address; a soft one is only counted."""
        with self._lock:
            member = self.member(email)
            recipient = self._recipient(member, campaign)
            if recipient is not None:
                recipient.status = kind
                recipient.bounced_at = when or self.account.clock.now()
            else:
                self._feed(member, "bounce", bounce_type=kind)
            if kind == "hard":
                member.compliance = "bounce"
                self._set_status(member, "cleaned", when)
                self._cleaned(member, campaign)
            return member

    def clean(self, email, kind="hard"):
        """Mailchimp gives up on an address, without any campaign of this account.

        :param kind: "soft": after several soft bounces; its feed shows no hard one.
        """
        with self._lock:
            if kind == "hard":
                return self.bounce(email)
            member = self.bounce(email, "soft")
            member.compliance = "bounce"
            self._audience.set_status(member, "cleaned")
            self._cleaned(member, None)
            return member

    def _cleaned(self, member, campaign):
        data = {
            "campaign_id": id_of(campaign),
            "reason": "hard",
            "email": member.email,
        }
        self.account.notify(self._audience, "cleaned", data, "system")

    def archive(self, email):
        """An admin archives the contact by hand, whatever its status.

        :raise Problem: 405 when it is archived already.
        """
        with self._lock:
            member = self.member(email)
            rules.archive(self._audience, member, source="admin")
            return member

    def delete_permanently(self, email):
        """Erase the member: its address can never be imported again."""
        with self._lock:
            member = self.member(email)
            self._audience.remove(member)
            self._tell(member, "unsubscribe", action="delete", reason="manual")

    def expire(self, email):
        """Forget a pending member that did not confirm in time; it may be asked again.

        :raise ValueError: for a member that is not pending
        """
        with self._lock:
            member = self.member(email)
            if member.status != "pending":
                raise ValueError("Only pending members expire.")
            self._audience.remove(member)
            self._audience.forgotten.discard(member.hash)

    def edit(self, email, *, merge_fields=None, interests=None, by="admin", **values):
        """An admin (or the person) changes values.

        :param values: ``language``, ``vip``, ``email_type``, ``status``.
        """
        with self._lock:
            member = self.member(email)
            status = values.pop("status", None)
            body = {**self._body(merge_fields, interests), **values}
            rules.update(
                self._audience, member, body, status, skip_required=True, source=by
            )
            return member

    def confirm(self, email):
        """The person clicks the link of the confirmation mail.

        :raise ValueError: when there is no link that works: the person was never asked,
            or has been unsubscribed or archived since. See ``sign_up``.
        """
        with self._lock:
            member = self.member(email)
            if member.status == "subscribed":
                return member
            old = member.confirmations and member.status in ("unsubscribed", "archived")
            outlived = old and self.account.switches.old_confirmation_works
            if member.status != "pending" and not outlived:
                raise ValueError(
                    f"{email} is {member.status}: it has no confirmation to click."
                )
            member.compliance = None
            rules.update(
                self._audience,
                member,
                {},
                "subscribed",
                skip_required=True,
                source="person",
            )
            return member

    def sign_up(self, email, merge_fields=None):
        """The person fills in Mailchimp's own form, and confirms if asked to.

        Works after anything, even a permanent deletion. An existing member keeps what
        it has and is subscribed as of now.
        """
        with self._lock:
            member = self.add_member(email, merge_fields=merge_fields)
            member.timestamp_opt = self.account.clock.now()
            self._audience.touch(member)
            return member

    def touch(self, whom, *, tag=None, merge_fields=None, by="api"):
        """Another application changes many members at once; thousands are fast.

        :param whom: addresses, or a number: the first so many members that are not
            archived, in the order they arrived.
        :param tag: put this tag on them. :param merge_fields: set these values.
            Without either, only ``last_changed`` moves.
        :return: the number of members changed.
        """
        with self._lock:
            audience = self._audience
            if isinstance(whom, int):
                current = (
                    m for m in audience.members.values() if m.status != "archived"
                )
                members = list(islice(current, whom))
            else:
                members = [self.member(email) for email in whom]
            values = rules.clean_values(audience, None, merge_fields or {}, True)
            segment = tag and (audience.tag(tag) or audience.add_segment(tag))
            for member in members:
                if segment:
                    audience.put_tag(member, segment)
                if values:
                    member.values = {**member.values, **values}
                if values or not segment:
                    audience.touch(member)
                    self.account.notify(
                        audience, "profile", partial(rules.profile, member), by
                    )
            return len(members)

    def change_address(self, email, new, by="person"):
        with self._lock:
            member = self.member(email)
            rules.update(
                self._audience,
                member,
                {"email_address": new},
                skip_required=True,
                source=by,
            )
            return member

    def _feed(self, member, kind, **values):
        now = self.account.clock.now()
        entry = {"activity_type": kind, "created_at_timestamp": now, **values}
        member.feed = (*member.feed, entry)

    def _tell(self, member, event, **more):
        self.account.notify(
            self._audience, event, lambda: {**rules.profile(member), **more}, "person"
        )

    # --- groups, tags, fields ----------------------------------------------------

    def add_category(self, title, kind="checkboxes"):
        with self._lock:
            return self._audience.add_category(title, kind)

    def add_interest(self, category, name):
        """:param category: a category, its id or its title."""
        with self._lock:
            return self._audience.add_interest(self._category(category), name)

    def _category(self, wanted):
        for category in self._audience.categories.values():
            if wanted in (category, category.id, category.title):
                return category
        raise KeyError(f"There is no interest category {wanted!r}.")

    def interest(self, wanted):
        """Return an interest by id or name."""
        for category in self._audience.categories.values():
            for interest in category.interests.values():
                if wanted in (interest.id, interest.name):
                    return interest
        raise KeyError(f"There is no interest {wanted!r}.")

    def add_tag(self, name, emails=()):
        with self._lock:
            segment = self._audience.tag(name) or self._audience.add_segment(name)
            for email in emails:
                self._audience.put_tag(self.member(email), segment)
            return segment

    def tag(self, email, name):
        with self._lock:
            rules.set_tags(self._audience, self.member(email), [name])

    def untag(self, email, name):
        with self._lock:
            segment = self._audience.tag(name)
            if segment is None:
                raise KeyError(f"There is no tag {name!r}.")
            self._audience.drop_tag(self.member(email), segment)

    def add_merge_field(self, name, tag=None, kind="text", **settings):
        with self._lock:
            return self._audience.add_merge_field(name, tag, kind, **settings)

    # --- campaigns ---------------------------------------------------------------

    def add_campaign(self, type="regular", **settings):
        """:param settings: title, subject, urls, parent (campaign or id), variants,
        google_analytics."""
        with self._lock:
            if isinstance(settings.get("parent"), str):
                settings["parent"] = self.campaign(settings["parent"])
            return add_campaign(self.account, self._audience, type, **settings)

    def campaign(self, wanted):
        """Return a campaign, given the campaign itself or its id."""
        if isinstance(wanted, str):
            if wanted not in self.account.campaigns:
                raise KeyError(f"There is no campaign {wanted!r}.")
            return self.account.campaigns[wanted]
        return wanted

    def send_campaign(self, campaign, recipients="all", send_time=None):
        """:param recipients: "all", ``{"interest": id or name}``, ``{"tag": name}``,
        or addresses.
        :param send_time: ISO 8601, to backdate it.
        :return: the number of recipients."""
        with self._lock:
            if isinstance(recipients, dict) and "interest" in recipients:
                recipients = {"interest": self.interest(recipients["interest"]).id}
            return send(self.campaign(campaign), recipients, send_time)

    def generate(self, campaign, **shares):
        """Let recipients open, click, bounce...; see ``campaigns.generate``."""
        with self._lock:
            return generate(self.campaign(campaign), self, **shares)

    def open(self, campaign, email, proxy=False):
        """The person opens the mail (or Apple's proxy does)."""
        with self._lock:
            recipient = self._sent(campaign, email)
            recipient.open(self.account.clock.now(), proxy)

    def click(self, campaign, email, url=None):
        with self._lock:
            recipient = self._sent(campaign, email)
            url = url or self.campaign(campaign).urls[0]
            urls = self.campaign(campaign).urls
            if url not in urls:
                urls.append(url)
            recipient.clicks.append((self.account.clock.now(), url))

    def _sent(self, campaign, email):
        recipient = self._recipient(self.member(email), campaign)
        if recipient is None:
            raise KeyError(f"The campaign was not sent to {email}.")
        return recipient

    def _recipient(self, member, campaign):
        if campaign is None:
            return None
        return self.campaign(campaign).recipients.get(member)
