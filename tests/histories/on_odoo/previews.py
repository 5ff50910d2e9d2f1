"""A preview changes nothing, and says what the run after it does."""

from collections import Counter
from unittest.mock import patch

from watcher.drawing import rule

from .scheduled_action import ScheduledAction

# What a run finds out only when it carries them out.
LOOKS = {"ask", "inquire", "move", "readmit", "restore"}


class Previews(ScheduledAction):
    """Compares what was said with what was done."""

    @rule(lambda self: self.pushing, weight=3)
    def previewed_run(self):
        """A preview changes nothing, and the run after it does what it said.

        What it reads stays in the ledger: once that is known, nothing changes there.
        """
        Run = self.env["crm.mailchimp.run"]
        domain = [("account_id", "=", self.account.id)]
        if Run.search_count([*domain, ("state", "in", Run.OPEN_STATES)]):
            return self.run()  # what began before would be none of its doing
        contacts = self.contact_rows()
        for _time in range(2):
            # The first one may find a merge field gone; the next then reads them all.
            self.preview()
        ledger = self.ledger()
        preview = self.preview()
        assert self.ledger() == ledger, "a preview changed the ledger"
        assert self.contact_rows() == contacts, "a preview changed a contact"
        said = preview.counters or {}
        self.run()
        done = Counter()
        for run in Run.search([*domain, ("id", ">", preview.id)]):
            done.update(run.counters or {})
        done["imported"] -= said.get("opt_in", 0)
        # A preview writes no contact, so it cannot know which of them refuse.
        done["brought_back"] += done["not_taken"] * bool(said.get("bring_back"))
        told = {
            "create": "created",
            "import": "imported",
            "opt_out": "opted_out",
            "bring_back": "brought_back",
            "archive": "archived",
        }
        self.tally["previews"] += 1
        if said.keys() & LOOKS:
            return  # what Mailchimp answers to a look decides about the rest
        self.tally["previews compared"] += 1
        wrong = {
            action: (said.get(action, 0), done[counter])
            for action, counter in told.items()
            if said.get(action, 0) != done[counter]
        }
        assert not wrong, f"said and done: {wrong}; {said}; {dict(done)}"

    def preview(self):
        preview = self.env["crm.mailchimp.run"].browse(
            self.account.action_preview()["res_id"]
        )
        with patch.object(type(self.account), "_push_due", lambda *args: False):
            self.case.tick()
        assert preview.state == "done", (preview.error_message, preview.error_detail)
        return preview

    def contact_rows(self):
        self.env.flush_all()
        self.env.cr.execute("SELECT p::text FROM res_partner p ORDER BY id")
        return self.env.cr.fetchall()
