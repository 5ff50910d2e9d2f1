from odoo.tools import SQL, split_every

from ..engine.payload import language
from ..engine.vocabulary import NOT_TAKEN
from .contacts import CONTACTS, ContactPhase
from .grounds import Grounds
from .phase import OutOfTime


class MemberImport(ContactPhase):
    """Contacts for members that are only in Mailchimp, if the account says so."""

    def work(self):
        """Create contacts for subscribed members that no contact in Odoo stands for.

        A contact with the address is never duplicated: if it was never asked, or if the
        person signed up again after a "no", it gets the opt-in given in Mailchimp; if
        it opted out later, or is blacklisted or archived, it is left alone.

        :raise OutOfTime: when others are left for another slice
        """
        if self.account.foreign_members != "import":
            return
        Member = self.env["crm.mailchimp.member"]
        rows = self.to_import()
        for number, chunk in enumerate(split_every(CONTACTS, rows, list)):
            if number and self.is_over():
                if Member.browse(chunk[0][0]).reason == NOT_TAKEN:
                    return  # as before: the next run tries them again
                raise OutOfTime
            refused = self.each(chunk, self._import_members)
            self.note_not_taken(
                {
                    member_id: (
                        sentence,
                        {"import": Member.browse(member_id).values_seen},
                    )
                    for (member_id, _partner_id), sentence in refused.items()
                }
            )
            self.commit()

    def to_import(self):
        """Return ``[(member id, id of a contact to opt in or None)]``.

        Those that Odoo refused before come last, so that they spoil few groups.
        """
        account = self.account
        account._flush_contacts()
        return self.env.execute_query(
            SQL(
                """
                SELECT m.id, MIN(p.id)
                  FROM crm_mailchimp_member m
             LEFT JOIN %(contacts)s p ON p.%(email)s = m.email_normalized
                 WHERE m.account_id = %(account)s AND m.origin = 'foreign'
                   AND m.status = 'subscribed' AND NOT %(is_renamed)s
                   AND NOT EXISTS (
                       SELECT FROM crm_mailchimp_suppression s
                        WHERE s.email_hash = MD5(m.email_normalized)
                          AND s.date >= COALESCE(m.opt_in_date, '-infinity'))
                   AND NOT EXISTS (
                       SELECT FROM mail_blacklist b
                        WHERE b.email = m.email_normalized AND b.active)
              GROUP BY m.id
                HAVING COALESCE(BOOL_AND(
                           p.active AND p.mailchimp_opt_in IS NOT TRUE
                           AND COALESCE(p.company_id, %(company)s) = %(company)s
                           -- One that opted out later speaks for all that share it.
                           AND NOT EXISTS (
                               SELECT FROM crm_mailchimp_consent c
                                WHERE c.kind = 'out' AND c.partner_id = p.id
                                  AND c.date >= COALESCE(m.opt_in_date, '-infinity'))
                       ), TRUE)
              ORDER BY m.reason IS NOT DISTINCT FROM %(not_taken)s, m.id
                """,
                not_taken=NOT_TAKEN,
                is_renamed=account._is_renamed_condition(),
                account=account.id,
                company=account.company_id.id,
                **self._contacts_by_address(),
            )
        )

    def _contacts_by_address(self):
        """Return where to look contacts up: by all addresses, if all are sent."""
        account = self.account
        if account.email_scope != "all":
            return {
                "contacts": SQL("res_partner"),
                "email": SQL.identifier("email_normalized"),
            }
        return {
            "contacts": SQL(
                "(SELECT p.*, a.email AS address FROM res_partner p"
                " CROSS JOIN LATERAL (%s) a)",
                account._addresses_sql(),
            ),
            "email": SQL.identifier("address"),
        }

    def _import_members(self, rows):
        account = self.account
        Partner = self.env["res.partner"].with_context(
            mail_create_nosubscribe=True,
            mailchimp_grounds=Grounds("mailchimp"),
        )
        several = self.env["res.company"].sudo().search_count([], limit=2) > 1
        langs = {
            language(code): code for code, _name in self.env["res.lang"].get_installed()
        }
        imported = self.env["crm.mailchimp.member"]
        for member_id, partner_id in rows:
            member = self.env["crm.mailchimp.member"].browse(member_id)
            opt_in = {
                "mailchimp_opt_in": True,
                "mailchimp_opt_in_date": member.opt_in_date
                or member.subscribed_at
                or member.last_changed,
            }
            if partner_id:
                partner = Partner.browse(partner_id).try_lock_for_update(
                    allow_referencing=True
                )
                if not partner:
                    continue
                partner.write(opt_in)
            else:
                merge = (member.values_seen or {}).get("m") or {}
                vals, _refused = account._contact_vals(merge, merge, False)
                lang = langs.get((member.values_seen or {}).get("l"))
                vals.setdefault("name", member.email_normalized.split("@")[0])
                partner = Partner.create(
                    {
                        **vals,
                        **opt_in,
                        "email": member.email_normalized,
                        "user_id": account.default_salesperson_id.id,
                        # One without a company would go to every company's audience.
                        "company_id": account.company_id.id if several else False,
                        **({"lang": lang} if lang else {}),
                    }
                )
            member.partner_id = partner
            imported |= member
            self.count(imported=1)
        # A contact out of scope does not claim its member, which stays as it is.
        account._flush_contacts()
        eligible = account._eligible_emails(imported.mapped("email_normalized"))
        imported.filtered(lambda m: m.email_normalized in eligible).origin = "claimed"
