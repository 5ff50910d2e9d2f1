from odoo import api, fields, models
from odoo.exceptions import AccessError

from ..engine.address import member_hash


class ConsentReport(models.AbstractModel):
    """What is known of a contact's consent, for the person or an auditor to read.

    Every time is UTC and states its clock: times that are compared are by Mailchimp's,
    times at which Odoo noted something by its own.
    """

    _name = "report.crm_mailchimp.report_consent"
    _description = "Consent of a Contact"

    @api.model
    def _get_report_values(self, docids, data=None):
        if not self.env.user.has_group("sales_team.group_sale_salesman"):
            raise AccessError(self.env._("You need Sales access rights to see this."))
        partners = (
            self.env["res.partner"].with_context(active_test=False).browse(docids)
        )
        partners.check_access("read")
        account = self.env["crm.mailchimp.account"].sudo()
        return {
            "doc_ids": docids,
            "doc_model": "res.partner",
            "docs": partners,
            "facts": {partner.id: self._facts(partner) for partner in partners},
            "now": self._time(fields.Datetime.now()),
            "mailchimp_now": self._time(account._mailchimp_now()),
        }

    def _facts(self, partner):
        """Return what the page of one contact shows.

        :return: dict with ``opt_in``, ``since`` (text), and lists of dicts:
            ``addresses``, ``consent``, ``suppressions`` and ``members``
        """
        lines = partner.mailchimp_consent_ids.sorted("id")
        # Users who may see the contact may see what its own addresses said.
        Suppression = self.env["crm.mailchimp.suppression"].sudo()
        members = self.env["crm.mailchimp.member"].search(
            [("partner_id", "=", partner.id)]
        )
        present = partner._mailchimp_addresses()
        former = [
            *lines.mapped("email_normalized"),
            *members.mapped("email_normalized"),
        ]
        addresses = list(dict.fromkeys([*present, *filter(None, former)]))
        members |= members.search([("email_normalized", "in", present)])
        said_no = Suppression.search(
            [("email_hash", "in", [member_hash(email) for email in addresses])],
            order="date, id",
        )
        by_hash = {member_hash(email): email for email in addresses}
        _ = self.env._
        return {
            "addresses": [
                {"address": email, "is_former": email not in present}
                for email in addresses
            ],
            "opt_in": partner.mailchimp_opt_in,
            "since": self._time(partner.mailchimp_opt_in_date),
            "consent": [
                {
                    "date": self._time(line.date),
                    "noted": self._time(line.noted_at),
                    "what": self._label(line, "kind"),
                    "where": self._label(line, "source"),
                    "by": line.user_id.sudo().name or "",
                    "address": line.email_normalized or "",
                    "note": line.note or "",
                }
                for line in lines
            ],
            "suppressions": [
                {
                    "date": self._time(no.date),
                    "address": by_hash[no.email_hash],
                    "what": self._label(no, "kind"),
                    "where": " ".join(
                        filter(None, [self._label(no, "source"), no.audience_name])
                    ),
                    "note": no.note or "",
                    "lifted": no.lifted_at
                    and _(
                        "%(date)s: %(what)s",
                        date=self._time(no.lifted_at),
                        what=self._label(no, "lifted_by"),
                    )
                    or _("active"),
                }
                for no in said_no
            ],
            "members": [
                {
                    "audience": member.account_id.sudo().audience_name or "",
                    "address": member.email_normalized,
                    "status": self._label(member, "status") or _("not in Mailchimp"),
                    "times": self._times(member),
                }
                for member in members
            ],
        }

    def _times(self, member):
        """Return ``[(what, time)]`` of what happened to a member, as far as known."""
        names = (
            *("opt_in_date", "subscribed_at", "last_changed", "no_date", "asked_at"),
            *("opt_out_at", "opt_out_confirmed_at"),
        )
        return [
            (
                member._fields[name]._description_string(self.env),
                self._time(member[name]),
            )
            for name in names
            if member[name]
        ]

    def _label(self, record, name):
        labels = dict(record._fields[name]._description_selection(self.env))
        return labels.get(record[name], "")

    def _time(self, moment):
        return fields.Datetime.to_string(moment) if moment else ""
