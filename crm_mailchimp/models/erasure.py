import html
import logging
import re
import time

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..engine import errors
from ..engine.address import member_hash
from ..engine.plan import REACHABLE

_logger = logging.getLogger(__name__)

# Seconds of a tick, for all accounts; seconds to connect and to answer.
ERASE_SECONDS = 10
TIMEOUT = (5, 10)
CHUNK = 50
# The part of a link that holds an address, encoded or not.
PERSONAL = r"[^/?&=#;]*(@|%40)[^/?&=#;]*"
PERMANENTLY = "/lists/{list_id}/members/{subscriber_hash}/actions/delete-permanent"


def whole_address(email):
    """Return a pattern of PostgreSQL for an address, in texts and in HTML.

    Longer addresses that begin or end like it are other people's.
    """
    forms = {re.escape(email), re.escape(html.escape(email))}
    return rf"(?<![\w.+-])({'|'.join(sorted(forms))})(?![\w-]|\.\w)"


class CrmMailchimpErasure(models.Model):
    """One address being erased from an account, or erased; its hash is the evidence.

    The address is needed until the person has left Mailchimp: the member is let go
    first, or permanently deleted there if that was asked for. Then everything that
    names the address here is removed, and the do-not-email list still recognises it by
    its hash.
    """

    _name = "crm.mailchimp.erasure"
    _description = "Erased Address"
    _order = "id desc"
    _rec_name = "email_hash"

    account_id = fields.Many2one(
        "crm.mailchimp.account", required=True, ondelete="cascade", readonly=True
    )
    company_id = fields.Many2one(related="account_id.company_id")
    email_hash = fields.Char(string="Address hash", required=True, readonly=True)
    email_normalized = fields.Char(string="Address (until erased)", readonly=True)
    in_mailchimp = fields.Boolean(string="Also in Mailchimp", readonly=True)
    state = fields.Selection(
        [("waiting", "Waiting"), ("done", "Done")],
        default="waiting",
        required=True,
        readonly=True,
    )
    error_message = fields.Char(string="Problem", readonly=True)
    requested_by_id = fields.Many2one(
        "res.users", ondelete="set null", string="Requested by", readonly=True
    )
    done_at = fields.Datetime(string="Done on", readonly=True)

    _waiting_uniq = models.UniqueIndex(
        "(account_id, email_hash) WHERE state = 'waiting'",
        "This address is already being erased.",
    )
    _hash_idx = models.Index("(email_hash)")

    @api.model
    def _request(self, accounts, emails, in_mailchimp):
        """Request that addresses be erased from accounts, in a moment."""
        digests = {member_hash(email): email for email in emails}
        for account in accounts:
            known = self.search(
                [
                    ("account_id", "=", account.id),
                    ("email_hash", "in", list(digests)),
                    ("state", "=", "waiting"),
                ]
            )
            if in_mailchimp:
                known.in_mailchimp = True
            self.create(
                [
                    {
                        "account_id": account.id,
                        "email_hash": digest,
                        "email_normalized": email,
                        "in_mailchimp": in_mailchimp,
                        "requested_by_id": self.env.uid,
                    }
                    for digest, email in digests.items()
                    if digest not in known.mapped("email_hash")
                ]
            )
        self.env.ref("crm_mailchimp.ir_cron_opt_out").sudo()._trigger()

    @api.model
    def _work(self):
        """Erase waiting addresses. Called by the scheduled action; commits as it goes.

        :return: whether something was done and more is left
        """
        end, again = time.monotonic() + ERASE_SECONDS, False
        waiting = self.search([("state", "=", "waiting")], order="id")
        for account, rows in waiting.grouped("account_id").items():
            if time.monotonic() >= end:
                return True
            try:
                again |= rows[:CHUNK]._work_on(account, end) and len(rows) > CHUNK
            except (errors.MailchimpError, UserError) as error:
                sentence = account._error_sentence(error)
                for row in rows:
                    if row.error_message != sentence:
                        row.error_message = sentence
            self.env["ir.cron"]._commit_progress()
        return again

    def _work_on(self, account, end):
        gateway, done = None, False
        reachable = (
            account.active
            and account.audience_ref
            and account.api_key_secret
            and not account._is_copy()
        )
        try:
            for row in self:
                if time.monotonic() >= end:
                    break
                if row.in_mailchimp and reachable:
                    gateway = gateway or account._gateway(timeout=TIMEOUT)
                    gateway.until(end + TIMEOUT[1])
                    row._delete_there(gateway)
                elif reachable and row._member().status in REACHABLE:
                    continue  # the lane of opt-outs lets it go
                row._forget()
                done = True
        finally:
            if gateway:
                gateway.close()
        return done

    def _member(self):
        return self.env["crm.mailchimp.member"].search(
            [
                ("account_id", "=", self.account_id.id),
                ("email_normalized", "=", self.email_normalized),
            ]
        )

    def _delete_there(self, gateway):
        """Delete the member in Mailchimp for good; not found there means gone."""
        values = {
            "list_id": self.account_id.audience_ref,
            "subscriber_hash": self.email_hash,
        }
        try:
            gateway.request("POST", PERMANENTLY, values)
        except errors.NotFound:
            _logger.info("Nobody to delete in Mailchimp for %s", self.email_hash)
        self.account_id._note_forgotten([self.email_normalized])

    def _forget(self):
        """Remove whatever names the address here, except its hash."""
        self._member().unlink()
        self.env["crm.mailchimp.webhook.delivery"]._forget(
            self.account_id, self.email_normalized
        )
        cr = self.env.cr
        cr.execute(
            SQL(
                """UPDATE crm_mailchimp_recipient r
                      SET email_normalized = NULL, partner_id = NULL,
                          member_id = NULL, unsubscribe_reason = NULL
                     FROM crm_mailchimp_campaign c
                    WHERE c.id = r.campaign_id AND c.account_id = %s
                      AND r.email_hash = %s
                RETURNING r.id""",
                self.account_id.id,
                self.email_hash,
            )
        )
        recipients = [row[0] for row in cr.fetchall()]
        # A bounce may quote the address, and a link may contain it.
        cr.execute(
            SQL(
                "UPDATE crm_mailchimp_recipient_event SET detail = NULL,"
                " url = REGEXP_REPLACE(url, %s, '…', 'gi')"
                " WHERE recipient_id = ANY(%s) AND (detail IS NOT NULL OR url ~* %s)",
                PERSONAL,
                recipients,
                PERSONAL,
            )
        )
        # The account's messages name members that somebody archived, and refusals quote
        # addresses.
        for table, column, of_account in (
            (
                "mail_message",
                "body",
                SQL(
                    "model = %s AND res_id = %s",
                    self.account_id._name,
                    self.account_id.id,
                ),
            ),
            ("crm_mailchimp_run", "error_message", self._of_account()),
            ("crm_mailchimp_run", "error_detail", self._of_account()),
            (
                "crm_mailchimp_account",
                "error_message",
                SQL("id = %s", self.account_id.id),
            ),
        ):
            cr.execute(
                SQL(
                    "UPDATE %(table)s SET %(column)s ="
                    " REGEXP_REPLACE(%(column)s, %(email)s, '…', 'gi')"
                    " WHERE %(of_account)s AND %(column)s ~* %(email)s",
                    table=SQL.identifier(table),
                    column=SQL.identifier(column),
                    email=whole_address(self.email_normalized),
                    of_account=of_account,
                )
            )
        self.env["crm.mailchimp.preview.line"].search(
            [
                ("run_id.account_id", "=", self.account_id.id),
                ("email_normalized", "=", self.email_normalized),
            ]
        ).unlink()
        self.write(
            {
                "state": "done",
                "done_at": fields.Datetime.now(),
                "email_normalized": False,
                "error_message": False,
            }
        )
        self.env.flush_all()
        self.env.invalidate_all()
        # The lane of another account may still need the address.
        if not self.search_count(
            [("email_hash", "=", self.email_hash), ("state", "=", "waiting")], limit=1
        ):
            self.env["crm.mailchimp.suppression"].search(
                [("email_hash", "=", self.email_hash)]
            ).unlink()

    def _of_account(self):
        return SQL("account_id = %s", self.account_id.id)

    @api.model
    def _erased(self, account, refs):
        """Return the set of those hashes that were erased from an account."""
        self.flush_model()
        rows = self.env.execute_query(
            SQL(
                "SELECT email_hash FROM crm_mailchimp_erasure"
                " WHERE account_id = %s AND state = 'done' AND email_hash = ANY(%s)",
                account.id,
                list(refs),
            )
        )
        return {ref for (ref,) in rows}


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

    def _let_go_of(self, emails):
        """Archive also the members that belong to no contact."""
        members = self.env["crm.mailchimp.member"].search(
            [
                ("account_id", "in", self.ids),
                ("account_id.active", "=", True),
                ("email_normalized", "in", emails),
                ("origin", "=", "foreign"),
                ("status", "in", REACHABLE),
            ]
        )
        if members:
            self._archive_opted_out(members)
        self._wake_opt_outs()

    @api.model
    def _cron_opt_out(self):
        result = super()._cron_opt_out()
        cron = self.env["ir.cron"].browse(self.env.context.get("cron_id"))
        if self.env["crm.mailchimp.erasure"]._work() and cron:
            cron._trigger()
        return result


class CrmMailchimpRecipient(models.Model):
    _inherit = "crm.mailchimp.recipient"

    @api.model
    def _import_page(self, campaign, people):
        """Leave out the addresses of people who were erased; they still count."""
        erased = self.env["crm.mailchimp.erasure"]._erased(
            campaign.account_id, [person.ref for person in people]
        )
        if erased:
            people = [
                self._anonymous(person) if person.ref in erased else person
                for person in people
            ]
        return super()._import_page(campaign, people)

    @api.model
    def _anonymous(self, person):
        """Return a row of ``activity.people`` without what names the person."""
        events = [
            event._replace(
                url=re.sub(PERSONAL, "…", event.url, flags=re.IGNORECASE),
                # For a bounce, this is its kind.
                detail=event.detail if event.kind == "bounce" else None,
            )
            for event in person.events
        ]
        sums = dict(person.sums, unsubscribe_reason=None)
        return person._replace(address=None, events=events, sums=sums)


class ResPartner(models.Model):
    _inherit = "res.partner"

    def action_mailchimp_erase(self):
        """Open the dialog on what to erase of these contacts (managers)."""
        self.check_access("write")
        wizard = self.env["crm.mailchimp.erase"].create(
            {
                "partner_ids": self.ids,
                "addresses": "\n".join(self._mailchimp_known_addresses()),
            }
        )
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Erase in Mailchimp and Odoo"),
            "res_model": wizard._name,
            "res_id": wizard.id,
            "view_mode": "form",
            "target": "new",
        }

    def _mailchimp_known_addresses(self):
        """Return all addresses known of these contacts, former ones included."""
        found = [email for partner in self for email in partner._mailchimp_addresses()]
        for model in ("consent", "member", "recipient"):
            rows = self.env[f"crm.mailchimp.{model}"].search(
                [("partner_id", "in", self.ids), ("email_normalized", "!=", False)]
            )
            found += rows.mapped("email_normalized")
        return list(dict.fromkeys(found))
