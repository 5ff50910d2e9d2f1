from odoo import api, fields, models
from odoo.tools import SQL, LazyTranslate

from ..engine.address import member_hash
from ..engine.vocabulary import ABOUT_ADDRESS, SAID
from .recordset import recordset

_lt = LazyTranslate(__name__)

KINDS = [
    ("unsubscribed", "Unsubscribed"),
    ("complained", "Complained about spam"),
    ("compliance", "Refused by Mailchimp: opted out before"),
    ("cleaned", "Bounced (cleaned)"),
    ("forgotten", "Permanently deleted"),
    ("opt_out", "Opted out"),
    ("blacklist", "Blacklisted"),
]
COLUMNS = {
    "email_hash": "varchar",
    "email_normalized": "varchar",
    "source": "varchar",
    "kind": "varchar",
    "date": "timestamp",
    "note": "varchar",
    "audience_ref": "varchar",
    "audience_name": "varchar",
}


class CrmMailchimpSuppression(models.Model):
    """One "no" of one address: where and when it was said, and what lifted it.

    The table is the do-not-email list. It outlives contacts, members, accounts and
    audiences, and every path that could subscribe somebody checks it (see
    :mod:`eligibility`). A "no" from Mailchimp is lifted only by a new yes of the person
    there; one from Odoo, also by a later opt-in in Odoo. A "no" is never deleted:
    erasing one removes the address and keeps its hash.

    ``date`` is by Mailchimp's clock, like every time it is compared with.
    """

    _name = "crm.mailchimp.suppression"
    _inherit = ["crm.mailchimp.labelled"]
    _description = "Do-Not-Email Address"
    _order = "date desc, id desc"
    _rec_name = "email_normalized"

    email_normalized = fields.Char(string="Address", readonly=True, index=True)
    # Mailchimp's own subscriber hash, by which an address can be recognised after it
    # was erased here, and in reports where Mailchimp shows nothing else.
    email_hash = fields.Char(string="Address hash", required=True, readonly=True)
    source = fields.Selection(
        [("mailchimp", "Mailchimp"), ("odoo", "Odoo"), ("blacklist", "Blacklist")],
        required=True,
        readonly=True,
    )
    kind = fields.Selection(KINDS, string="Reason", required=True, readonly=True)
    date = fields.Datetime(required=True, readonly=True)
    note = fields.Char(string="Details", readonly=True)
    audience_ref = fields.Char(string="Audience ID", readonly=True)
    audience_name = fields.Char(string="Audience", readonly=True)
    lifted_at = fields.Datetime(string="Lifted on", readonly=True)
    lifted_by = fields.Selection(
        [
            ("mailchimp", "Signed up or confirmed in Mailchimp"),
            ("opt_in", "Later opt-in in Odoo"),
        ],
        string="Lifted by",
        readonly=True,
        falsy_value_label=_lt("Not lifted"),
    )

    _open_uniq = models.UniqueIndex(
        "(email_hash, source, kind, COALESCE(audience_ref, ''))"
        " WHERE lifted_at IS NULL",
        "This address is already on the list.",
    )
    _hash_idx = models.Index("(email_hash)")

    @api.model
    def _note(self, rows):
        """Put addresses on the list; one already there keeps its latest "no".

        :param rows: dicts with ``email, source, kind, date`` (by Mailchimp's clock)
            and, where known, ``note, audience_ref, audience_name``
        """
        latest = {}
        for row in rows:
            email, audience = row["email"].lower(), row.get("audience_ref")
            key = email, row["source"], row["kind"], audience
            if key not in latest or latest[key]["date"] < row["date"]:
                latest[key] = row
        if not latest:
            return
        self._upsert(
            SQL(
                "SELECT * FROM %s",
                recordset(
                    COLUMNS,
                    [
                        (
                            member_hash(email),
                            email,
                            source,
                            kind,
                            row["date"],
                            row.get("note"),
                            audience_ref,
                            row.get("audience_name"),
                        )
                        for (email, source, kind, audience_ref), row in latest.items()
                    ],
                ),
            )
        )

    @api.model
    def _upsert(self, query):
        """Put the rows of a query on the list.

        :param SQL query: yields ``COLUMNS``; no two rows with the same address, source,
            kind and audience
        """
        names = SQL(", ").join(map(SQL.identifier, COLUMNS))
        self.env.cr.execute(
            SQL(
                """INSERT INTO crm_mailchimp_suppression AS s (%(names)s, create_date)
                   SELECT %(names)s, NOW() AT TIME ZONE 'UTC' FROM (%(query)s) q
                   ON CONFLICT (email_hash, source, kind, (COALESCE(audience_ref, '')))
                         WHERE lifted_at IS NULL
                   DO UPDATE SET date = EXCLUDED.date,
                                 note = COALESCE(EXCLUDED.note, s.note),
                                 email_normalized = EXCLUDED.email_normalized
                         WHERE s.date < EXCLUDED.date""",
                names=names,
                query=query,
            )
        )
        self.invalidate_model(flush=False)

    @api.model
    def _note_blacklist(self):
        """Put every address of the blacklist on the list."""
        self._upsert(
            SQL(
                """SELECT MD5(LOWER(email)) AS email_hash, email AS email_normalized,
                          'blacklist' AS source, 'blacklist' AS kind,
                          create_date AS date, NULL AS note, NULL AS audience_ref,
                          NULL AS audience_name
                     FROM mail_blacklist WHERE active"""
            )
        )

    @api.model
    def _lift(self, rows, lifted_by):
        """Lift every "no" that addresses said before their new yes.

        Times are known to the second: a yes within the same second is not later.

        :param rows: ``(address, date)`` of each yes, by Mailchimp's clock
        :param str lifted_by: ``mailchimp`` if the person signed up or confirmed there,
            which lifts every "no"; ``opt_in`` lifts only those from Odoo
        """
        if not rows:
            return
        self.env.cr.execute(
            SQL(
                """UPDATE crm_mailchimp_suppression s
                      SET lifted_at = v.date, lifted_by = %(lifted_by)s
                     FROM %(rows)s
                    WHERE s.email_hash = v.email_hash
                      AND s.date < v.date AND %(open)s""",
                lifted_by=lifted_by,
                rows=recordset(
                    {"email_hash": "varchar", "date": "timestamp"},
                    [(member_hash(email), date) for email, date in rows],
                ),
                # An opt-in lifts a "no" for its contact only; the person's own yes ends
                # it for everybody.
                open=SQL("s.lifted_at IS NULL AND s.source <> 'mailchimp'")
                if lifted_by == "opt_in"
                else SQL("s.lifted_by IS DISTINCT FROM 'mailchimp'"),
            )
        )
        self.invalidate_model(flush=False)

    @api.model
    def _latest(self, emails):
        """Return when the latest "no" of any of these addresses was said."""
        found = self.sudo().search_fetch(
            [("email_hash", "in", [member_hash(email) for email in emails])],
            ["date"],
            order="date desc",
            limit=1,
        )
        return found.date

    def unlink(self):  # pylint: disable=method-required-super
        """Erase the addresses, but still recognise them by their hash.

        A request for erasure is not consent: deleting the "no" would let the next
        import subscribe the person again.
        """
        self.check_access("unlink")
        return self.sudo().write({"email_normalized": False, "note": False})

    def _no_of_addresses_sql(self, email, few):
        """Return a join of what the address ``email`` of a query said.

        The list is aggregated once for everybody, but looked up by address for a few
        contacts: a contact form must not read all of it.

        :param SQL email: the address
        :param bool few: whether the query is about a few contacts only
        :return: ``SQL`` of a join ``n``: ``said_at`` (open "no" of the person in
            Mailchimp), ``barred`` (one of ``ABOUT_ADDRESS``), ``out_at`` and
            ``out_open_at`` (the latest "no" said in Odoo that the person's own yes has
            not lifted, and the latest that nothing has lifted), ``listed_at`` (the
            latter for the blacklist alone)
        """
        columns = SQL(
            """MAX(s.date) FILTER (WHERE s.lifted_at IS NULL AND s.kind IN %(said)s)
                   AS said_at,
               MAX(s.kind) FILTER (WHERE s.lifted_at IS NULL
                                     AND s.kind IN %(about)s) AS barred,
               MAX(s.date) FILTER (WHERE s.source <> 'mailchimp'
                                     AND s.lifted_by IS DISTINCT FROM 'mailchimp')
                   AS out_at,
               MAX(s.date) FILTER (WHERE s.source <> 'mailchimp'
                                     AND s.lifted_at IS NULL) AS out_open_at,
               MAX(s.date) FILTER (WHERE s.source = 'blacklist'
                                     AND s.lifted_at IS NULL) AS listed_at""",
            said=SAID,
            about=ABOUT_ADDRESS,
        )
        digest = SQL("MD5(LOWER(%s))", email)
        if few:
            return SQL(
                "LATERAL (SELECT %s FROM crm_mailchimp_suppression s"
                " WHERE s.email_hash = %s) n ON TRUE",
                columns,
                digest,
            )
        return SQL(
            "(SELECT s.email_hash, %s FROM crm_mailchimp_suppression s"
            " GROUP BY s.email_hash) n ON n.email_hash = %s",
            columns,
            digest,
        )
