from odoo import api, fields, models
from odoo.tools import SQL

from ..engine import errors
from ..engine.address import member_hash
from ..engine.observe import utc
from ..engine.plan import REACHABLE

# Up to this many addresses are looked up one by one; if more said "no", the members of
# the audience are paged through instead.
LOOKED_UP = 200
PAGES = 20
PAGE = 1000
FIELDS = (
    "total_items,members.email_address,members.status,members.timestamp_opt,"
    "members.timestamp_signup"
)


class CrmMailchimpAccount(models.Model):
    """Members who opted out in Odoo before the audience they are in was linked.

    Nobody knows who subscribed them there and when they agreed to it, so a person has
    to decide: they are listed before the audience is linked and on the account
    afterwards, and leave through the lane of opt-outs once somebody decides so.
    """

    _inherit = "crm.mailchimp.account"

    opted_out_count = fields.Integer(
        string="Opted out, but subscribed", compute="_compute_opted_out_count"
    )

    def _compute_opted_out_count(self):
        self._flush_contacts()
        for account in self:
            rows = account.audience_ref and self.env.execute_query(
                SQL("SELECT COUNT(*) FROM (%s) m", account._opted_out_before_sql())
            )
            account.opted_out_count = rows and rows[0][0]

    def _opted_out_before_sql(self):
        """Return a query with the ids of members somebody has to decide about.

        They are subscribed, only in Mailchimp, and their address said no in Odoo with
        no sign-up in Mailchimp since. Members that leave anyway are not among them. An
        address that was erased from the do-not-email list is known by its hash.
        """
        self.ensure_one()
        where = SQL(
            """m.account_id = %s AND m.origin = 'foreign'
               AND m.status IN ('subscribed', 'pending')
               AND s.source <> 'mailchimp' AND s.lifted_at IS NULL
               AND COALESCE(m.opt_in_date <= s.date, TRUE) AND NOT %s""",
            self.id,
            self._was_eligible_condition(),
        )
        return SQL(
            """SELECT m.id FROM crm_mailchimp_suppression s
                 JOIN crm_mailchimp_member m ON m.email_normalized = s.email_normalized
                WHERE %(where)s
                UNION
               SELECT m.id FROM crm_mailchimp_suppression s
                 JOIN crm_mailchimp_member m
                   ON MD5(LOWER(m.email_normalized)) = s.email_hash
                WHERE s.email_normalized IS NULL AND %(where)s""",
            where=where,
        )

    def action_open_opted_out(self):
        """List the members who opted out in Odoo, to decide on archiving them."""
        action = self._open("crm_mailchimp.action_crm_mailchimp_member")
        action["domain"] += [("is_opted_out_before", "=", True)]
        name = self.env._("Opted out in Odoo, subscribed in Mailchimp")
        action.update(name=name, display_name=name)
        action["context"] = {"mailchimp_buttons": "archive"}
        return action

    # === BEFORE LINKING === #

    @api.model
    def _said_no_in_odoo(self):
        """Return ``{hash of an address: (date, kind)}`` of the "no" said in Odoo."""
        self._flush_contacts()
        rows = self.env.execute_query(
            SQL(
                """SELECT DISTINCT ON (email_hash) email_hash, date, kind
                     FROM crm_mailchimp_suppression
                    WHERE source <> 'mailchimp' AND lifted_at IS NULL
                 ORDER BY email_hash, date DESC"""
            )
        )
        return {digest: no for digest, *no in rows}

    def _find_opted_out(self, gateway, audience_ref, members, enough):
        """Find who said no in Odoo and is subscribed to an audience.

        A few addresses are looked up one by one; for many, the members are read.

        :param str audience_ref: id of an audience that need not be linked
        :param dict members: status -> number of members, to know when to stop
        :param enough: function without arguments: whether to start no further call
        :return: ``([(member of the API, date, kind), ...], complete)``
        """
        said_no = self._said_no_in_odoo()
        if not said_no or not any(members.get(status) for status in REACHABLE):
            return [], True
        found, complete = [], True

        def note(member):
            date, kind = said_no.get(member_hash(member["email_address"]), (None, None))
            signed_up = utc(
                member.get("timestamp_opt") or member.get("timestamp_signup")
            )
            if (
                date
                and member["status"] in REACHABLE
                and not (signed_up and signed_up > date)
            ):
                found.append((member, date, kind))

        if len(said_no) <= LOOKED_UP:
            calls = (
                (digest, gateway.find_member, audience_ref, digest)
                for digest in said_no
            )
            looked_at = 0
            for outcomes in gateway.map(calls, enough):
                for _digest, member in outcomes:
                    if isinstance(member, errors.MailchimpError):
                        raise member
                    looked_at += 1
                    if member:
                        note(member)
            return found, looked_at == len(said_no)
        for status in REACHABLE:
            pages = -(-members.get(status, 0) // PAGE)
            complete &= pages <= PAGES
            calls = (
                (
                    number,
                    lambda status=status, number=number: gateway.members(
                        audience_ref,
                        status=status,
                        count=PAGE,
                        offset=number * PAGE,
                        fields=FIELDS,
                    ),
                )
                for number in range(min(pages, PAGES))
            )
            read = 0
            for outcomes in gateway.map(calls, enough):
                for _number, reply in outcomes:
                    if isinstance(reply, errors.MailchimpError):
                        raise reply
                    read += 1
                    for member in reply["members"]:
                        note(member)
            complete &= read == min(pages, PAGES)
        return found, complete

    def _archive_opted_out(self, members):
        """Hand members that somebody decided to archive to the lane of opt-outs.

        :param members: records of the ledger
        """
        members = members.sudo()
        members.filtered(lambda member: member.origin == "foreign").origin = "claimed"
        members.opt_out_at = self._mailchimp_now()
        # Restore addresses erased from the do-not-email list: the lane goes by them.
        self.env.flush_all()
        self.env.cr.execute(
            SQL(
                """UPDATE crm_mailchimp_suppression s
                      SET email_normalized = m.email_normalized
                     FROM crm_mailchimp_member m
                    WHERE m.id = ANY(%s) AND s.email_normalized IS NULL
                      AND s.email_hash = MD5(LOWER(m.email_normalized))""",
                members.ids,
            )
        )
        self.env["crm.mailchimp.suppression"].invalidate_model(flush=False)
        for account in members.account_id:
            account._message_log(
                body=self.env._(
                    "%(user)s has members who opted out in Odoo archived in "
                    "Mailchimp: %(count)s.",
                    user=self.env.user.name,
                    count=len(members.filtered(lambda m, a=account: m.account_id == a)),
                )
            )
        self._wake_opt_outs()

    def _expect_opted_out(self, found):
        """Note members of an audience that was just linked, to be archived.

        The lane takes them at once; everything else about them comes with the first
        pull.

        :param found: ``(address, status)`` of each
        """
        Member = self.env["crm.mailchimp.member"].sudo()
        known = Member.search(
            [
                ("account_id", "=", self.id),
                ("email_normalized", "in", [email for email, _status in found]),
            ]
        )
        there = set(known.mapped("email_normalized"))
        members = known | Member.create(
            [
                {"account_id": self.id, "email_normalized": email, "status": status}
                for email, status in found
                if email not in there
            ]
        )
        self._archive_opted_out(members)


class CrmMailchimpMember(models.Model):
    _inherit = "crm.mailchimp.member"

    is_opted_out_before = fields.Boolean(
        string="Opted out in Odoo, awaiting a decision",
        compute="_compute_is_opted_out_before",
        search="_search_is_opted_out_before",
    )

    def _compute_is_opted_out_before(self):
        found = self & self._opted_out_before()
        for member in self:
            member.is_opted_out_before = member in found

    def _search_is_opted_out_before(self, operator, value):
        if operator != "in":
            return NotImplemented
        accounts = self.env["crm.mailchimp.account"].search(
            [("audience_ref", "!=", False)]
        )
        accounts._flush_contacts()
        queries = [account._opted_out_before_sql() for account in accounts]
        if not queries:
            return [(0, "=", 1)] if True in value else []
        found = SQL("(%s)", SQL(" UNION ALL ").join(queries))
        return [("id", "in" if True in value else "not in", found)]

    def _opted_out_before(self):
        """Return the members, of all accounts, that somebody has to decide about."""
        return self.search([("is_opted_out_before", "=", True)])

    def action_archive_foreign(self):
        """Archive members that somebody decided about after reviewing them."""
        self.check_access("read")
        opted_out = self & self._opted_out_before()
        if not opted_out:
            return super().action_archive_foreign()
        opted_out.account_id._check_manager()
        opted_out.account_id._archive_opted_out(opted_out)
        others = (self - opted_out).filtered(
            lambda member: member.cause == "foreign" and not member.operation
        )
        if others:
            return super(CrmMailchimpMember, others).action_archive_foreign()
        return opted_out.account_id[:1]._toast(
            self.env._("Members that will be archived in a moment: %s.", len(opted_out))
        )
