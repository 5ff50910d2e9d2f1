"""What a manager chooses on the account, and what differs in Mailchimp."""

from dataclasses import asdict

from oracle import Options

from odoo.addons.crm_mailchimp.sync.members import MemberPhase
from odoo.addons.crm_mailchimp.sync.sending import SendingPhase

from .world import SKEWS, World


class Choices(World):
    """Draws the options of the account."""

    def options(self):
        draw = self.pick
        scope = draw(["primary", "primary", "all"])
        return Options(
            partner_kind=draw(["all", "all", "all", "person", "company"]),
            partner_domain=draw(["[]", "[]", "[('city', '!=', 'Rome')]"]),
            email_scope=scope,
            segment_target=draw(["group", "tag", "both"]),
            # Two addresses of a contact may be edited in two ways: too much to
            # foretell.
            sync_direction=draw(["push", "both"]) if scope == "primary" else "push",
            conflict_winner=draw(["odoo", "mailchimp"]),
            foreign_members=draw(["keep", "archive", "import"]),
            double_opt_in=draw([False, False, False, True]),
        )

    def choose(self, options):
        self.account.write(asdict(options))
        small = self.pick([False, True], "few a page")
        many = self.pick(["never", "never", "time", "polls"], "batches")
        shown = self.pick([False, True], "unsubscribes in the activity")
        self.skew = self.pick(SKEWS, "clock ahead")
        gateway = self.account._gateway()
        gateway.member_count(self.audience.id)
        self.account._note_clock(gateway)
        gateway.close()
        if small:
            self.tally["few a page"] += 1
            self.patch(MemberPhase, "PAGE", 5)
        if many != "never":
            self.tally[f"small batches by {many}"] += 1
            self.patch(SendingPhase, "BATCH_FROM", 2)
            self.simulator.switches.batch_progress = many
        self.simulator.switches.feed_has_unsubscribes_outside_campaigns = shown

    def start_push(self):
        self.account.push_enabled = True

    def shows_unsubscribes(self):
        return self.simulator.switches.feed_has_unsubscribes_outside_campaigns
