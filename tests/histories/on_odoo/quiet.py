"""In the end a further run does nothing."""

from .scheduled_action import ScheduledAction


class Quiet(ScheduledAction):
    """Lets runs work until nothing is left to do."""

    def end(self):
        if not self.pushing:
            self.first_push()
        # Members are counted only when few were written lately.
        self.simulator.advance(11 * 60)
        for _time in range(3):
            self.run()
            self.step()
        if self.reborn:
            self.start_run()
            self.work("full")
            self.after_run()
        ledger = self.ledger()
        self.simulator.clear_calls()
        self.case.send_opt_outs()
        self.run()
        writes = [
            f"{call.method} {call.path} {call.body}"
            for call in self.simulator.calls
            if call.method != "GET"
        ]
        assert not writes, f"a further run wrote: {writes}"
        assert self.ledger() == ledger, "a further run changed the ledger"
        lines = self.env["crm.mailchimp.contact.status"].search(
            [("account_id", "=", self.account.id), ("status", "=", "waiting")]
        )
        waiting = lines.mapped("email")
        assert not waiting, f"after a quiet run {waiting} are said to be sent next"
        for contact in self.oracle.contacts.values():
            opted = self.partner(contact).mailchimp_opt_in
            if contact.doubtful:
                continue
            assert opted == (contact.opt_in is not None), f"{contact}: {opted}"
        partners = self.env["res.partner"].with_context(active_test=False)
        there = partners.search([("email", "like", "@firma.be")]).ids
        known = [key for key, c in self.oracle.contacts.items() if c.emails]
        assert sorted(there) == sorted(known), f"contacts {there}, expected {known}"
