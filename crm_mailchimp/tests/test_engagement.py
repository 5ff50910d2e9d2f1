from operator import eq, ge, gt, le, lt, ne

from lxml.html import fromstring as html_fromstring

from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import SQL

from .common import MailchimpCase


class MailingCase(MailchimpCase):
    """Contacts that received a campaign and did different things with it."""

    def prepare(self):
        super().prepare()
        self.link()
        names = ("Open", "Click", "Never", "Hard", "Soft", "Leaves")
        self.people = {name: self.contact(name) for name in names}
        self.push()
        self.campaign = self.audience.add_campaign(
            type="regular",
            subject="News",
            title="November",
            urls=["https://firma.be/x"],
        )
        self.audience.send_campaign(self.campaign)
        self.audience.open(self.campaign, "open@firma.be")
        self.audience.click(self.campaign, "click@firma.be", "https://firma.be/x")
        self.audience.bounce("hard@firma.be", "hard", self.campaign.id)
        self.audience.bounce("soft@firma.be", "soft", self.campaign.id)
        self.audience.unsubscribe(
            "leaves@firma.be", reason="too many", campaign=self.campaign.id
        )
        self.push("stats")
        self.push()

    def found(self, model, domain):
        return set(self.env[model].search(domain).mapped("name"))


@tagged("post_install", "-at_install")
class TestEngagement(MailingCase):
    """What a contact or lead did with campaigns, on the record and in searches."""

    def contacts(self, domain):
        return self.found("res.partner", domain) & set(self.people)

    def test_on_the_contact(self):
        click = self.people["Click"]
        self.assertEqual(click.mailchimp_campaign_count, 1)
        self.assertTrue(click.mailchimp_last_click)
        self.assertFalse(click.mailchimp_never_opened)
        self.assertEqual(self.people["Hard"].mailchimp_bounced, "hard")
        self.assertEqual(self.people["Soft"].mailchimp_bounced, "soft")
        self.assertTrue(self.people["Never"].mailchimp_never_opened)

    def test_searches(self):
        opened = self.contacts([("mailchimp_last_open", ">=", "-30d")])
        self.assertIn("Open", opened)
        self.assertNotIn("Never", opened)
        self.assertEqual(
            self.contacts([("mailchimp_last_click", ">=", "-30d")]), {"Click"}
        )
        self.assertFalse(self.contacts([("mailchimp_last_open", "<", "-30d")]))
        self.assertEqual(self.contacts([("mailchimp_last_open", "<", "+1d")]), opened)
        never = self.contacts([("mailchimp_never_opened", "=", True)])
        self.assertIn("Never", never)
        self.assertNotIn("Open", never)
        self.assertNotIn("Hard", never)
        self.assertEqual(self.contacts([("mailchimp_bounced", "=", "hard")]), {"Hard"})
        self.assertEqual(self.contacts([("mailchimp_bounced", "=", "soft")]), {"Soft"})
        self.assertEqual(
            self.contacts([("mailchimp_bounced", "=", False)]),
            set(self.people) - {"Hard", "Soft"},
        )
        self.assertEqual(
            self.contacts([("mailchimp_last_open", "=", False)]),
            set(self.people) - opened,
        )

    def test_the_last_open_counts_not_any(self):
        second = self.audience.add_campaign(subject="2", title="2")
        self.simulator.advance(86400)
        self.audience.send_campaign(second, ["open@firma.be"])
        self.audience.open(second, "open@firma.be")
        self.push("stats")
        partner = self.people["Open"]
        recipients = self.env["crm.mailchimp.recipient"].search(
            [("partner_id", "=", partner.id)]
        )
        first, last = sorted(recipients.mapped("last_open"))
        self.assertLess(first, last)
        self.assertEqual(partner.mailchimp_last_open, last)
        for operator, moment, is_found in (
            *(("<", last, False), ("<=", first, False)),
            *(("<=", last, True), (">=", last, True), (">", first, True)),
        ):
            found = self.contacts([("mailchimp_last_open", operator, moment)])
            self.assertEqual("Open" in found, is_found, (operator, moment))

    def test_searches_of_how_many(self):
        self.audience.send_campaign(
            self.audience.add_campaign(subject="2", title="2"), ["open@firma.be"]
        )
        self.push("stats")
        none = self.contact("None")
        counts = {
            partner.name: partner.mailchimp_campaign_count
            for partner in [*self.people.values(), none]
        }
        self.assertEqual(counts["Open"], 2)
        self.people["None"] = none
        for operator in ("=", "!=", "<", "<=", ">", ">="):
            for value in range(4):
                same = {"=": "=="}.get(operator, operator)
                expected = {n for n, c in counts.items() if eval(f"{c}{same}{value}")}
                self.assertEqual(
                    self.contacts([("mailchimp_campaign_count", operator, value)]),
                    expected,
                    (operator, value),
                )
        self.assertEqual(
            self.contacts([("mailchimp_campaign_count", "=", False)]), {"None"}
        )
        Lead = self.env["crm.lead"]
        Lead.create({"name": "By contact", "partner_id": self.people["Open"].id})
        self.assertEqual(
            self.found("crm.lead", [("mailchimp_campaign_count", ">", 1)]),
            {"By contact"},
        )

    def test_a_campaign_to_two_addresses_of_a_contact_counts_once(self):
        self.account.email_scope = "all"
        both = self.contact("Both", "one@firma.be, two@firma.be")
        self.people["Both"] = both
        self.push()
        self.audience.send_campaign(
            self.audience.add_campaign(subject="2", title="2"),
            ["one@firma.be", "two@firma.be"],
        )
        self.push("stats")
        recipients = self.env["crm.mailchimp.recipient"].search(
            [("partner_id", "=", both.id)]
        )
        self.assertEqual(len(recipients), 2)
        self.assertEqual(both.mailchimp_campaign_count, 1)
        for count, is_found in ((1, True), (2, False)):
            found = self.contacts([("mailchimp_campaign_count", "=", count)])
            self.assertEqual("Both" in found, is_found, count)

    def test_a_corrected_contact_does_not_bounce(self):
        Lead = self.env["crm.lead"]
        Lead.create({"name": "Lead", "partner_id": self.people["Hard"].id})
        bounced = [("mailchimp_bounced", "!=", False)]
        self.assertEqual(self.contacts(bounced), {"Hard", "Soft"})
        self.assertEqual(self.found("crm.lead", bounced), {"Lead"})
        for name in ("Hard", "Soft"):
            partner = self.people[name]
            old, partner.email = partner.email, f"new.{name}@firma.be"
            partner.invalidate_recordset()
            self.assertFalse(partner.mailchimp_bounced)
            partner.email = f"x@firma.be, {old}"
            partner.invalidate_recordset()
            self.assertEqual(partner.mailchimp_bounced, name.lower())
            partner.email = f"new.{name}@firma.be"
            # Whose address it is by now does not matter.
            partner.copy({"name": f"Other {name}", "email": old})
            partner.invalidate_recordset()
            self.assertFalse(partner.mailchimp_bounced)
        self.assertFalse(self.contacts(bounced))
        self.assertFalse(self.found("crm.lead", bounced))

    def test_an_address_that_opened_a_mail_since_does_not_bounce(self):
        soft = self.people["Soft"]
        Line = self.env["crm.mailchimp.invalid.email"]
        second = self.audience.add_campaign(subject="2", title="2")
        self.audience.send_campaign(second)
        self.push("stats")
        # That nothing came back yet proves nothing.
        self.assertEqual(soft.mailchimp_bounced, "soft")
        self.assertTrue(Line.search([("partner_id", "=", soft.id)]))
        self.simulator.advance(60)
        self.audience.open(second, "soft@firma.be")
        self.push("stats")
        self.assertFalse(soft.mailchimp_bounced)
        self.assertFalse(self.contacts([("mailchimp_bounced", "=", "soft")]))
        self.assertFalse(Line.search([("partner_id", "=", soft.id)]))

    def test_leads_by_contact_or_by_address(self):
        Lead = self.env["crm.lead"]
        Lead.create({"name": "By contact", "partner_id": self.people["Click"].id})
        by_address = Lead.create(
            {"name": "By address", "email_from": "Clicker <CLICK@firma.be>"}
        )
        by_address.partner_id = False
        Lead.create({"name": "Other", "email_from": "other@firma.be"})
        self.assertEqual(
            self.found("crm.lead", [("mailchimp_last_click", ">=", "-30d")]),
            {"By contact", "By address"},
        )
        self.assertEqual(by_address.mailchimp_campaign_count, 1)
        action = by_address.action_mailchimp_campaigns()
        self.assertEqual(
            self.env[action["res_model"]].search(action["domain"]).email_normalized,
            "click@firma.be",
        )

    def test_a_filter_on_it_is_a_segment(self):
        self.flag("Clicked lately", "[('mailchimp_last_click', '>=', '-30d')]")
        self.push()
        self.assertEqual(self.groups("click@firma.be"), ["Clicked lately"])
        self.assertEqual(self.groups("open@firma.be"), [])

    def test_another_company_sees_nothing_of_it(self):
        other = self.env["res.company"].create({"name": "Other"})
        click = self.people["Click"].with_context(allowed_company_ids=other.ids)
        self.assertFalse(click.mailchimp_campaign_count)
        found = click.search([("mailchimp_last_click", "!=", False)])
        self.assertNotIn(click, found)

    def test_the_card(self):
        self.people["Leaves"].invalidate_recordset()
        card = self.people["Leaves"].mailchimp_card()
        (line,) = card["campaigns"]
        self.assertEqual((line["name"], line["unsubscribed"]), ("November", True))
        self.assertEqual(line["reason"], "too many")
        self.assertEqual(card["status"]["value"], "out")
        self.assertEqual(
            [consent["kind"] for consent in card["consent"]], ["out", "in"]
        )
        user = self.env["res.users"].create({"name": "U", "login": "u1"})
        with self.assertRaises(AccessError):
            self.people["Leaves"].with_user(user).mailchimp_card()


HARD = "hard@firma.be"


@tagged("post_install", "-at_install")
class TestEngagementSearches(MailingCase):
    """A search finds what the records show, and however many recipients there are."""

    def prepare(self):
        super().prepare()
        self.audience.send_campaign(
            self.audience.add_campaign(subject="2", title="2"),
            ["open@firma.be", "never@firma.be"],
        )
        self.push("stats")
        Lead = self.env["crm.lead"]
        leads = Lead.create(
            [
                {"name": name, "partner_id": partner.id}
                for name, partner in self.people.items()
            ]
            + [
                {"name": f"By address {name}", "email_from": partner.email}
                for name, partner in self.people.items()
            ]
            + [{"name": "Nobody"}, {"name": "Other", "email_from": "x@other.be"}]
        )
        # Odoo finds their contacts by itself.
        leads.filtered(lambda lead: lead.name.startswith("By")).partner_id = False
        self.records = {
            "crm.lead": leads,
            "res.partner": self.contact("None").concat(*self.people.values()),
        }

    def matches(self, shown, operator, value):
        if operator == "in":
            return shown in value
        if operator in ("<", "<=", ">", ">=") and shown is False:
            return False
        compare = {"<": lt, "<=": le, ">": gt, ">=": ge, "=": eq, "!=": ne}
        return compare[operator](shown, value)

    def test_a_search_finds_what_the_records_show(self):
        moment = self.people["Open"].mailchimp_last_open
        searches = [
            (field, operator, value)
            for field, values in {
                "mailchimp_campaign_count": (0, 1, 2),
                "mailchimp_last_open": (moment,),
                "mailchimp_last_click": (self.people["Click"].mailchimp_last_click,),
            }.items()
            for operator in ("<", "<=", ">", ">=", "=", "!=")
            for value in values
            if operator in "<=>=" or field == "mailchimp_campaign_count"
            if not (operator == "=" and field != "mailchimp_campaign_count")
        ]
        searches += [
            (field, operator, value)
            for field, value in {
                "mailchimp_last_open": False,
                "mailchimp_last_click": False,
                "mailchimp_never_opened": True,
                "mailchimp_bounced": False,
            }.items()
            for operator in ("=", "!=")
        ]
        searches += [("mailchimp_bounced", "in", ["hard", False])]
        searches += [("mailchimp_bounced", "=", kind) for kind in ("hard", "soft")]
        for model, records in self.records.items():
            for field, operator, value in searches:
                expected = [
                    record.name
                    for record in records
                    if self.matches(record[field], operator, value)
                ]
                found = self.env[model].search(
                    [("id", "in", records.ids), (field, operator, value)]
                )
                self.assertEqual(
                    set(found.mapped("name")),
                    set(expected),
                    (model, field, operator, value),
                )

    def plan(self, query, options="FORMAT JSON"):
        """Return the nodes of a query's plan, where tables cost more than indexes."""
        self.env.cr.execute("SET LOCAL enable_seqscan = off")
        self.env.cr.execute(SQL("EXPLAIN (%s) %s", SQL(options), query))
        ((plan,),) = self.env.cr.fetchone()
        nodes, found = [plan["Plan"]], []
        while nodes:
            node = nodes.pop()
            nodes += node.get("Plans", ())
            found.append(node)
        return found

    def test_a_lead_is_looked_up_by_an_index(self):
        for model, records in self.records.items():
            query = records._mailchimp_grouped(
                SQL("MAX(r.last_open)"), ids=records[:1].ids
            )
            read = [
                node["Node Type"]
                for node in self.plan(query)
                if node.get("Relation Name") == "crm_mailchimp_recipient"
            ]
            self.assertTrue(read)
            self.assertNotIn("Seq Scan", read, model)

    def test_those_without_are_found_by_one_join(self):
        """A subquery that is read anew for each record took minutes."""
        for model in self.records:
            for domain in (
                [("mailchimp_never_opened", "=", True)],
                [("mailchimp_last_open", "=", False)],
                [("mailchimp_last_click", "<", "2020-01-01")],
                [("mailchimp_bounced", "=", False)],
                [("mailchimp_campaign_count", "=", 0)],
            ):
                query = self.env[model]._search(domain, order="id").select()
                apart = [
                    node
                    for node in self.plan(query)
                    if node.get("Parent Relationship") == "SubPlan"
                    # A bounce asks for each whether its address opened a mail later.
                    and "later" not in str(node)
                    and "words" not in str(node)
                ]
                self.assertFalse(apart, (model, domain))

    def test_beside_an_or_recipients_are_not_read_for_each_record(self):
        """With the memory PostgreSQL has by default, a sync never ended."""
        count = 5000
        for model in self.records:
            self.env[model].create([{"name": "Without"}] * 30)
        self.env.cr.execute(
            SQL(
                """INSERT INTO crm_mailchimp_recipient (campaign_id, email_hash,
                          email_normalized, partner_id, status, last_open)
                   SELECT r.campaign_id, n::varchar, r.email_normalized, r.partner_id,
                          'sent', NOW() AT TIME ZONE 'UTC'
                     FROM crm_mailchimp_recipient r, GENERATE_SERIES(1, %s) n
                    WHERE r.partner_id = %s AND r.last_open IS NOT NULL""",
                count,
                self.people["Open"].id,
            )
        )
        self.env.cr.execute("ANALYZE crm_mailchimp_recipient")
        # As small for these as 4 MB is for hundreds of thousands.
        self.env.cr.execute("SET LOCAL work_mem = '64kB'")
        for model in self.records:
            for leaf in (
                ("mailchimp_never_opened", "=", True),
                ("mailchimp_never_opened", "=", False),
                ("mailchimp_last_open", "=", False),
                ("mailchimp_last_open", "!=", False),
                ("mailchimp_last_open", ">", "2020-01-01"),
                ("mailchimp_last_open", "<", "2020-01-01"),
                ("mailchimp_campaign_count", ">", 1),
                ("mailchimp_campaign_count", "=", 0),
            ):
                query = self.env[model]._search(["|", leaf, ("name", "=", "-")])
                nodes = self.plan(query.select(), "ANALYZE, FORMAT JSON")
                read = sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes)
                self.assertLess(read, 10 * count, (model, leaf))

    def test_a_list_asks_as_often_as_a_form(self):
        for model, records in self.records.items():
            names = ["mailchimp_campaign_count", "mailchimp_last_open"]
            counts = []
            records.read(names)  # what Odoo knows of access by then
            for some in (records[:1], records):
                self.env.invalidate_all()
                before = self.env.cr.sql_log_count
                some.read(names)
                counts.append(self.env.cr.sql_log_count - before)
            self.assertEqual(*counts, model)


@tagged("post_install", "-at_install")
class TestInvalidEmails(MailingCase):
    """Addresses that bounced for good, as long as a contact has them."""

    def lines(self, kind="hard"):
        return self.env["crm.mailchimp.invalid.email"].search([("kind", "=", kind)])

    def test_listed_with_campaign_kind_and_date(self):
        line = self.lines()
        self.assertEqual(line.partner_id, self.people["Hard"])
        self.assertEqual(line.campaign_id.name, "November")
        self.assertTrue(line.date)
        self.assertEqual(self.lines("soft").partner_id, self.people["Soft"])
        self.audience.clean("never@firma.be")
        self.push()
        self.assertEqual(self.lines("cleaned").partner_id, self.people["Never"])

    def correct(self, email):
        action = self.lines().action_correct()
        wizard = self.env[action["res_model"]].browse(action["res_id"])
        wizard.line_ids.new_email = email
        return wizard

    def test_corrected(self):
        self.correct("new@firma.be").action_correct()
        self.assertFalse(self.lines())
        self.push()
        self.assertEqual(self.status("new@firma.be"), "subscribed")
        self.assertEqual(self.status("hard@firma.be"), "cleaned")

    def test_a_wrong_correction(self):
        wizard = self.correct("no-address")
        self.assertIn("complete email address", wizard.line_ids.warning)
        with self.assertRaisesRegex(UserError, "no-address"):
            wizard.action_correct()
        self.assertEqual(self.people["Hard"].email, "hard@firma.be")
        wizard.line_ids.new_email = " Hard@Firma.be"
        self.assertIn("This is the address that bounced", wizard.line_ids.warning)
        with self.assertRaisesRegex(UserError, "This is the address that bounced"):
            wizard.action_correct()
        self.audience.clean("never@firma.be")
        self.push()
        wizard.line_ids.new_email = "never@firma.be"
        with self.assertRaisesRegex(UserError, "stopped using this address too"):
            wizard.action_correct()
        self.assertEqual(self.people["Hard"].email, "hard@firma.be")
        wizard.line_ids.new_email = "open@firma.be"
        self.assertIn("Open has this address too", wizard.line_ids.warning)

    def test_removed(self):
        self.lines().action_remove()
        self.assertFalse(self.people["Hard"].email)
        self.assertFalse(self.lines())
        self.push()
        self.assertEqual(self.status("hard@firma.be"), "cleaned")

    def test_one_of_several_addresses(self):
        self.account.email_scope = "all"
        hard = self.people["Hard"]
        hard.email = 'Boss <boss@firma.be>; "Hard, A." <Hard@firma.be>'
        line = self.lines()
        self.assertEqual((line.partner_id, line.email_normalized), (hard, HARD))
        self.assertEqual(self.env["crm.mailchimp.invalid.email"].browse(line.id), line)
        wizard = self.correct("new@firma.be")
        self.assertEqual(wizard.line_ids.old_email, HARD)
        wizard.action_correct()
        self.assertEqual(
            hard.email, '"Boss" <boss@firma.be>, "Hard, A." <new@firma.be>'
        )
        hard.email = f"boss@firma.be, {HARD}"
        self.lines().action_remove()
        self.assertEqual(hard.email, "boss@firma.be")
        self.account.email_scope = "primary"
        hard.email = f"boss@firma.be, {HARD}"
        self.assertFalse(self.lines(), "the audience does not have it by this contact")

    def test_archived(self):
        self.lines().action_archive_contact()
        self.assertFalse(self.people["Hard"].active)
        self.assertFalse(self.lines())

    def test_the_erased_address_of_the_contact_is_no_line(self):
        self.people["Hard"].email = "else@firma.be"
        self.assertFalse(self.lines())


@tagged("post_install", "-at_install")
class TestCampaignReport(MailingCase):
    """The report one would print."""

    def test_it_shows_the_figures(self):
        campaign = self.env["crm.mailchimp.campaign"].search([])
        html, _kind = self.env["ir.actions.report"]._render_qweb_html(
            "crm_mailchimp.report_campaign", campaign.ids
        )
        text = html.decode()
        self.assertIn("November", text)
        self.assertIn("https://firma.be/x", text)
        self.assertIn(f"{100 * campaign.click_rate:.1f} %", text)
        self.assertNotIn("<img", text.split('class="page"')[1])
        heights = [
            dict(part.split(": ") for part in bar.get("style").split("; "))
            for bar in html_fromstring(html).xpath("//td/div[contains(@style, '45%')]")
        ]
        self.assertEqual(len(heights), 48)
        self.assertEqual(max(bar["height"] for bar in heights), "130.0px")
        self.assertEqual(
            {bar["background-color"] for bar in heights}, {"#714B67", "#21b799"}
        )

    def test_its_buttons_open_the_recipients(self):
        campaign = self.env["crm.mailchimp.campaign"].search([])
        action = campaign.with_context(
            search_default_clicked=1
        ).action_open_recipients()
        self.assertEqual(action["context"], {"search_default_clicked": 1})
        recipients = self.env["crm.mailchimp.recipient"].search(action["domain"])
        self.assertEqual(len(recipients), campaign.sent)
