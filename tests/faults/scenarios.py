"""What is played in the fault matrix: a prepared state, and what a user does then."""

import re

from odoo.exceptions import UserError

from odoo.addons.crm_mailchimp.engine.lease import read_mark

HOUR = 3600
ID = r"\b[0-9a-f]{10}\b"


class Scenario:
    """Something a user does, in which one call may go wrong.

    :param world: gives ``case``, ``env``, ``account``, ``simulator`` and what people do
    """

    name = None
    #: Addresses that say no: once out of the audience, none of them may come back.
    said_no = ()

    def __init__(self, world):
        self.world = world

    def __getattr__(self, name):
        return getattr(self.world, name)

    def prepare(self):
        """Make the state that every play begins with."""

    def begin(self):
        """Forget the play before."""

    def play(self):
        """Do it. Called a second time, it is what a user does who sees it undone."""

    def again(self):
        """Let what is left be done, without a fault."""
        self.play()

    def link(self):
        """Link the audience, and let it be read."""
        self.case.link(push=False)
        self.work("push")

    def add(self, name, city="Ghent", **values):
        return self.case.contact(name, city=city, **values)

    def find(self, name):
        partners = self.env["res.partner"].with_context(active_test=False)
        return partners.search([("email", "=like", "%@firma.be"), ("name", "=", name)])

    def press(self, button):
        """Press a button; after a sentence that says why it cannot be, once more."""
        for last in (False, True):
            try:
                with self.env.cr.savepoint():
                    return button()
            except UserError as error:
                if last or not str(error):
                    raise
        return None


class CreateAudience(Scenario):
    """Connect, and let Odoo create the audience."""

    name = "create"

    def prepare(self):
        self.account.action_disconnect()
        self.account.api_key = self.simulator.api_key
        self.account.company_id.write(
            {
                **{"street": "Veldstraat 1", "city": "Ghent"},
                **{"country_id": self.env.ref("base.be").id, "email": "us@firma.be"},
            }
        )

    def play(self):
        account = self.account
        if account.state == "draft":
            self.press(account.action_connect)
        if not account.audience_ref and not account.open_run_id:
            action = self.press(account.action_create_audience)
            wizard = self.env[action["res_model"]].browse(action["res_id"])
            wizard.name = "Customers"
            self.press(wizard.action_create)
        self.work()


class ChooseAudience(Scenario):
    """Connect, choose an audience with members, and let some of them go."""

    name = "choose"
    said_no = ("bob", "cas")

    def prepare(self):
        CreateAudience.prepare(self)
        for name, status in (
            *(("Fox", "subscribed"), ("Ann", "subscribed"), ("Bob", "unsubscribed")),
            *(("Cas", "subscribed"), ("Dan", "archived")),
        ):
            self.audience.add_member(f"{name.lower()}@firma.be", status)
            if name != "Fox":
                self.add(name)
        self.step()
        self.find("Cas").mailchimp_opt_in = False
        self.step()

    def play(self):
        account = self.account
        if account.state == "draft":
            self.press(account.action_connect)
        if not account.audience_ref:
            action = self.press(account.action_choose_audience)
            wizard = self.env[action["res_model"]].browse(action["res_id"])
            wizard.line_id = wizard.line_ids
            self.press(wizard.action_link)
            wizard.archive_opted_out = True
            self.press(wizard.action_link)
        self.work()
        self.work_lane()


class Push(Scenario):
    """The first push, with a saved filter as group and as tag."""

    name = "push"
    said_no = ("out", "no")

    def prepare(self):
        self.account.segment_target = "both"
        self.audience.add_member("fox@firma.be")
        self.audience.add_member("bob@firma.be")
        self.link()
        for name, city in (
            *(("Ann", "Ghent"), ("Bob", "Ghent"), ("Cas", "Rome"), ("Dan", "Ghent")),
            *(("Eve", "Ghent"), ("Out", "Ghent")),
        ):
            self.add(name, city)
        self.add("Gho", is_company=True)
        self.case.flag("In Ghent", "[('city', '=', 'Ghent')]")
        self.find("Ann").mailchimp_add_tag("VIP")
        self.step()
        self.find("Out").mailchimp_opt_in = False
        self.audience.add_member("no@firma.be", "unsubscribed")
        self.add("No")
        self.step()

    def begin(self):
        self.names = {}

    def again(self):
        """What was refused waits for a change: a user edits the contact, and back.

        A tag is asked for again.
        """
        tags = self.env["crm.mailchimp.contact.tag"].search([("state", "=", "refused")])
        for tag in tags:
            tag.partner_id.mailchimp_add_tag(tag.name)
        for partner, name in self.names.items():
            partner.name = name
        self.names = {
            member.partner_id: member.partner_id.name
            for member in self.env["crm.mailchimp.member"].search(
                [("reason", "=", "other")]
            )
        }
        for partner, name in self.names.items():
            partner.name = f"{name} Again"
        self.play()

    def play(self):
        # What Mailchimp refused for once, the account shows with a remedy.
        self.account.merge_field_ids.filtered("error_message").create_missing = True
        self.account.action_sync_now()
        self.work()
        self.work_lane()


class Increment(Push):
    """All that can change after a finished first push."""

    name = "incremental"
    said_no = ("out", "no", "two", "ivo", "said")

    def prepare(self):
        super().prepare()
        for name in ("Ivo", "Left", "Back", "Two", "Said"):
            self.add(name)
        self.account.action_sync_now()
        self.work()
        self.step()
        self.find("Back").active = False
        self.account.action_sync_now()
        self.work()
        self.step()

    def begin(self):
        super().begin()
        self.changed = False

    def play(self):
        if not self.changed:
            self.changed = True
            self.change()
        super().play()

    def change(self):
        self.find("Two").mailchimp_opt_in = False
        self.work_lane()
        # Before the lane, the run comes to these.
        self.add("New")
        self.find("Ann").city = "Rome"
        self.find("Cas").city = "Ghent"
        self.find("Eve").name = "Eva"
        self.find("Dan").email = "daniel@firma.be"
        self.find("Left").active = False
        self.find("Back").active = True
        self.find("Ivo").mailchimp_opt_in = False
        self.find("Bob").mailchimp_add_tag("VIP")
        self.audience.unsubscribe("said@firma.be")
        self.env["ir.filters"].search([("name", "=", "In Ghent")]).name = "Ghent"
        self.step()


class Statistics(Scenario):
    """The first import of a campaign's results."""

    name = "statistics"
    said_no = ("bob", "dan", "gus")

    def prepare(self):
        self.link()
        for name in ("Ann", "Bob", "Cas", "Dan", "Eve", "Fay", "Gus"):
            self.add(name)
        self.account.action_sync_now()
        self.work()
        self.step()
        self.send_campaign("News")
        self.react("News", "ann", "bob")
        self.audience.bounce("cas@firma.be", "soft", campaign=self.sent("News"))
        self.audience.bounce("dan@firma.be", "hard", campaign=self.sent("News"))
        self.audience.complain("gus@firma.be", campaign=self.sent("News"))
        self.step()
        self.audience.unsubscribe("bob@firma.be", "enough", campaign=self.sent("News"))
        self.step()

    def send_campaign(self, title):
        urls = ["https://firma.be/a", "https://firma.be/b"]
        campaign = self.audience.add_campaign(title=title, subject=title, urls=urls)
        self.audience.send_campaign(campaign)

    def sent(self, title):
        found = self.simulator.account.campaigns.values()
        return next(campaign for campaign in found if campaign.title == title)

    def react(self, title, *names):
        for name in names:
            self.audience.open(self.sent(title), f"{name}@firma.be")
            self.audience.click(self.sent(title), f"{name}@firma.be")

    def play(self):
        self.account.action_import_stats()
        self.work("stats")

    def again(self):
        # What was refused is tried again after hours.
        self.simulator.advance(6 * HOUR)
        self.play()


class Refresh(Statistics):
    """A later import, with new events and another campaign."""

    name = "refresh"
    said_no = ("bob", "dan", "eve", "fay", "gus")

    def prepare(self):
        super().prepare()
        self.play()
        self.simulator.advance(6 * HOUR)
        self.react("News", "ann", "eve")
        self.audience.complain("eve@firma.be", campaign=self.sent("News"))
        self.send_campaign("More")
        self.react("More", "ann", "fay")
        self.audience.unsubscribe("fay@firma.be", campaign=self.sent("More"))
        self.step()

    def play(self):
        # Nobody asks for it: the hourly scheduled action finds it due.
        self.work("stats")


SCENARIOS = (CreateAudience, ChooseAudience, Push, Increment, Statistics, Refresh)

TABLES = {
    "contact": """
        SELECT name, email_normalized, active, mailchimp_opt_in FROM res_partner
         WHERE email LIKE '%@firma.be'""",
    "account": """
        SELECT state, error_message, audience_name, push_enabled, look_again,
               opt_out_error, remote_refs -> 'creating'
          FROM crm_mailchimp_account WHERE active""",
    "open run": """
        SELECT kind, state, error_message FROM crm_mailchimp_run
         WHERE state IN ('queued', 'running', 'waiting', 'brake')""",
    "mapping": """
        SELECT tag, source, remote_ref > 0, kind, create_missing, error_message
          FROM crm_mailchimp_merge_field""",
    "segment": """
        SELECT s.name, s.state, s.error_message, s.remote_name, s.tag_name,
               s.person_ref IS NULL, s.company_ref IS NULL, s.matching_count,
               ARRAY(SELECT m.email_normalized FROM crm_mailchimp_segment_tagged t
                       JOIN crm_mailchimp_member m ON m.id = t.member_id
                      WHERE t.segment_id = s.id AND m.wanted ORDER BY 1)
          FROM crm_mailchimp_segment s""",
    "contact tag": """
        SELECT DISTINCT p.name, t.name, t.state, t.reason
          FROM crm_mailchimp_contact_tag t JOIN res_partner p ON p.id = t.partner_id
         WHERE t.state <> 'refused'""",
    "ledger": """
        SELECT m.email_normalized, p.name, m.status, m.status_before, m.archived_by,
               m.origin, m.wanted, m.operation, m.sending, m.batch_ref,
               m.reason, m.reason_text, m.next_try, m.edited, m.moved_from_id,
               m.opt_out_at IS NULL, m.opt_out_confirmed_at IS NULL,
               CASE WHEN m.status IS NOT NULL THEN m.values_sent END,
               m.values_seen, m.values_sending, m.values_refused
          FROM crm_mailchimp_member m LEFT JOIN res_partner p ON p.id = m.partner_id""",
    "no": """
        SELECT email_normalized, source, kind, note, lifted_by
          FROM crm_mailchimp_suppression""",
    "consent": """
        SELECT p.name, c.kind, c.source, c.note
          FROM crm_mailchimp_consent c JOIN res_partner p ON p.id = c.partner_id
         WHERE p.email LIKE '%@firma.be'""",
    "campaign": """
        SELECT name, campaign_type, status, failure, COALESCE(failures, 0), sent,
               delivered, opens_total, opens_unique, clicks_total, clicks_unique,
               unsubscribed, hard_bounces, soft_bounces, complaints,
               recipients_date IS NULL, utm_campaign_id IS NULL
          FROM crm_mailchimp_campaign""",
    "link": """
        SELECT url, clicks_total, clicks_unique FROM crm_mailchimp_campaign_link""",
    "recipient": """
        SELECT c.name, r.email_normalized, p.name, r.status, r.open_count,
               r.click_count, r.first_open, r.last_click, r.bounce_date,
               r.unsubscribed_date, r.unsubscribe_reason, r.complaint_date,
               ARRAY(SELECT e.kind || e.date || e.url || e.number
                       FROM crm_mailchimp_recipient_event e
                      WHERE e.recipient_id = r.id ORDER BY 1)
          FROM crm_mailchimp_recipient r
          JOIN crm_mailchimp_campaign c ON c.id = r.campaign_id
          LEFT JOIN res_partner p ON p.id = r.partner_id""",
}


def state(env, simulator):
    """Return what a user sees in Odoo and in Mailchimp, without ids and times.

    :return: sorted list of lines
    """
    env.flush_all()
    lines, names = [], {}
    for audience in simulator.audiences:
        lines += [f"{audience.name} {line}" for line in shown(audience)]
        for category in audience.categories.values():
            for interest in category.interests.values():
                names[interest.id] = f"{category.title}: {interest.name}"
    for label, query in TABLES.items():
        env.cr.execute(query)
        for row in env.cr.fetchall():
            # Groups are made in another order when one of them was refused.
            words = re.sub(ID, lambda found: names.get(found[0], found[0]), str(row))
            lines.append(f"{label}: {words}")
    return sorted(lines)


def shown(audience):
    """Yield what Mailchimp shows of an audience, a line each."""
    yield "audience"
    for email, member in audience.members.items():
        line = f"member: {email} {member.status}"
        # What archived members keep depends on when they left.
        yield (
            line
            if member.status == "archived"
            else (
                f"{line} {sorted(member.merge_fields.items())}"
                f" {sorted(member.interest_names)} {sorted(member.tag_names)}"
                f" {member.language}"
            )
        )
    for field in audience.merge_fields.values():
        yield f"merge field: {field.tag} {field.name} {field.type}"
    for category in audience.categories.values():
        title = "mark" if read_mark(category.title) else category.title
        names = sorted(interest.name for interest in category.interests.values())
        yield f"category: {title} {category.type} {names}"
    for segment in audience.segments.values():
        members = sorted(m.email for m in segment.members if m.status != "archived")
        yield f"segment: {segment.name} {segment.type} {members}"
