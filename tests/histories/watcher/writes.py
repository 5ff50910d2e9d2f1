"""What may be written to Mailchimp, given what people have said."""

import hashlib
import re

from oracle import NEVER, NO, REACHABLE

from .drawing import Drawing
from .harness import LEAVES


class Writes(Drawing):
    """Judges every write, when it reaches Mailchimp."""

    def theirs(self, member):
        """Return what a member has that no filter and no mapping stands for."""
        interests = {
            interest.name
            for category in self.audience.categories.values()
            for interest in category.interests.values()
            if interest.id in member.interests and not self.is_ours(interest)
        }
        tags = {tag.name for tag in member.tags if not self.is_ours(tag)}
        return interests, tags, member.merge_fields.get("NOTE"), member.vip

    def before_call(self, what):
        members = self.audience.members
        self.before = {email: (m, m.status) for email, m in members.items()}
        self.untouchable = [(m, self.theirs(m)) for m in members.values()]

    def after_call(self, what, delayed=False):
        """Judge a write by what people had said at that moment.

        :param str what: method, path and body
        :param bool delayed: it was handed over earlier, and is carried out now
        """
        now = self.audience.members
        self.tell(f"    > {what}")
        # Others may leave in the same go.
        leaves = what.startswith("DELETE") or LEAVES in what
        if not self.pushing and not leaves:
            self.violations.append(f"{what}: nobody has started the push")
        for email in () if leaves or delayed else self.leaving - self.meanwhile:
            if self.before[email][1] in REACHABLE:
                self.violations.append(f"{what}: before {email} left")
        for email, (_member, old) in self.before.items():
            if hashlib.md5(email.encode(), usedforsecurity=False).hexdigest() in what:
                address = self.oracle.address(email)
                asks = address.asked and "'pending'" in what
                late = delayed or email in self.meanwhile
                if old in NO and not asks and not late:
                    self.violations.append(f"{what}: {email} is {old}")
                archives = what.startswith("POST /batches") and "'DELETE'" in what
                doomed = (leaves or archives) and (
                    address.doomed is not False
                    # Whether the contact had the address by then is not known.
                    or self.oracle.is_opted_out(email)
                )
                if not (address.ours or address.maybe_ours or doomed):
                    self.violations.append(f"{what}: {email} is somebody else's")
        for email in self.before.keys() | now.keys():
            old, new = self.before.get(email, (None, None))[1], self.status(email)
            if old != new:
                self.tally[f"{old} -> {new}"] += 1
                self.tell(f"    > {email} {old} -> {new}")
                self.judge(f"{what}: {email} {old} -> {new}", email, old, new, delayed)
        self.note_removal(what)
        places = {member: email for email, member in now.items()}
        for old_email, (member, _status) in self.before.items():
            if member not in places:
                self.violations.append(f"{what}: {old_email} was erased")
            elif places[member] != old_email:
                moved = self.oracle.address(places[member])
                former = self.oracle.address(old_email)
                moved.agreed, moved.invited = former.agreed, former.invited
                self.tally["moved"] += 1
        for member, theirs in self.untouchable:
            if self.theirs(member) != theirs:
                self.violations.append(f"{what}: {theirs} of {member} was touched")

    def note_removal(self, what):
        """Mailchimp changes everybody who was in a tag, archived members, too.

        When a call gets no answer, nobody knows that this was Odoo's own doing.
        """
        if self.faulty and re.match("DELETE .*/(segments|interests)/", what):
            for address in self.oracle.addresses.values():
                address.restorable = address.restorable and None

    def may_leave_scope(self, email):
        """Return whether a value brought back by this run ends the scope."""
        return self.oracle.options.partner_domain != "[]" and any(
            there == email
            and "Rome" in self.oracle.settle(*values, self.oracle.address(email).agreed)
            for there, _contact, *values in self.cities
        )

    def judge(self, what, email, old, new, delayed):
        address = self.oracle.address(email)
        asks = new == "pending" and address.asked
        late = new == "archived" and (delayed or email in self.meanwhile)
        if old in NO and not late and not (asks and old == "unsubscribed"):
            self.violations.append(f"{what}: a “no” was overwritten")
        if new not in REACHABLE:
            address.known_out = None if self.faulty else True
        if new == "unsubscribed" and old != "pending":
            self.violations.append(f"{what}: nobody said so")
        if new == "cleaned":
            self.violations.append(f"{what}: nothing bounced")
        if new == "archived":
            # What somebody said in the same moment is buried.
            address.hidden |= old in NO and not address.heard
            sure = address.seen and not self.faulty and not delayed
            address.restorable = old == "subscribed" and (sure or None)
            excused = self.faulty or delayed or self.may_leave_scope(email)
            if self.oracle.eligible(email) and not excused:
                self.doubtful_archives.append((what, email))
                if not self.doubts:
                    self.judge_archives()
        if new in REACHABLE:
            address.seen = new == "subscribed" and (address.seen or not self.faulty)
            address.known_out = None if self.faulty else False
            if email not in self.importing and not self.oracle.eligible(
                email, scoped=False, asking=asks
            ):
                self.violations.append(f"{what}: nobody agreed")
            elif old is not None and address.barred and not asks:
                self.violations.append(f"{what}: the last word was no")
            elif old == "archived" and address.restorable is False and not asks:
                self.violations.append(f"{what}: it was not Odoo that archived it")
            address.restorable = False
        if old is None and new in REACHABLE:
            city = self.audience.members[email].merge_fields.get("CITY") or ""
            # A call without an answer leaves nothing that was agreed on.
            address.agreed = {city, NEVER} if self.faulty else {city}
            address.invited = False
        if new == "pending" and not (self.oracle.options.double_opt_in or asks):
            self.violations.append(f"{what}: nobody wanted it asked")

    def judge_archives(self):
        """Judge who was archived, once it is known whose opt-ins the run took."""
        for what, email in self.doubtful_archives:
            if self.oracle.eligible(email):
                self.violations.append(f"{what}: it belongs there")
        self.doubtful_archives = []

    def carried_out(self, what, carry_out):
        """Judge what Mailchimp does now of what was handed over to it earlier."""
        self.before_call(what)
        try:
            return carry_out()
        finally:
            self.after_call(what, delayed=True)
            self.before_call(what)
