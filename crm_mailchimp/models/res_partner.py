from odoo import api, fields, models
from odoo.tools import email_normalize_all, formataddr
from odoo.tools.mail import email_split_tuples


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
        help="Since when the present opt-in holds.",
    )
    mailchimp_consent_ids = fields.One2many(
        "crm.mailchimp.consent",
        "partner_id",
        string="Consent",
        readonly=True,
        # Who may not read the lines must still be able to read the contact.
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
            ("waiting", "Goes with the next run"),
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
    # Same name and values as partner_contact_gender of the OCA.
    gender = fields.Selection(
        [("male", "Male"), ("female", "Female"), ("other", "Other")]
    )

    # Core has no index on the normalised address; every look-up would scan the table.
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

    @api.model_create_multi
    def create(self, vals_list):
        now = fields.Datetime.now()
        for vals in vals_list:
            if vals.get("mailchimp_opt_in"):
                vals.setdefault("mailchimp_opt_in_date", now)
        partners = super().create(vals_list)
        partners.filtered("mailchimp_opt_in")._log_consent("in")
        return partners

    def write(self, vals):
        """Note the date and a consent line when the opt-in changes, nothing more.

        Mailchimp hears of it from the scheduled action, never from here: saving a
        contact must not depend on Mailchimp.
        """
        if "mailchimp_opt_in" not in vals:
            return super().write(vals)
        opt_in = bool(vals["mailchimp_opt_in"])
        changed = self.filtered(lambda partner: partner.mailchimp_opt_in != opt_in)
        unchanged = self - changed
        if unchanged:
            super(ResPartner, unchanged).write(vals)
        if changed:
            dates = dict(vals)
            dates.setdefault(
                "mailchimp_opt_in_date", fields.Datetime.now() if opt_in else False
            )
            super(ResPartner, changed).write(dates)
            changed._log_consent("in" if opt_in else "out")
        return True

    def _log_consent(self, kind):
        """Append one consent line an address of each contact.

        The context may hold ``mailchimp_consent``, a dict with ``source``, ``date`` and
        ``note``, for changes that no person typed in.
        """
        given = self.env.context.get("mailchimp_consent") or {}
        source = "import" if self.env.context.get("import_file") else "user"
        notes = given.get("notes") or {}
        dates = given.get("dates") or {}
        self.env["crm.mailchimp.consent"].sudo().create(
            [
                {
                    "partner_id": partner.id,
                    "email_normalized": email,
                    "kind": kind,
                    "source": given.get("source") or source,
                    "date": dates.get(partner.id)
                    or (kind == "in" and partner.mailchimp_opt_in_date)
                    or fields.Datetime.now(),
                    "note": notes.get(partner.id),
                    "user_id": self.env.uid,
                }
                for partner in self
                for email in partner._mailchimp_addresses() or [False]
            ]
        )

    def _mailchimp_addresses(self):
        """Return the contact's addresses, lower-cased, the first one first."""
        self.ensure_one()
        addresses = [self.email_normalized] if self.email_normalized else []
        if (self.email or "").count("@") > 1:
            addresses += [email.lower() for email in email_normalize_all(self.email)]
        return list(dict.fromkeys(addresses))

    def _mailchimp_replace_address(self, old, new=None):
        """Put another address in the place of one; others and names stay.

        :param str old: a normalised address of the contact
        :param new: what comes in its place, ``None`` to take it away
        """
        self.ensure_one()
        pairs = email_split_tuples((self.email or "").replace(";", ","))
        kept = [
            formataddr((name, new if email.lower() == old else email))
            for name, email in pairs
            if new or email.lower() != old
        ]
        # Odoo may make an address of a text that holds none as a whole word.
        is_found = any(email.lower() == old for _name, email in pairs)
        self.email = ", ".join(kept) if is_found else new
