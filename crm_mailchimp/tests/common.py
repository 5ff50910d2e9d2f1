"""A linked account on a simulated Mailchimp, and runs by the real scheduled actions."""

import time
import unittest
from contextlib import contextmanager
from copy import copy
from unittest.mock import patch

from odoo.tests import TransactionCase, tagged

from ..models import slices

try:
    from mailchimp_simulator import Simulator
except ImportError:  # installed without the repository around it
    Simulator = None


def long(test):
    """Mark a test that takes over five seconds: ``make test`` alone leaves it out."""
    test.is_long = True
    return test


def _is_simulated(value):
    return type(value).__module__.startswith("mailchimp_simulator")


@tagged("post_install", "-at_install")
class MailchimpCase(TransactionCase):
    switches = {}
    # The requests of a browser wait for each other here. After 20 s, which compiling
    # a page takes on a busy machine, Odoo would answer them with an error.
    test_cursor_lock_timeout = 120

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if Simulator is None:
            raise unittest.SkipTest("mailchimp_simulator is not on the Python path")
        cls.env = cls.env(
            context=dict(cls.env.context, tracking_disable=True, lang="en_US")
        )
        cls.simulator = Simulator(port=0, **cls.switches)
        cls.simulator.start()
        cls.addClassCleanup(cls.simulator.stop)
        cls.env["ir.config_parameter"].set_param(
            "crm_mailchimp.api_url", cls.simulator.url
        )
        # Other data of the database is none of the tests' business.
        cls.env["res.partner"].with_context(active_test=False).search(
            [("mailchimp_opt_in", "=", True)]
        ).write({"mailchimp_opt_in": False})
        cls.env["ir.filters"].search([("mailchimp_sync", "=", True)]).write(
            {"mailchimp_sync": False}
        )
        cls.company = cls.env.company
        cls.account = cls.env["crm.mailchimp.account"].create(
            {"name": "Test", "company_id": cls.company.id, "lang": "en_US"}
        )

    def setUp(self):
        cls = type(self)
        if "prepared" not in vars(cls):
            # Outside the savepoint that the test is rolled back to.
            with self.env.cr.savepoint():
                cls.prepared = self._prepare_class()
        super().setUp()
        snapshot, names, others = cls.prepared
        handles = self.simulator.restore(snapshot)
        vars(self).update(zip(names, handles, strict=True))
        vars(self).update((name, copy(value)) for name, value in others.items())

    def _prepare_class(self):
        """Prepare, and return what each test of the class begins with.

        :return: ``(snapshot of the simulator, names of the attributes whose values are
            in it, other attributes)``
        """
        self.simulator.reset()
        before = set(vars(self))
        self.prepare()
        made = {name: value for name, value in vars(self).items() if name not in before}
        names = [name for name in made if _is_simulated(made[name])]
        snapshot = self.simulator.snapshot(*(made.pop(name) for name in names))
        return snapshot, names, made

    def prepare(self):
        """Make what every test of the class begins with: it is made once for them all.

        Each test finds the database, the simulator and the attributes of ``self`` as
        they are in the end. What is to be undone after each test, such as a patch, is
        for ``setUp``.
        """
        self.audience = self.simulator.add_audience("Test audience")
        self.account.api_key = self.simulator.api_key
        self.account.action_connect()

    @classmethod
    def _request_handler(cls, session, request, /, **options):
        # Odoo's guard against requests in tests compares the timeout with a number;
        # the gateway's is a pair.
        if isinstance(options.get("timeout"), tuple):
            options["timeout"] = max(options["timeout"])
        return super()._request_handler(session, request, **options)

    # === DOING === #

    def link(self, push=True):
        """Link the audience through the wizard, and switch the push on."""
        wizard = self.env["crm.mailchimp.choose.audience"].create(
            {"account_id": self.account.id}
        )
        wizard.line_id = wizard.line_ids.filtered(
            lambda line: line.audience_ref == self.audience.id
        )
        wizard.action_link()
        if wizard.is_confirming:
            wizard.action_link()
        self.account.push_enabled = push
        return self.account

    def tick(self, cron="ir_cron_push"):
        """Run the scheduled action as Odoo does, with its commits."""
        self.env.flush_all()
        # A scheduled action that fails is only logged: the test has to see it.
        with (
            self.enter_registry_test_mode(),
            self.assertNoLogs("odoo.addons.base.models.ir_cron", "ERROR"),
            self.assertNoLogs("odoo.addons.crm_mailchimp", "ERROR"),
        ):
            self.env.ref(f"crm_mailchimp.{cron}").method_direct_trigger()
        self.env.invalidate_all()

    def send_opt_outs(self):
        """Let the lane of opt-outs work once."""
        self.tick("ir_cron_opt_out")

    def opt_out(self, *partners):
        """Let contacts opt out, and the lane work once."""
        for partner in partners:
            partner.mailchimp_opt_in = False
        self.send_opt_outs()

    def push(self, kind="push", state="done"):
        """Ask for a run, let the scheduled action work, and return the run."""
        run, _created = self.account._request_run(kind)
        for _tick in range(20):
            self.tick("ir_cron_stats" if kind == "stats" else "ir_cron_push")
            if run.state not in ("queued", "running"):
                break
        self.assertEqual(run.state, state, run.error_detail or run.error_message)
        return run

    def slow_push(self, kind="push", seconds=3, ticks=40):
        """Let a run work while an answer takes a good part of what a slice has."""
        self.simulator.latency(base=0.3)
        self.addCleanup(self.simulator.faults.clear)
        run, _created = self.account._request_run(kind)
        with patch.object(slices, "end_of_job", lambda: time.monotonic() + seconds):
            for _tick in range(ticks):
                self.tick()
                if run.state not in ("queued", "running"):
                    break
        self.simulator.latency(base=0)
        self.assertEqual(run.state, "done", run.error_detail or run.error_message)
        return run

    def import_results(self):
        """Let the hourly scheduled action work, as when nobody asked for anything."""
        Run = self.env["crm.mailchimp.run"]
        for _tick in range(20):
            self.tick("ir_cron_stats")
            run = Run.search([("kind", "=", "stats")], limit=1)
            if not run.is_open or run.state == "waiting":
                return run
        raise AssertionError("The import does not end.")

    def as_user(self, records):
        """Return records as an administrator has them.

        A superuser, and so an automation rule, is not told what makes no sense.
        """
        return records.with_user(self.env.ref("base.user_admin"))

    def contact(self, name, email=None, **values):
        return self.env["res.partner"].create(
            {
                "name": name,
                "email": email or f"{name.lower().replace(' ', '.')}@firma.be",
                "mailchimp_opt_in": True,
                **values,
            }
        )

    def flag(self, name, domain, model="res.partner", **values):
        return self.env["ir.filters"].create(
            {
                "name": name,
                "domain": domain,
                "model_id": model,
                "mailchimp_sync": True,
                "mailchimp_owner_id": self.env.ref("base.user_admin").id,
                **values,
            }
        )

    @contextmanager
    def before_subscribing(self, act):
        """Let ``act`` happen in Mailchimp just before a batch subscribe reaches it."""
        with self.before("POST", act, depth=2):
            yield

    @contextmanager
    def before(self, method, act, depth=4):
        """Let ``act`` happen in Mailchimp just before such a call reaches it.

        :param int depth: number of parts of the path: a member's is four
        """
        acts = [act]

        def on_call(call, point):
            fits = call.method == method and call.path.count("/") == depth
            if point == "before" and fits and acts:
                acts.pop()()

        take_away = self.simulator.on_call(on_call)
        try:
            yield
        finally:
            take_away()
        self.assertFalse(acts, "there was no such call")

    # === LOOKING === #

    def member(self, email):
        return self.audience.members.get(email)

    def status(self, email):
        member = self.member(email)
        return member and member.status

    def ledger(self, email):
        return self.env["crm.mailchimp.member"].search(
            [("account_id", "=", self.account.id), ("email_normalized", "=", email)]
        )

    def groups(self, email):
        """Return the names of the groups a member is in, as Mailchimp shows them."""
        member = self.member(email)
        return sorted(
            interest.name
            for interest in self.interests()
            if interest.id in member.interests
        )

    def interests(self):
        return [
            interest
            for category in self.audience.categories.values()
            for interest in category.interests.values()
        ]

    def writes(self):
        """Return what the database counted of this session's writes, by table."""
        self.env.cr.execute(
            """SELECT relname, n_tup_ins + n_tup_upd + n_tup_del
                 FROM pg_stat_xact_user_tables"""
        )
        return dict(self.env.cr.fetchall())
