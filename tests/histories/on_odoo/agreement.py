"""A manager has people asked again, and archives members that are not ours."""

from oracle import NO
from watcher.drawing import rule

from odoo.exceptions import UserError

from .scheduled_action import ScheduledAction


class Agreement(ScheduledAction):
    """Lets a manager press the buttons."""

    @rule(lambda self: self.pushing and self.members("archived", *NO))
    def ask_again(self):
        """Let Mailchimp ask somebody who may have said no."""
        self.run()
        out = self.members("archived", *NO)
        found = out and self.oracle.eligible(self.pick(out), asking=True)
        contact = found[0] if found else self.pick_contact()
        asked = [
            email
            for email in self.members("archived", "unsubscribed")
            if self.oracle.eligible(email, asking=True)[:1] == [contact]
        ]
        bounced = [email for email in asked if self.oracle.address(email).bounced_at]
        try:
            # A rule, which runs as superuser, is not told that there is nobody.
            user = self.env.ref("base.user_admin")
            self.partner(contact).with_user(user).action_mailchimp_ask_again()
            assert asked, f"{contact}: who is asked?"
        except UserError:
            assert asked == bounced, f"{contact}: not asked"
            return
        for email in asked:
            address = self.oracle.address(email)
            # Its contact has an opt-in that is newer than the "no": it is not
            # somebody else's any more, though it was never sent.
            address.asked = address.maybe_ours = True

    @rule(lambda self: self.pushing and self.asks_about_foreign())
    def archive_foreign(self):
        """Let a manager agree to the archiving of members that are not ours."""
        self.run()
        waiting = self.env["crm.mailchimp.member"].search(
            self.account.action_open_foreign()["domain"]
        )
        emails = set(waiting.mapped("email_normalized"))
        foreign = {
            email
            for email in self.members("subscribed", "pending")
            if not self.oracle.address(email).ours
        }
        # That somebody was erased is seen when members are counted.
        erased = {e for e in emails if self.oracle.address(e).erased}
        assert emails - erased <= foreign, f"not foreign: {emails - foreign}"
        sure = {e for e in foreign if not self.oracle.address(e).maybe_ours}
        assert sure <= emails | self.doomed(), f"not asked about: {sure - emails}"
        if waiting:
            waiting.action_archive_foreign()
        for email in emails:
            self.oracle.address(email).doomed = True

    def asks_about_foreign(self):
        return self.oracle.options.foreign_members == "archive"

    def doomed(self):
        return {e for e, address in self.oracle.addresses.items() if address.doomed}
