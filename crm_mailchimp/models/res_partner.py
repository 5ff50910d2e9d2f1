from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import email_normalize_all, formataddr
from odoo.tools.mail import email_split_tuples

from ..sync.grounds import Grounds

# Fields that users may not enter, import or have as a default.
OWN = {"mailchimp_opt_in_date", "mailchimp_segment_ids"}


class ResPartner(models.Model):
    _inherit = "res.partner"

    mailchimp_opt_in = fields.Boolean(
        string="Opt-in marketing mails",
        copy=False,
        tracking=True,
        help="The contact agreed to receive marketing mails.",
    )
    mailchimp_opt_in_date = fields.Datetime(
        string="Opt-in date",
        copy=False,
        readonly=True,
        help="When the current opt-in was given, by Mailchimp's clock.",
    )
    mailchimp_consent_ids = fields.One2many(
        "crm.mailchimp.consent",
        "partner_id",
        string="Consent",
        readonly=True,
        # Users who may not read the lines must still be able to read the contact.
        groups="sales_team.group_sale_salesman",
    )
    mailchimp_tag_ids = fields.One2many(
        "crm.mailchimp.contact.tag",
        "partner_id",
        string="Mailchimp tags",
        readonly=True,
        groups="sales_team.group_sale_salesman",
    )
    mailchimp_status = fields.Selection(
        [
            ("in", "In Mailchimp"),
            ("waiting", "Waiting for the next sync"),
            ("out", "Not in Mailchimp"),
        ],
        string="Mailchimp",
        compute="_compute_mailchimp_status",
        search="_search_mailchimp_status",
    )
    mailchimp_reason = fields.Selection(
        lambda self: (
            self.env["crm.mailchimp.contact.status"]._fields["reason"].selection
        ),
        string="Why not in Mailchimp",
        compute="_compute_mailchimp_status",
        search="_search_mailchimp_reason",
    )
    mailchimp_segment_ids = fields.Many2many(
        "crm.mailchimp.segment",
        "crm_mailchimp_segment_partner",
        "partner_id",
        "segment_id",
        string="Mailchimp segments",
        readonly=True,
        copy=False,
        groups="sales_team.group_sale_salesman",
    )
    # Same name and values as in the OCA's partner_contact_gender.
    gender = fields.Selection(
        [("male", "Male"), ("female", "Female"), ("other", "Other")]
    )

    # Odoo has no index on the normalised address: every look-up would scan the table.
    _email_normalized_idx = models.Index(
        "(email_normalized) WHERE email_normalized IS NOT NULL"
    )
    _mailchimp_opt_in_idx = models.Index("(id) WHERE mailchimp_opt_in")
    _mailchimp_several_idx = models.Index("(id) WHERE email LIKE '%@%@%'")

    @api.depends_context("company", "allowed_company_ids")
    @api.depends("mailchimp_opt_in", "email_normalized", "active")
    def _compute_mailchimp_status(self):
        account = self.env["crm.mailchimp.account"].sudo()._of_company()
        lines = account._contact_lines(self._origin) if account else {}
        for partner in self:
            status, reason, _winner = lines.get(partner._origin.id, (False,) * 3)
            partner.mailchimp_status = status
            partner.mailchimp_reason = reason

    def _search_mailchimp_status(self, operator, value):
        return self._search_mailchimp_line("status", operator, value)

    def _search_mailchimp_reason(self, operator, value):
        return self._search_mailchimp_line("reason", operator, value)

    def _search_mailchimp_line(self, field, operator, value):
        if operator != "in":
            return NotImplemented
        lines = (
            self.env["crm.mailchimp.contact.status"]
            .sudo()
            ._search(
                [
                    ("company_id", "=", self.env.company.id),
                    (field, "in", value),
                ]
            )
        )
        return [("id", "in", lines.subselect("partner_id"))]

    @api.model
    def default_get(self, fields):
        """Ignore context and user defaults for fields that only Odoo itself writes."""
        if not self.env.su:
            fields = [name for name in fields if name not in OWN]
        return super().default_get(fields)

    @api.model_create_multi
    def create(self, vals_list):
        # The caller's dicts stay as they are: an import tries them a second time.
        vals_list = [dict(vals) for vals in vals_list]
        default = self.default_get(["mailchimp_opt_in"])
        for vals in vals_list:
            # An opt-in set by a default gets its date and line, too.
            vals.setdefault("mailchimp_opt_in", default.get("mailchimp_opt_in", False))
            self._mailchimp_check_segments(vals)
            date = self._mailchimp_pop_date(vals)
            if vals.get("mailchimp_opt_in"):
                vals["mailchimp_opt_in_date"] = date or self._mailchimp_now()
        partners = super().create(vals_list)
        opted_in = partners.filtered("mailchimp_opt_in")
        opted_in._mailchimp_follow_no()
        opted_in._log_consent("in")
        return partners

    def write(self, vals):
        """Note the date and a consent line when the opt-in changes, nothing more.

        Mailchimp hears of it from the scheduled action, never from here: saving a
        contact must not depend on Mailchimp.
        """
        vals = dict(vals)
        self._mailchimp_check_segments(vals)
        date = self._mailchimp_pop_date(vals)
        kept = {**vals, "mailchimp_opt_in_date": date} if date else vals
        if "mailchimp_opt_in" not in vals:
            super().write(kept)
            if date:
                self._mailchimp_follow_no()
            return True
        opt_in = bool(vals["mailchimp_opt_in"])
        changed = self.filtered(lambda partner: partner.mailchimp_opt_in != opt_in)
        unchanged = self - changed
        if unchanged:
            super(ResPartner, unchanged).write(kept)
        if changed:
            # The "no" covers the addresses the contact had, and those it gets.
            before = {partner.id: partner._mailchimp_addresses() for partner in changed}
            date = (date or self._mailchimp_now()) if opt_in else False
            super(ResPartner, changed).write(dict(vals, mailchimp_opt_in_date=date))
            if opt_in:
                changed._mailchimp_follow_no()
            changed._log_consent("in" if opt_in else "out", before)
        return True

    @api.ondelete(at_uninstall=True)
    def _mailchimp_leave_consent(self):
        """Leave the consent lines to the company that has the contact now."""
        self.env["crm.mailchimp.consent"].sudo()._stay_with_company(self)

    # === CONSENT === #

    def _mailchimp_now(self):
        return self.env["crm.mailchimp.account"].sudo()._mailchimp_now()

    def _mailchimp_grounds(self):
        """Return why the opt-in changes; ``None`` if a user changes it."""
        grounds = self.env.context.get("mailchimp_grounds")
        return grounds if isinstance(grounds, Grounds) else None

    def _mailchimp_pop_date(self, vals):
        """Remove and return the opt-in date of values; only Odoo itself may set one.

        :return: naive datetime in UTC, never in the future, or ``None``
        :raise UserError: if a user writes or imports one: it is evidence of consent,
            and a date in the future would override whatever the person says until then
        """
        date = fields.Datetime.to_datetime(vals.pop("mailchimp_opt_in_date", None))
        if not date:
            return None
        if not self.env.su and not self._mailchimp_grounds():
            raise UserError(
                self.env._(
                    "The opt-in date cannot be entered or imported: Odoo sets it when "
                    "the opt-in is ticked. Leave out the column “Opt-in date”."
                )
            )
        return min(date, self._mailchimp_now())

    def _mailchimp_check_segments(self, vals):
        """Refuse segments that somebody enters: only a filter says who belongs in one.

        :raise AccessError: for anybody but Odoo itself
        """
        if "mailchimp_segment_ids" in vals and not self.env.su:
            raise AccessError(
                self.env._(
                    "Segment membership comes from its filter and cannot be entered or"
                    " imported."
                )
            )

    def _mailchimp_follow_no(self):
        """Make a new opt-in later than the "no" its addresses said before.

        Clocks can be set back, and differ; the opt-in was still ticked after what Odoo
        knew. One that comes from elsewhere keeps its date.
        """
        Suppression = self.env["crm.mailchimp.suppression"].sudo()
        addresses = {partner: partner._mailchimp_addresses() for partner in self}
        emails = [email for found in addresses.values() for email in found]
        if self._mailchimp_grounds() or not Suppression._latest(emails):
            return
        for partner, found in addresses.items():
            said = Suppression._latest(found)
            if said and said >= partner.mailchimp_opt_in_date:
                date = said + timedelta(seconds=1)
                # Our own ``write`` would check where the date comes from.
                # pylint: disable-next=super-method-mismatch
                super(ResPartner, partner).write({"mailchimp_opt_in_date": date})

    def _log_consent(self, kind, addresses=None):
        """Append consent lines, and update the do-not-email list.

        :param str kind: ``in`` or ``out``
        :param addresses: ``{contact id: addresses}`` before the change
        """
        if not self:
            return
        grounds = self._mailchimp_grounds()
        source = "import" if self.env.context.get("import_file") else "user"
        now = self._mailchimp_now()
        lines, said_no, said_yes = [], [], []
        for partner in self:
            emails = partner._mailchimp_addresses()
            emails += [
                e for e in (addresses or {}).get(partner.id, ()) if e not in emails
            ]
            said = grounds and grounds.said.get(partner.id)
            by, date, note = said or (None, None, None)
            date = date or (kind == "in" and partner.mailchimp_opt_in_date) or now
            lines += [
                {
                    "partner_id": partner.id,
                    "company_id": partner.company_id.id,
                    "email_normalized": email,
                    "kind": kind,
                    "source": grounds.source if grounds else source,
                    "date": date,
                    "note": note,
                    "user_id": self.env.uid,
                }
                for email in ([by] if by else emails or [False])
            ]
            if kind == "in":
                said_yes += [(email, date) for email in emails]
            else:
                # What an address said in Mailchimp is on the list already.
                said_no += [
                    {
                        "email": email,
                        "source": "odoo",
                        "kind": "opt_out",
                        "date": date,
                        "note": note,
                    }
                    for email in emails
                    if email != by
                ]
        self.env["crm.mailchimp.consent"].sudo().create(lines)
        Suppression = self.env["crm.mailchimp.suppression"].sudo()
        Suppression._lift(said_yes, "opt_in")
        Suppression._note(said_no)
        if kind == "out":
            self.env["crm.mailchimp.account"].sudo()._wake_opt_outs()

    def _mailchimp_addresses(self):
        """Return the contact's addresses, lower-cased, the first one first."""
        self.ensure_one()
        addresses = [self.email_normalized] if self.email_normalized else []
        if (self.email or "").count("@") > 1:
            addresses += [email.lower() for email in email_normalize_all(self.email)]
        return list(dict.fromkeys(addresses))

    def _mailchimp_replace_address(self, old, new=None):
        """Replace one address with another; other addresses and names stay.

        :param str old: a normalised address of the contact
        :param new: the new address; ``None`` to remove the old one
        """
        self.ensure_one()
        pairs = email_split_tuples((self.email or "").replace(";", ","))
        kept = [
            formataddr((name, new if email.lower() == old else email))
            for name, email in pairs
            if new or email.lower() != old
        ]
        # Odoo may make up an address from text that does not contain it as a whole
        # word.
        is_found = any(email.lower() == old for _name, email in pairs)
        self.email = ", ".join(kept) if is_found else new
