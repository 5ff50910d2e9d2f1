"""What people, marketers and other applications do in Mailchimp."""

from oracle import NO

from .drawing import Drawing, has_members, rule
from .harness import CITIES, EMAILS


class InMailchimp(Drawing):
    """Steps of people and of whoever else has to do with the audience."""

    def prepare_audience(self):
        """Have something in it that is none of Odoo's business."""
        self.audience.add_merge_field("Note", "NOTE")
        theirs = self.audience.add_category("Their own")
        self.theirs_group = self.audience.add_interest(theirs, "Theirs").id

    @rule(has_members("subscribed", "archived"))
    def say_no(self):
        """Somebody says no, perhaps by the link of an old mail after being archived."""
        email = self.pick_member("subscribed", "archived")
        if not self.unsure(self.oracle.address(email)):
            self.let_say_no(email, self.pick([True, False]))

    def let_say_no(self, email, complains):
        if complains:
            self.audience.complain(email)
        else:
            self.audience.unsubscribe(email, reason="enough")
        address = self.oracle.address(email)
        address.no_at, address.hidden, address.no_until = self.now, False, None
        address.shown = complains or self.shows_unsubscribes()
        address.heard = address.maybe_heard = address.back = address.asked = False
        address.restorable, address.yes_at = False, None

    @rule(has_members("subscribed", "archived"), weight=1)
    def hide_a_no(self):
        """Somebody says no and is archived before a run could see the "no"."""
        email = self.pick_member("subscribed", "archived")
        address = self.oracle.address(email)
        if self.unsure(address):
            return
        # The look at its activity comes when a member was archived, once.
        looked = self.status(email) == "archived"
        self.let_say_no(email, self.pick([True, False]))
        self.audience.archive(email)
        address.hidden, address.shown = True, address.shown and not looked

    @rule(has_members("subscribed"), weight=1)
    def bounce(self):
        email = self.pick(self.members("subscribed"))
        kind = self.pick(["hard", "soft", "several soft"])
        address = self.oracle.address(email)
        if kind == "several soft":
            self.audience.clean(email, "soft")
        else:
            self.audience.bounce(email, kind)
        if kind != "soft":
            address.bounced_at = self.now
            address.back = address.asked = False

    @rule(has_members("subscribed", "pending", *NO))
    def archive_by_hand(self):
        email = self.pick(self.members("subscribed", "pending", *NO))
        address = self.oracle.address(email)
        if self.unsure(address):
            return
        if self.status(email) == "pending":
            address.seen = False
        if self.status(email) in NO:
            address.hidden = address.no_at is not None and not address.heard
        # A call of Odoo that got lost may have been about to archive it.
        address.restorable = None if address.known_out is None else False
        self.audience.archive(email)

    @rule(has_members("subscribed", "archived", *NO), weight=1)
    def erase(self):
        email = self.pick(self.members("subscribed", "archived", *NO))
        address = self.oracle.address(email)
        if self.unsure(address):
            return
        self.audience.delete_permanently(email)
        address.erased, address.restorable, address.yes_at = True, False, None
        if not address.heard:
            # Mailchimp does not tell any more what the person had said.
            address.no_at = None

    @rule(has_members("subscribed", "archived"), weight=5)
    def edit_in_mailchimp(self):
        email = self.pick_member("subscribed", "archived")
        city = self.pick([*CITIES, ""])
        fields = self.audience.merge_fields.values()
        if any(field.tag == "CITY" for field in fields):
            before = self.audience.members[email].last_changed
            self.audience.edit(email, merge_fields={"CITY": city})
            if self.audience.members[email].last_changed != before:
                self.oracle.address(email).changed()

    @rule(has_members("subscribed", "unsubscribed"))
    def edit_theirs(self):
        """Somebody changes what is none of Odoo's business."""
        email = self.pick(self.members("subscribed", "unsubscribed"))
        note = self.pick(["", "Likes tea"])
        self.note_touched(email)
        self.audience.tag(email, "Theirs")
        self.audience.edit(
            email,
            merge_fields={"NOTE": note},
            interests={self.theirs_group: True},
            vip=bool(note),
        )

    def note_touched(self, email):
        """Somebody changes a member: nobody can tell any more when it said no."""
        address = self.oracle.address(email)
        if address.no_at is not None and not address.heard:
            address.no_until = self.now

    @rule(has_members("subscribed"), weight=3)
    def change_many(self):
        """Another application changes so many members that they fill a page."""
        everybody = [email for email in EMAILS if self.status(email)]
        current = [e for e in everybody if self.status(e) != "archived"]
        emails = self.pick(["current", "current", "everybody"])
        emails = current if emails == "current" else everybody
        self.audience.touch(emails, merge_fields={"NOTE": f"Bulk {self.now}"})
        for email in emails:
            self.oracle.address(email).changed()
            self.note_touched(email)

    @rule(has_members(None), weight=1)
    def ask_in_mailchimp(self):
        """Another application adds somebody, who is asked to confirm."""
        email = self.pick(self.members(None))
        address = self.oracle.address(email)
        if not address.erased and address.known_out:
            self.add_in_mailchimp(email, "pending")

    def add_in_mailchimp(self, email, status):
        """Somebody has a member whose person did nothing for it."""
        self.audience.add_member(
            email, status, by="admin", merge_fields={"FNAME": "Foreign"}
        )
        address = self.oracle.address(email)
        address.seen, address.agreed = False, set()
        address.invited = status == "pending"

    @rule(has_members(None, "archived", *NO), weight=4)
    def sign_up(self):
        """A person signs up, for the first time or again."""
        email = self.pick(self.members(None, "archived", *NO))
        address = self.oracle.address(email)
        if not self.unsure(address) and address.known_out is not None:
            self.sign_up_in_mailchimp(email)

    def sign_up_in_mailchimp(self, email):
        address = self.oracle.address(email)
        if self.status(email) is None:
            # What one member had, another with its address has not.
            self.reborn |= address.erased
            address.seen, address.agreed, address.erased = False, set(), False
        self.audience.sign_up(email, merge_fields={"FNAME": "Foreign"})
        self.said_yes(address)
        if address.known_out:
            address.ours = address.maybe_ours = False
        elif not address.seen and not self.oracle.eligible(email):
            address.ours, address.maybe_ours = False, True  # as if it had confirmed

    def said_yes(self, address):
        address.back = address.barred or address.back
        if not address.heard:
            address.overtaken, address.no_at = address.no_at, None
        address.hidden = address.asked = False
        # What a manager agreed to stands while no run can have seen it gone.
        address.doomed = not address.known_out and address.doomed and None
        address.restorable, address.yes_at = False, self.now
        # Whom runs saw pending last cannot be overlooked either.
        address.yes_shows = address.known_out or not address.seen

    @rule(has_members("pending"), weight=4)
    def confirm(self):
        email = self.pick(self.members("pending"))
        address = self.oracle.address(email)
        known = email in self.oracle.said or email in self.oracle.opt_outs
        if not self.unsure(address) and not (known and address.known_out is None):
            address.known_out = True  # no run takes it for subscribed
            if not self.oracle.eligible(email):
                # A yes that is newer than the "no" in Odoo: it may stay.
                address.ours, address.maybe_ours = False, True
            self.audience.confirm(email)
            self.said_yes(address)
