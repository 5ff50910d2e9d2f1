from odoo import fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain
from odoo.tools import SQL

from ..engine.address import ADDRESS_PATTERN
from ..engine.plan import COMING, NEXT
from ..engine.vocabulary import ABOUT_ADDRESS, NOT_CONFIRMED, NOT_TAKEN
from .rights import acting_as, evaluate_condition

# Contacts whose e-mail field holds more than one address; an index uses the same
# expression.
SEVERAL = "p.email LIKE '%%@%%@%%'"
NOT_REACHABLE = "COALESCE(m.status NOT IN ('subscribed', 'pending'), TRUE)"


class CrmMailchimpAccount(models.Model):
    """Who belongs in the audience, and why others do not: the one query for that.

    The diff takes the winners from it, the status list shows all of its rows, and the
    call that subscribes runs it once more for the addresses it is about to send.
    """

    _inherit = "crm.mailchimp.account"

    def _contacts_sql(self, emails=None, partner_ids=(), **options):
        """Return a query with one row per contact: why it is (not) in this audience.

        It takes the same arguments as :meth:`_reasons_sql`.

        :return: ``SQL``: ``partner_id, email, reason, opt_in_date, winner_id``;
            ``reason`` is empty for eligible contacts, ``winner_id`` is the one of them
            that stands for the address. If the account sends every address, a contact
            with several has a row for each.
        """
        return SQL(
            # Materialized: the reason would be found out once more to sort by it.
            "WITH contact AS MATERIALIZED (%s) %s",
            self._reasons_sql(emails, partner_ids, **options),
            self._winners_sql(SQL("contact")),
        )

    def _winners_sql(self, contacts):
        """Return a query (``SQL``) that adds ``winner_id`` to rows of ``_reasons_sql``.

        :param SQL contacts: a table with these rows, all there are of each address
        """
        return SQL(
            """
            SELECT *,
                   CASE WHEN reason IS NULL THEN
                       FIRST_VALUE(partner_id) OVER (
                           PARTITION BY email, reason IS NULL
                           ORDER BY is_company DESC, opt_in_date NULLS LAST, partner_id
                       )
                   END AS winner_id
              FROM %s
            """,
            contacts,
        )

    def _reasons_sql(
        self,
        emails=None,
        partner_ids=(),
        opted_in_only=False,
        scoped=True,
        asking=False,
    ):
        """Return a query with the reason why each contact is not eligible, if any.

        :param emails: restrict it to contacts with these normalised addresses
        :param partner_ids: with ``emails``, also include these contacts, which may have
            no address
        :param bool opted_in_only: leave out contacts without an opt-in, mostly the
            majority
        :param bool scoped: apply the account's own conditions, too
        :param bool asking: also accept those Mailchimp may ask to come back: contacts
            with an opt-in that is newer than what the person said there
        :return: ``SQL``: ``partner_id, email, is_company, opt_in_date, reason`` and, of
            the address in the ledger, ``member_id``, ``former_id`` (its contact) and
            ``is_noted``: it is noted as wanted, for this contact and this opt-in
        """
        self.ensure_one()
        where = [SQL("TRUE")]
        if opted_in_only:
            where.append(SQL("p.mailchimp_opt_in"))
        if emails is not None:
            emails, partner_ids = list(emails), list(partner_ids)
            where.append(
                SQL(
                    "(p.email_normalized = ANY(%s) OR p.id = ANY(%s) OR %s)",
                    emails,
                    partner_ids,
                    SQL(SEVERAL) if self.email_scope == "all" else SQL("FALSE"),
                )
            )
            where.append(
                SQL("(a.email = ANY(%s) OR p.id = ANY(%s))", emails, partner_ids)
            )
        return SQL(
            """
            SELECT p.id AS partner_id,
                   a.email,
                   COALESCE(p.is_company, FALSE) AS is_company,
                   p.mailchimp_opt_in_date AS opt_in_date,
                   CASE %(reasons)s END AS reason,
                   m.id AS member_id,
                   m.partner_id AS former_id,
                   (m.wanted AND m.origin <> 'foreign' AND m.partner_id = p.id
                    AND m.opt_in_seen IS NOT DISTINCT FROM p.mailchimp_opt_in_date)
                   IS TRUE AS is_noted
              FROM res_partner p
CROSS JOIN LATERAL (%(addresses)s) a
         LEFT JOIN mail_blacklist b ON b.email = a.email AND b.active
         LEFT JOIN crm_mailchimp_member m
                ON m.account_id = %(account)s
               AND m.email_normalized = a.email
         LEFT JOIN %(no)s
             WHERE %(where)s
            """,
            reasons=SQL(" ").join(
                SQL("WHEN %s THEN %s", condition, reason)
                for reason, condition in self._exclusions(
                    scoped, asking, few=emails is not None
                )
            ),
            account=self.id,
            addresses=self._addresses_sql(),
            no=self.env["crm.mailchimp.suppression"]._no_of_addresses_sql(
                SQL("a.email"), few=emails is not None
            ),
            where=SQL(" AND ").join(where),
        )

    def _addresses_sql(self):
        """Return a query with the addresses of the contact ``p``.

        The first is Odoo's normalised one; further ones are separated by blanks, commas
        or semicolons, and quoted text is a name.

        :return: ``SQL``: ``email`` and its ``place``, 0 for the first
        """
        first = SQL("SELECT p.email_normalized AS email, 0 AS place")
        if self.email_scope != "all":
            return first
        return SQL("%s UNION ALL %s", first, self._further_addresses_sql())

    def _further_addresses_sql(self):
        """Return a query with all addresses of the contact ``p`` but the first."""
        return SQL(
            """SELECT word AS email, MIN(place) AS place
                 FROM regexp_split_to_table(
                          regexp_replace(LOWER(p.email), '"[^"]*"', ' ', 'g'),
                          '[][[:space:],;:<>()]+')
                      WITH ORDINALITY AS words (word, place)
                WHERE %s AND word ~ %s AND LENGTH(word) <= 254
                  AND word IS DISTINCT FROM p.email_normalized
             GROUP BY word""",
            SQL(SEVERAL),
            ADDRESS_PATTERN,
        )

    def _exclusions(self, scoped=True, asking=False, few=False):
        """Return ``(reason, SQL condition)`` pairs; the first that holds counts."""
        # An address that Odoo's normaliser made up (from a@b@c.example or a@exa
        # mple.com) is not a whole word of what the user typed.
        typed = SQL("LOWER(p.email)")
        place = SQL("STRPOS(%s, a.email)", typed)
        around = ' \t\n\r<>,;:"()[]' + "'"
        whole_word = SQL(
            "(%(place)s > 0"
            " AND STRPOS(%(around)s, SUBSTR(%(typed)s, %(place)s - 1, 1)) > 0"
            " AND STRPOS(%(around)s, SUBSTR(%(typed)s,"
            " %(place)s + LENGTH(a.email), 1)) > 0)",
            place=place,
            typed=typed,
            around=around,
        )
        exclusions = [
            # Say why the opt-in is gone, not just that it is.
            (
                "unsubscribed",
                SQL("p.mailchimp_opt_in IS NOT TRUE AND n.said_at IS NOT NULL"),
            ),
            ("no_opt_in", SQL("p.mailchimp_opt_in IS NOT TRUE")),
            ("contact_archived", SQL("NOT p.active")),
            ("no_address", SQL("COALESCE(TRIM(p.email), '') = ''")),
            (
                "invalid_address",
                SQL(
                    "a.email IS NULL OR a.email !~ %s"
                    " OR LENGTH(a.email) > 254"
                    " OR NOT (%s = a.email OR a.place > 0 OR %s)",
                    ADDRESS_PATTERN,
                    typed,
                    whole_word,
                ),
            ),
            ("blacklisted", SQL("b.id IS NOT NULL")),
            ("other_company", SQL("p.company_id <> %s", self.company_id.id)),
            ("unsubscribed", self._said_no_condition(asking)),
            # Another address of the contact said no, but somebody holds a lock on the
            # contact, so its opt-in could not be removed yet.
            ("unsubscribed", self._opt_in_to_take_condition(few)),
            (
                "was_blacklisted",
                SQL("n.listed_at >= COALESCE(p.mailchimp_opt_in_date, '-infinity')"),
            ),
            (
                "opted_out",
                SQL(
                    "n.out_at > %(opt_in)s OR n.out_open_at >= %(opt_in)s",
                    opt_in=SQL("COALESCE(p.mailchimp_opt_in_date, '-infinity')"),
                ),
            ),
            # In this or another audience. Whoever is reachable here stays all the same.
            *(
                (kind, SQL("n.barred = %s AND %s", kind, SQL(NOT_REACHABLE)))
                for kind in ABOUT_ADDRESS
            ),
        ]
        if not scoped:
            return exclusions
        if self.partner_kind != "all":
            company = self.partner_kind == "company"
            exclusions.append(
                ("wrong_kind", SQL("COALESCE(p.is_company, FALSE) <> %s", company))
            )
        scope = self._scope_domain()
        if not scope.is_true():
            query = self._scope_partners()._search(scope)
            exclusions.append(
                (
                    "out_of_scope",
                    # Not NOT IN: when those in scope do not fit into work_mem (4 MB by
                    # default), the database reads all of them for each contact.
                    SQL(
                        "NOT EXISTS (SELECT FROM %s scope (id) WHERE scope.id = p.id)",
                        query.subselect(SQL.identifier(query.table, "id")),
                    ),
                )
            )
        return exclusions

    def _scope_partners(self):
        """Return ``res.partner`` with the rights of the user who set the condition.

        :raise AccessError: if that user can no longer answer for it
        """
        env = acting_as(self.env, self.partner_domain_user_id, self.company_id)
        return env["res.partner"].with_context(active_test=False)

    def _scope_domain(self):
        """Return the domain of contacts in scope.

        :raise UserError: if it cannot be evaluated
        """
        if (self.partner_domain or "[]").strip() == "[]":
            return Domain.TRUE
        try:
            partners = self._scope_partners()
            names = self.env["ir.filters"]._mailchimp_eval_context(
                self.partner_domain_user_id, self.company_id
            )
            return evaluate_condition(partners, self.partner_domain, names)[0]
        except UserError as error:
            raise UserError(
                self.env._(
                    "The condition “Only contacts matching” cannot be used: %(error)s "
                    "Correct it on the Mailchimp account, or set it again so that it "
                    "uses your access rights.",
                    error=f"{error}".rstrip(" .") + ".",
                )
            ) from error

    def _of_company(self):
        """Return the linked account of the current company, if there is one."""
        return self.search(
            [("company_id", "=", self.env.company.id), ("audience_ref", "!=", False)],
            limit=1,
        )

    def _winners(self, emails, asking=False):
        """Return ``{address: id of the contact that stands for it}``, as of now.

        :param bool asking: as for :meth:`_reasons_sql`
        """
        self._flush_contacts()
        return dict(
            self.env.execute_query(
                SQL(
                    "SELECT email, partner_id FROM (%s) c WHERE winner_id = partner_id",
                    self._contacts_sql(emails=emails, asking=asking),
                )
            )
        )

    def _members_to_ask(self, partners):
        """Return the members Mailchimp may ask to come back, for these contacts.

        An address that said no in another audience and was never in this one gets a row
        in the ledger: Mailchimp asks it in the same way.
        """
        emails = list({email for p in partners for email in p._mailchimp_addresses()})
        wanted = {
            email: partner_id
            for email, partner_id in self._winners(emails, asking=True).items()
            if partner_id in partners.ids
        }
        Member = self.env["crm.mailchimp.member"]
        known = Member.search(
            [
                ("account_id", "=", self.id),
                ("email_normalized", "in", list(wanted)),
            ]
        )
        # Addresses that may simply be subscribed are not asked.
        elsewhere = wanted.keys() - self._eligible_emails(wanted)
        unknown = elsewhere - set(known.mapped("email_normalized"))
        return known.filtered(
            lambda member: (
                member.status in ("unsubscribed", "archived", "transactional")
                or not member.status
                and (
                    member.reason == NOT_CONFIRMED
                    or (not member.reason and member.email_normalized in elsewhere)
                )
            )
        ) | Member.create(
            [
                {
                    "account_id": self.id,
                    "email_normalized": email,
                    "partner_id": wanted[email],
                    "origin": "odoo",
                }
                for email in sorted(unknown)
            ]
        )

    def _contact_lines(self, partners):
        """Return ``{partner id: (status, reason, winner's id)}`` for some contacts.

        Only contacts with the same addresses are looked at, so a contact form stays
        fast with a million members.
        """
        self._flush_contacts()
        emails = {email for p in partners for email in p._mailchimp_addresses()}
        rows = self.env.execute_query(
            SQL(
                "SELECT partner_id, status, reason, winner_id FROM (%s) line"
                " WHERE partner_id = ANY(%s)",
                self._contact_lines_sql(emails, partners.ids),
                partners.ids,
            )
        )
        return {partner_id: line for partner_id, *line in rows}

    def _contact_lines_sql(self, emails=None, partner_ids=()):
        """Return a query with what the status list shows of each contact.

        :return: ``SQL``: ``partner_id, email, winner_id, status, reason, member_id``
        """
        lines = SQL(
            """
            SELECT c.partner_id, c.email, c.winner_id, m.id AS member_id,
                   CASE WHEN c.reason IS NOT NULL OR c.winner_id <> c.partner_id
                        THEN 'out'
                        WHEN m.status = 'subscribed' THEN 'in'
                        WHEN next.step IN %(coming)s OR m.operation = 'readmit'
                        THEN 'waiting'
                        ELSE 'out' END AS status,
                   CASE WHEN m.reason = %(not_taken)s
                             AND COALESCE(m.partner_id, c.partner_id) = c.partner_id
                        THEN m.reason
                        WHEN c.reason = 'unsubscribed' AND m.status = 'pending'
                        THEN 'pending'
                        WHEN c.reason IS NOT NULL THEN c.reason
                        WHEN c.winner_id <> c.partner_id THEN 'shared_address'
                        WHEN next.step IN %(coming)s OR m.operation = 'readmit'
                        THEN NULL
                        -- It is there, but a change of it was refused.
                        WHEN next.step = 'refused' OR m.status = 'subscribed'
                        THEN m.reason
                        ELSE m.status END AS reason
              FROM (%(contacts)s) c
         LEFT JOIN crm_mailchimp_member m
                ON m.account_id = %(account)s AND m.email_normalized = c.email
CROSS JOIN LATERAL (SELECT %(next_step)s AS step) next
            """,
            contacts=self._contacts_sql(emails, partner_ids),
            account=self.id,
            next_step=self._next_step_sql(),
            coming=COMING,
            not_taken=NOT_TAKEN,
        )
        if self.email_scope != "all":
            return lines
        # Of a contact's addresses, the one with the best status stands for it.
        return SQL(
            "SELECT DISTINCT ON (partner_id) * FROM (%s) address ORDER BY partner_id,"
            " ARRAY_POSITION(ARRAY['in', 'waiting', 'out'], status), email",
            lines,
        )

    def _next_step_sql(self):
        """Return ``SQL``: what comes next for the wanted member ``m``.

        Its row may be missing. A refusal counts until it is due for another try: only
        the next run sees whether the contact has other values by then.

        :return: ``SQL`` of the name of a line of :data:`.plan.NEXT`
        """
        reason = SQL("NULLIF(m.reason, %s)", NOT_TAKEN)
        columns = {
            "status": SQL("m.status"),
            "status_before": SQL("m.status_before"),
            "by_odoo": SQL("COALESCE(m.archived_by = 'odoo', FALSE)"),
            "reason": reason,
            "is_refused": SQL(
                "(%s IS NOT NULL AND (m.next_try <= %s) IS NOT TRUE"
                " AND COALESCE(m.values_refused, 'null') <> 'null')",
                reason,
                fields.Datetime.now(),
            ),
        }
        lines = [
            SQL(
                "WHEN %s THEN %s",
                SQL(" AND ").join(
                    SQL("%s = ANY(%s)", columns[name], list(values))
                    if None not in values
                    else SQL("%s IS NULL", columns[name])
                    for name, values in conditions.items()
                )
                or SQL("TRUE"),
                step,
            )
            for step, conditions in NEXT
        ]
        return SQL("CASE %s END", SQL(" ").join(lines))

    def _flush_contacts(self):
        """Write pending changes that the eligibility query reads."""
        self.env["res.partner"].flush_model()
        self.env["mail.blacklist"].flush_model()
        self.env["crm.mailchimp.consent"].flush_model()
        self.env["crm.mailchimp.suppression"].flush_model()
        self.env["crm.mailchimp.member"].flush_model()

    def _skipped_by_reason(self):
        """Count the contacts with an opt-in that are not in Mailchimp, by reason.

        :return: ``{reason: count}``
        """
        return dict(
            self.env["crm.mailchimp.contact.status"]._read_group(
                [
                    ("account_id", "in", self.ids),
                    ("status", "!=", "in"),
                    ("reason", "not in", (False, "no_opt_in")),
                ],
                ["reason"],
                ["__count"],
            )
        )
