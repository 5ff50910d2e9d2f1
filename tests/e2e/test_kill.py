"""A process that dies at any point of any call leaves nothing lost and nothing doubled.

Somebody unsubscribes before the push, and two more while the process is dead: one
whom the push changes and one whom it may just have created.
"""

import os
import shutil
import signal

import pytest

from mailchimp_simulator import Simulator

from .conftest import DATABASE, Rows, Worker

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
for name in ("ann", "bob", "carol", "gus"):
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
REQUEST = """
env["crm.mailchimp.account"].search([])._request_run("push")
"""
# They unsubscribe while the process is dead.
AWAY = ("ann@firma.be", "dan@firma.be")
CONTACTS = """
SELECT p.email_normalized, p.mailchimp_opt_in,
       (SELECT json_agg(json_build_array(c.kind, c.source, c.email_normalized)
                        ORDER BY c.id)
          FROM crm_mailchimp_consent c WHERE c.partner_id = p.id),
       (SELECT COUNT(*) FROM mail_message m
         WHERE m.model = 'res.partner' AND m.res_id = p.id),
       (SELECT json_agg(json_build_array(m.status, m.origin, m.operation,
                                         m.values_sent->'m'))
          FROM crm_mailchimp_member m WHERE m.email_normalized = p.email_normalized),
       (SELECT json_agg(json_build_array(r.kind, r.state) ORDER BY r.id)
          FROM crm_mailchimp_run r)
  FROM res_partner p WHERE p.email_normalized LIKE '%@firma.be'
"""


def title(title):
    """Return the title of a category; that of the lease without its random part."""
    return title and title.partition(" since ")[0]


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
            self.push()
        self.worker.execute(CHANGE)
        self.simulator.audiences[0].unsubscribe("gus@firma.be", reason="Too many")
        self.simulator.stop()
        shutil.copy(self.state, self.ready)
        self.rows = Rows(self.sql)
        with self.on_stage():
            self.push()
            self.calls = len(self.simulator.calls)
            self.expected = self.look()
            self.leave()
            self.worker.execute(REQUEST)
            self.push()
            self.expected_of_leavers = self.look()

    def sql(self, query):
        return self.environment.postgres.sql(query, DATABASE)

    def on_stage(self):
        """Put database and audience back to where the push begins."""
        self.rows.put_back()
        shutil.copy(self.ready, self.state)
        self.simulator = Simulator(port=self.port, state=self.state)
        return self.simulator

    def push(self):
        assert self.worker.run(trigger=PUSH) == 0, f"see {self.worker.log}"

    def leave(self):
        """Unsubscribe those of ``AWAY`` who are members; return them."""
        (audience,) = self.simulator.audiences
        leavers = [address for address in AWAY if address in audience.members]
        for address in leavers:
            audience.unsubscribe(address, reason="Not for me")
        return leavers

    def kill(self, number, point):
        """Push, and kill the process at a point of its call of that number."""
        if point == "applied":
            fatal = len(self.simulator.calls) + number

            def on_call(call, reached):
                if call.number == fatal and reached == "applied":
                    os.kill(self.worker.pid, signal.SIGKILL)

            forget = self.simulator.on_call(on_call)
            assert self.worker.run(trigger=PUSH) == -signal.SIGKILL
            forget()
        else:
            job = {"trigger": PUSH, "kill": [number, point]}
            assert self.worker.run(**job) == -signal.SIGKILL

    def mistakes(self, number, point):
        """Kill the push at a point of a call, run it once more, and compare."""
        with self.on_stage():
            self.kill(number, point)
            leavers = self.leave()
            self.push()
            return self.compare(leavers)

    def compare(self, leavers):
        """Return ``[(what, found, expected)]`` of everything that is not right."""
        found, created = self.look(), self.creations()
        wrong = []
        for address, expected in self.expected["contacts"].items():
            contact = found["contacts"][address]
            if address in leavers:
                # Their values went or did not go; after the "no" nothing is sent.
                expected = self.expected_of_leavers["contacts"][address]
                expected, contact = (
                    {part: side[part] for part in ("status", "opt-in", "trace")}
                    for side in (expected, contact)
                )
            if contact != expected:
                wrong.append((address, contact, expected))
        for part in ("members", "groups", "merge fields", "runs"):
            if found[part] != self.expected[part]:
                wrong.append((part, found[part], self.expected[part]))
        twice = sorted({item for item in created if created.count(item) > 1})
        if twice:
            wrong.append(("sent twice", twice, []))
        return wrong

    def creations(self):
        """Return what was asked to be created since the push began."""
        return [
            (
                call.path,
                item.get("email_address") or title(item.get("title")) or item["name"],
            )
            for call in self.simulator.calls
            if call.method == "POST"
            for item in call.body.get("members") or [call.body]
            # Of a request that was on its way when the process died nothing came.
            if item
        ]

    def look(self):
        (audience,) = self.simulator.audiences
        rows = self.sql(CONTACTS)
        contacts = {}
        for address, opt_in, consent, messages, ledger, _runs in rows:
            member = audience.members.get(address)
            contacts[address] = {
                "status": member and member.status,
                "opt-in": opt_in,
                # Nothing is noted twice, neither as consent nor in the chatter.
                "trace": (consent, messages),
                "values": member
                and {tag: value for tag, value in member.merge_fields.items() if value},
                "groups": member and sorted(member.interest_names),
                "ledger": ledger,
            }
        return {
            "contacts": contacts,
            "members": sorted(audience.members),
            "groups": sorted(
                (
                    title(category.title),
                    sorted(i.name for i in category.interests.values()),
                )
                for category in audience.categories.values()
            ),
            "merge fields": sorted(f.tag for f in audience.merge_fields.values()),
            "runs": rows[0][-1],
        }


@pytest.fixture(scope="module")
def story(environment, template, tmp_path_factory):
    story = Story(environment, template, tmp_path_factory.mktemp("kill"))
    yield story
    story.worker.close()


def test_the_push_without_any_trouble(story):
    """What all the others are compared with."""
    contacts = story.expected["contacts"]
    assert {address: contact["status"] for address, contact in contacts.items()} == {
        "ann@firma.be": "subscribed",
        "bob@firma.be": "archived",
        "carol@firma.be": "subscribed",
        "dan@firma.be": "subscribed",
        "eve@firma.be": "subscribed",
        "fay@firma.be": "subscribed",
        "gus@firma.be": "unsubscribed",
        "corp@firma.be": "subscribed",
    }
    assert contacts["ann@firma.be"]["values"]["CITY"] == "Bruges"
    assert contacts["ann@firma.be"]["groups"] == ["All"]
    assert contacts["dan@firma.be"]["values"]["ZIP"] == "9000"
    assert contacts["dan@firma.be"]["groups"] == ["All", "Ghent"]
    assert not contacts["gus@firma.be"]["opt-in"]
    kinds = [line[:2] for line in contacts["gus@firma.be"]["trace"][0]]
    assert kinds == [["in", "user"], ["out", "mailchimp"]]
    assert story.expected["groups"] == [
        ("CRM companies", ["All", "Ghent"]),
        ("CRM contacts", ["All", "Ghent"]),
        ("Odoo", []),
    ]
    assert {state for _kind, state in story.expected["runs"]} == {"done"}
    assert 12 <= story.calls <= 25


def test_somebody_leaves_after_the_push(story):
    for address in AWAY:
        before = story.expected["contacts"][address]
        after = story.expected_of_leavers["contacts"][address]
        assert (after["status"], after["opt-in"]) == ("unsubscribed", False)
        consent, messages = after["trace"]
        assert consent == [
            *before["trace"][0],
            ["out", "mailchimp", address],
        ]
        assert messages == before["trace"][1] + 1


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("before", marks=pytest.mark.long),
        "applied",
        pytest.param("answered", marks=pytest.mark.long),
    ],
)
def test_killed_at_every_call(story, point):
    wrong = [
        (number, *mistake)
        for number in range(1, story.calls + 1)
        for mistake in story.mistakes(number, point)
    ]
    assert not wrong, f"killed {point}: {wrong[:3]}"


@pytest.mark.parametrize("point", POINTS)
def test_killed_twice_in_a_row(story, point):
    """The second process dies further on, after it looked at what the first did."""
    with story.on_stage():
        story.kill(9, point)
        story.kill(13, point)
        story.push()
        wrong = story.compare(leavers=[])
    assert not wrong
