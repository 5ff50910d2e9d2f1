from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL, LazyTranslate

from ..engine.vocabulary import NOT_CONFIRMED, NOT_TAKEN, RENAMED
from .recordset import recordset

_lt = LazyTranslate(__name__)

STATUSES = [
    ("subscribed", "Subscribed"),
    ("unsubscribed", "Unsubscribed"),
    ("cleaned", "Cleaned"),
    ("pending", "Pending"),
    ("transactional", "Not subscribed"),
    ("archived", "Archived"),
]
# Why Mailchimp did not take an address. The final ones are in engine.plan.FINAL.
REFUSALS = [
    ("forgotten", "Permanently deleted in Mailchimp"),
    (RENAMED, "Address changed in Mailchimp"),
    (NOT_CONFIRMED, "Opt-in not confirmed"),
    ("fake", "Looks fake to Mailchimp"),
    ("invalid_address", "Mailchimp does not accept the address"),
    ("compliance", "Unsubscribed or bounced before"),
    ("too_many_signups", "Signed up to many lists recently"),
    ("merge_fields", "Mailchimp does not accept a value"),
    ("required_field", "A field required by Mailchimp is empty"),
    ("archived", "Archived in Mailchimp"),
    ("other", "Refused by Mailchimp"),
    (NOT_TAKEN, "Odoo refused the change from Mailchimp"),
]
OPERATIONS = [
    ("create", "Add"),
    ("update", "Update"),
    ("read", "Check"),
    ("move", "Change address"),
    ("restore", "Subscribe again"),
    ("readmit", "Bring back"),
    ("inquire", "Check why it was archived"),
    ("ask", "Ask again"),
    ("archive", "Archive"),
]
CAUSES = [
    ("opt_out", "Opt-out"),
    ("deleted", "Contact deleted"),
    ("contact_archived", "Contact archived"),
    ("address", "Address changed or removed"),
    ("scope", "No longer meets the conditions"),
    ("foreign", "Only in Mailchimp"),
]


class CrmMailchimpMember(models.Model):
    """One address of the audience: what is known of it, and what to do about it.

    The table is the ledger. ``status`` is what Mailchimp said last (empty: not known
    there), ``wanted`` what Odoo wants, ``operation`` what the next calls will do about
    the difference. Set-based SQL writes millions of rows, so there are no stored
    computes, no chatter, and no unique constraint on ``partner_id`` (merging contacts
    would violate it).
    """

    _name = "crm.mailchimp.member"
    _inherit = ["crm.mailchimp.labelled"]
    _description = "Mailchimp Member"
    _order = "email_normalized"
    _rec_name = "email_normalized"

    account_id = fields.Many2one(
        "crm.mailchimp.account", required=True, ondelete="cascade"
    )
    company_id = fields.Many2one(related="account_id.company_id")
    email_normalized = fields.Char(string="Address", required=True)
    partner_id = fields.Many2one(
        "res.partner",
        string="Contact",
        ondelete="set null",
        index="btree_not_null",
        falsy_value_label=_lt("Without a contact"),
    )
    status = fields.Selection(STATUSES, falsy_value_label=_lt("Not in Mailchimp"))
    status_before = fields.Selection(
        STATUSES,
        string="Status before archiving",
        falsy_value_label=_lt("Not archived"),
    )
    archived_by = fields.Selection(
        [("odoo", "Odoo"), ("mailchimp", "Mailchimp")],
        string="Archived by",
        falsy_value_label=_lt("Not archived"),
    )
    origin = fields.Selection(
        [
            ("odoo", "Added by Odoo"),
            ("claimed", "Already in Mailchimp, with a contact in Odoo"),
            ("foreign", "Only in Mailchimp"),
        ],
        required=True,
        default="foreign",
        help="Whether Odoo added this member, found it in Mailchimp for a contact with "
        "an opt-in, or knows no such contact.",
    )
    wanted = fields.Boolean(
        string="Should be in the audience",
        help="Whether, at the last sync, a contact with this address was to be in the "
        "audience.",
    )
    operation = fields.Selection(
        OPERATIONS, string="To do", falsy_value_label=_lt("Nothing to do")
    )
    # The operation under way, committed before the call, so that a change whose answer
    # is lost can be told from what somebody else did.
    sending = fields.Selection(OPERATIONS, falsy_value_label=_lt("Nothing"))
    sent_at = fields.Datetime(string="Sent on")
    cause = fields.Selection(
        CAUSES,
        string="Reason for leaving",
        falsy_value_label=_lt("No reason in Odoo"),
        help="Why Odoo archives the member, or has archived it.",
    )
    batch_ref = fields.Char(string="In batch")
    reason = fields.Selection(
        REFUSALS,
        string="Rejection reason",
        falsy_value_label=_lt("Not refused"),
        help="Why the address is not added, or why Mailchimp or Odoo refused its last "
        "change.",
    )
    reason_text = fields.Char(string="Explanation")
    permissions_at = fields.Datetime(string="Marketing permissions given on")
    refused_at = fields.Datetime(string="Refused on")
    next_try = fields.Datetime(string="Next attempt")
    no_date = fields.Datetime(string="Unsubscribed on")
    asked_at = fields.Datetime(string="Asked again on")
    # When its contact changed to another address.
    left_at = fields.Datetime(string="Address changed on")
    # The opt-in date a run has seen, and when, by Mailchimp's clock: the opt-in cannot
    # be later than that.
    opt_in_seen = fields.Datetime()
    opt_in_seen_at = fields.Datetime()
    opt_out_at = fields.Datetime(string="Opted out in Odoo on")
    opt_out_confirmed_at = fields.Datetime(string="Opt-out confirmed by Mailchimp on")
    # The member whose address this one replaces, while the change is under way.
    moved_from_id = fields.Many2one(
        "crm.mailchimp.member", ondelete="set null", index="btree_not_null"
    )
    opt_in_date = fields.Datetime(string="Opted in via Mailchimp on")
    subscribed_at = fields.Datetime(string="First seen subscribed on")
    last_changed = fields.Datetime(string="Changed in Mailchimp on")
    web_id = fields.Integer(string="Mailchimp ID")
    # Mailchimp's id of the person, which stays when the address is changed there.
    contact_ref = fields.Char()
    values_sent = fields.Json()
    values_seen = fields.Json()
    values_refused = fields.Json()
    # The values that a batch under way is sending.
    values_sending = fields.Json()
    edited = fields.Boolean(string="Edited in Mailchimp")
    # Set on a row that was compared and needs nothing: see MemberValues.
    fingerprint = fields.Char()
    seen_in_run = fields.Integer()

    _address_uniq = models.Constraint(
        "UNIQUE(account_id, email_normalized)",
        "This address is already a member of the audience.",
    )
    _operation_idx = models.Index(
        "(account_id, operation, email_normalized) WHERE operation IS NOT NULL"
    )
    _opt_out_idx = models.Index("(account_id, opt_out_at) WHERE opt_out_at IS NOT NULL")
    _status_idx = models.Index("(account_id, status)")
    _cause_idx = models.Index("(account_id, cause) WHERE cause IS NOT NULL")
    _reason_idx = models.Index("(account_id, reason) WHERE reason IS NOT NULL")

    # The columns that a comparison depends on, besides what comes from Odoo.
    DECIDED_ON = (
        "partner_id",
        "wanted",
        "status",
        "status_before",
        "archived_by",
        "origin",
        "reason",
        "values_sent",
        "values_seen",
        "values_refused",
        "edited",
    )

    COLUMNS = {
        "status": "varchar",
        "status_before": "varchar",
        "archived_by": "varchar",
        "origin": "varchar",
        "operation": "varchar",
        "cause": "varchar",
        "batch_ref": "varchar",
        "reason": "varchar",
        "reason_text": "varchar",
        "next_try": "timestamp",
        "sending": "varchar",
        "sent_at": "timestamp",
        "no_date": "timestamp",
        "asked_at": "timestamp",
        "left_at": "timestamp",
        "opt_out_at": "timestamp",
        "opt_out_confirmed_at": "timestamp",
        "partner_id": "int4",
        "moved_from_id": "int4",
        "opt_in_date": "timestamp",
        "subscribed_at": "timestamp",
        "last_changed": "timestamp",
        "web_id": "int4",
        "contact_ref": "varchar",
        "values_sent": "jsonb",
        "values_seen": "jsonb",
        "edited": "bool",
        "wanted": "bool",
        "values_refused": "jsonb",
        "values_sending": "jsonb",
        "seen_in_run": "int4",
        "permissions_at": "timestamp",
        "inputs": "int8",
    }

    @api.model
    def _fingerprint(self, inputs, news=None):
        """Return ``SQL``: the fingerprint of the row ``m`` of the ledger.

        :param SQL inputs: hash of what comes from Odoo, see :class:`.MemberValues`
        :param news: ``{name: SQL}`` of the columns that are about to change
        """
        news = news or {}
        columns = [
            inputs,
            *(news.get(name) or SQL.identifier("m", name) for name in self.DECIDED_ON),
        ]
        # Each with a seed of its own. The hash of a row of them all would take twice as
        # long: its text quotes that of the values.
        return SQL(
            "(%s)::varchar",
            SQL(" # ").join(
                SQL("COALESCE(HASHTEXTEXTENDED(%s::text, %s), %s)", column, seed, seed)
                for seed, column in enumerate(columns, 1)
            ),
        )

    @api.model
    def _update_rows(self, columns, rows, **same):
        """Update several rows in one statement.

        :param columns: names of columns, keys of ``COLUMNS``; ``inputs`` gives the
            fingerprint, or is ``None`` if the row has to be compared again
        :param rows: ``(id, value, ...)`` with a value for each column
        :param same: columns with the same value in all rows
        """
        if not rows:
            return
        news = {name: SQL.identifier("v", name) for name in columns if name != "inputs"}
        for name, value in same.items():
            news[name] = SQL("%s::%s", value, SQL(self.COLUMNS[name]))
        changes = [
            SQL("%s = %s", SQL.identifier(name), value) for name, value in news.items()
        ]
        if "inputs" in columns:
            changes.append(
                SQL(
                    "fingerprint = CASE WHEN v.inputs IS NOT NULL THEN %s END",
                    self._fingerprint(SQL("v.inputs"), news),
                )
            )
        if "reason" in news:
            changes.append(
                SQL(
                    "refused_at = CASE WHEN %s IS NULL THEN NULL"
                    " ELSE DATE_TRUNC('second', CLOCK_TIMESTAMP() AT TIME ZONE 'UTC')"
                    " END",
                    news["reason"],
                )
            )
        types = {"id": "int4", **{name: self.COLUMNS[name] for name in columns}}
        self.env.cr.execute(
            SQL(
                "UPDATE crm_mailchimp_member AS m SET %s FROM %s WHERE m.id = v.id",
                SQL(", ").join(changes),
                recordset(types, rows),
            )
        )
        self.env[self._name].invalidate_model(flush=False)

    def write(self, vals):
        if not self.env.su:
            raise UserError(self.env._("Members can only be changed by syncing."))
        return super().write(vals)

    def action_archive_foreign(self):
        """Archive members that are only in Mailchimp, after a manager's review."""
        self.check_access("read")
        self.account_id._check_manager()
        waiting = self.sudo().filtered(
            lambda member: member.cause == "foreign" and not member.operation
        )
        if not waiting:
            raise UserError(
                self.env._(
                    "None of these members awaits a decision. Members that are only "
                    "in Mailchimp can be archived if the account is set to do so."
                )
            )
        waiting.write({"operation": "archive"})
        for account in waiting.account_id:
            account._request_run("push")
        return waiting.account_id[:1]._toast(
            self.env._(
                "The sync starts in a moment. Members to archive: %s.",
                len(waiting),
            )
        )

    def action_open_in_mailchimp(self):
        self.ensure_one()
        return {
            "type": "ir.actions.act_url",
            "url": f"https://{self.account_id.data_center}.admin.mailchimp.com"
            f"/lists/members/view?id={self.web_id}",
            "target": "new",
        }
