"""A process that dies at any point of any call leaves nothing lost and nothing doubled."""

import os
import shutil
import signal

import pytest
from mailchimp_simulator import Simulator

from .conftest import DATABASE, READY, Worker

PUSH = "crm_mailchimp.ir_cron_push"
POINTS = ("before", "applied", "answered")
LINK = """
env["ir.config_parameter"].set_param("crm_mailchimp.api_url", {url!r})
account = env["crm.mailchimp.account"].create({{"name": "Test", "lang": "en_US"}})
account.api_key = {key!r}
account.action_connect()
wizard = env["crm.mailchimp.choose.audience"].create({{"account_id": account.id}})
wizard.line_id = wizard.line_ids[:1]
wizard.action_link()
account.push_enabled = True
for name in ("ann", "bob", "carol"):
    env["res.partner"].create({{
        "name": name, "email": name + "@firma.be", "city": "Ghent",
        "mailchimp_opt_in": True,
    }})
"""
CHANGE = """
find = lambda name: env["res.partner"].search([("email", "=", name + "@firma.be")])
find("ann").city = "Bruges"
find("bob").mailchimp_opt_in = False
for name in ("dan", "eve", "fay"):
    env["res.partner"].create({
        "name": name, "email": name + "@firma.be", "city": "Ghent", "zip": "9000",
        "mailchimp_opt_in": True,
    })
env["res.partner"].create({
    "name": "Corp", "email": "corp@firma.be", "city": "Ghent", "is_company": True,
    "mailchimp_opt_in": True,
})
account = env["crm.mailchimp.account"].search([])
env["crm.mailchimp.merge.field"].create({
    "account_id": account.id, "tag": "ZIP", "name": "Zip", "field_path": "zip",
})
for name, domain in (("Ghent", "[('city', '=', 'Ghent')]"), ("All", "[]")):
    env["ir.filters"].create({
        "name": name, "domain": domain, "model_id": "res.partner",
        "mailchimp_sync": True, "mailchimp_owner_id": env.ref("base.user_admin").id,
    })
account._request_run("push")
"""


class Story:
    """A prepared database and audience, and what they must look like in the end."""

    def __init__(self, environment, template, folder):
        self.environment = environment
        self.state = folder / "state"
        self.ready = folder / "ready"
        environment.clone_database(template, DATABASE)
        self.worker = Worker(environment, DATABASE)
        self.simulator = Simulator(port=0, state=self.state).start()
        self.port = self.simulator.port
        self.simulator.add_audience("Test audience")
        self.worker.execute(
            LINK.format(url=self.simulator.url, key=self.simulator.api_key)
        )
        for _tick in range(2):
            assert self.worker.run(trigger=PUSH) == 0
        self.worker.execute(CHANGE)
        self.simulator.stop()
        shutil.copy(self.state, self.ready)
        environment.clone_database(DATABASE, READY)
        self.expected = self.play()
        self.calls = self.count

    def play(self, number=None, point=None):
        """Play the push, killed at a point of a call if one is given, then once more.

        :return: what Mailchimp and Odoo look like afterwards
        """
        self.environment.clone_database(READY, DATABASE)
        shutil.copy(self.ready, self.state)
        self.simulator = Simulator(port=self.port, state=self.state).start()
        try:
            if point is None:
                assert self.worker.run(trigger=PUSH) == 0
                self.count = len(self.simulator.calls)
            else:
                self.kill(number, point)
                assert self.worker.run(trigger=PUSH) == 0
            return self.look()
        finally:
            self.simulator.stop()

    def kill(self, number, point):
        if point == "applied":

            def on_call(call, reached):
                if call.number == number and reached == "applied":
                    os.kill(self.worker.pid, signal.SIGKILL)

            forget = self.simulator.on_call(on_call)
            assert self.worker.run(trigger=PUSH) == -signal.SIGKILL
            forget()
        else:
            job = {"trigger": PUSH, "kill": [number, point]}
            assert self.worker.run(**job) == -signal.SIGKILL

    def look(self):
        (audience,) = self.simulator.audiences
        sql = self.environment.postgres.sql
        return {
            "members": {
                address: (
                    member.status,
                    {tag: value for tag, value in member.merge_fields.items() if value},
                    sorted(
                        interest.name
                        for category in audience.categories.values()
                        for interest in category.interests.values()
                        if interest.id in member.interests
                    ),
                )
                for address, member in audience.members.items()
            },
            "categories": sorted(
                (category.title, sorted(i.name for i in category.interests.values()))
                for category in audience.categories.values()
            ),
            "merge fields": sorted(f.tag for f in audience.merge_fields.values()),
            "runs": sql(
                "SELECT kind, state FROM crm_mailchimp_run ORDER BY id", DATABASE
            ),
            "consent": sql(
                "SELECT email_normalized, kind, source FROM crm_mailchimp_consent"
                " ORDER BY 1, 2, 3",
                DATABASE,
            ),
            "chatter": sql(
                "SELECT res_id, COUNT(*) FROM mail_message WHERE model = 'res.partner'"
                " GROUP BY 1 ORDER BY 1",
                DATABASE,
            ),
            "ledger": sql(
                "SELECT email_normalized, status, origin, operation, values_sent->'m'"
                " FROM crm_mailchimp_member ORDER BY 1",
                DATABASE,
            ),
        }

    def close(self):
        self.worker.close()
        for name in (DATABASE, READY):
            self.environment.drop_database(name)


@pytest.fixture(scope="module")
def story(environment, template, tmp_path_factory):
    story = Story(environment, template, tmp_path_factory.mktemp("kill"))
    yield story
    story.close()


def test_the_push_without_any_trouble(story):
    """What all the others are compared with."""
    members = story.expected["members"]
    assert {address: member[0] for address, member in members.items()} == {
        "ann@firma.be": "subscribed",
        "bob@firma.be": "archived",
        "carol@firma.be": "subscribed",
        "dan@firma.be": "subscribed",
        "eve@firma.be": "subscribed",
        "fay@firma.be": "subscribed",
        "corp@firma.be": "subscribed",
    }
    assert members["ann@firma.be"][1]["CITY"] == "Bruges"
    assert members["ann@firma.be"][2] == ["All"]
    assert members["dan@firma.be"][1]["ZIP"] == "9000"
    assert members["dan@firma.be"][2] == ["All", "Ghent"]
    assert story.expected["categories"] == [
        ("CRM companies", ["All", "Ghent"]),
        ("CRM contacts", ["All", "Ghent"]),
    ]
    assert 12 <= story.calls <= 25


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_call(story, point):
    wrong = []
    for number in range(1, story.calls + 1):
        found = story.play(number, point)
        for part, expected in story.expected.items():
            if found[part] != expected:
                wrong.append((number, part, found[part], expected))
    assert not wrong, f"killed {point}: {wrong[:3]}"
