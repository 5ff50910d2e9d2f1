import errno
from unittest.mock import patch

import psycopg2

from odoo.tests import new_test_user, tagged
from odoo.tools import mute_logger

from ..sync.creates import Creates
from ..sync.pull import Pull
from .common import MailchimpCase


class TroubleCase(MailchimpCase):
    switches = {"contact_limit_status": 403}

    def setUp(self):
        super().setUp()
        self.addCleanup(self.simulator.switches.update, max_contacts=-1)

    def prepare(self):
        super().prepare()
        self.user = new_test_user(
            self.env,
            "trouble",
            groups="crm_mailchimp.group_mailchimp_manager",
            company_id=self.company.id,
        )
        self.link()
        self.ann = self.contact("Ann", city="Ghent")
        self.carol = self.contact("Carol")
        self.push()

    def subscribes(self):
        """Return how many calls Mailchimp got that add members."""
        return sum(
            call.method == "POST" and call.path.count("/") == 2
            for call in self.simulator.calls
        )

    def told(self):
        """Return what waits for one manager."""
        return self.account.activity_ids.filtered(
            lambda activity: activity.user_id == self.user
        )


@tagged("post_install", "-at_install")
class TestNoRoom(TroubleCase):
    """The plan takes no more contacts: said once; all else goes on; it recovers."""

    def test_whole_calls_are_refused(self):
        for status in (400, 403):
            with self.subTest(status=status):
                self.simulator.switches.update(
                    max_contacts=1, contact_limit_status=status
                )
                new = self.contact(f"New{status}")
                other = self.contact(f"Other{status}")
                leaver = self.contact(f"Leaver{status}")
                self.audience.add_member(leaver.email)
                self.push("full")
                self.ann.city = f"Bruges{status}"
                leaver.mailchimp_opt_in = False
                self.simulator.clear_calls()
                run = self.push()
                self.assertEqual(self.subscribes(), 1)
                self.assertEqual(run.counters["no_room"], 2)
                self.assertEqual(
                    self.member("ann@firma.be").merge_fields["CITY"], f"Bruges{status}"
                )
                self.assertEqual(self.status(leaver.email), "archived")
                self.assertIsNone(self.status(new.email))
                self.assertFalse(new.mailchimp_reason, "nothing is said of the person")
                self.assertEqual(self.account.state, "linked")
                self.assertIn("contact limit", self.account.health_message)
                self.assertIn("waiting: 2", self.account.health_message)
                self.assertEqual(len(self.told()), 1)
                # One try with each run, and told once.
                self.simulator.clear_calls()
                self.push()
                self.assertEqual(self.subscribes(), 1)
                self.assertEqual(len(self.told()), 1)
                # It goes on by itself.
                self.simulator.switches.update(max_contacts=-1)
                self.push()
                for partner in (new, other):
                    self.assertEqual(self.status(partner.email), "subscribed")
                self.assertFalse(self.account.health_message)
                self.assertFalse(self.told())

    def test_one_call_shows_that_there_is_still_no_room(self):
        self.simulator.switches.update(max_contacts=1)
        for number in range(30):
            self.contact(f"Many{number}")
        with patch("odoo.addons.crm_mailchimp.sync.creates.LARGEST", 2):
            self.push()
            self.simulator.clear_calls()
            run = self.push()
        self.assertEqual(self.subscribes(), 1)
        self.assertEqual(run.counters["no_room"], 30)

    def test_words_nobody_knows(self):
        """Another 403 is tried again a few times before it is taken for the plan's."""
        self.simulator.fault("POST /lists/*", status=403, times=None)
        new = self.contact("New")
        self.ann.city = "Bruges"
        run = self.push(state="waiting")
        self.assertEqual(self.member("ann@firma.be").merge_fields["CITY"], "Bruges")
        self.assertFalse(self.told())
        for _try in range(10):
            if not run.is_open:
                break
            run.resume_at = False
            self.tick()
        self.assertEqual(run.state, "done")
        self.assertEqual(len(self.told()), 1)
        self.simulator.faults.clear()
        self.push()
        self.assertEqual(self.status(new.email), "subscribed")
        self.assertFalse(self.told())

    def test_a_lost_role_is_not_taken_for_the_plan(self):
        self.simulator.switches.update(max_contacts=1)
        self.contact("New")
        self.simulator.fault("GET /", status=403, times=None)
        self.push(state="failed")
        self.assertEqual(self.account.state, "error")
        self.assertFalse(self.account.no_room_message)


@tagged("post_install", "-at_install")
class TestNoSpace(TroubleCase):
    """The disk of the server is full: the run waits, says so, and loses nothing."""

    def test_a_full_disk(self):
        for number, error in enumerate(
            (psycopg2.errors.DiskFull(), OSError(errno.ENOSPC, "No space left"))
        ):
            new = self.contact(f"New{number}")

            def fail(*args, error=error, **kwargs):
                raise error

            with (
                patch.object(Creates, "_record", fail),
                mute_logger("odoo.addons.crm_mailchimp.models.slices"),
            ):
                run = self.push(state="waiting")
                self.assertIn("out of disk space", self.account.health_message)
                self.assertEqual(len(self.told()), 1)
            with (
                patch.object(Pull, "work", fail),
                mute_logger("odoo.addons.crm_mailchimp.models.slices"),
            ):
                run.resume_at = False
                self.tick()
                self.assertEqual(run.state, "waiting")
                self.assertEqual(len(self.told()), 1, "told once")
            # Mailchimp has the member, which Odoo could not note.
            self.assertEqual(self.status(new.email), "subscribed")
            self.simulator.clear_calls()
            run.resume_at = False
            for _tick in range(3):
                self.tick()
            self.assertEqual(run.state, "done")
            self.assertEqual(self.ledger(new.email).status, "subscribed")
            self.assertFalse(self.subscribes())
            self.assertFalse(self.account.health_message)
            self.assertFalse(self.told())
