import zipfile
from contextlib import closing

from odoo import api, models
from odoo.exceptions import UserError
from odoo.tools import SQL

# The values of a disconnected account, see ``action_disconnect``: restoring brings back
# no key, and starts nothing.
DISCONNECTED = {
    "state": "draft",
    "push_enabled": False,
    "api_key_hint": False,
    "error_message": False,
    "needs_new_key": False,
    "next_look": False,
    "other_since": False,
    "look_again": True,
}
# Columns to leave empty: what was planned or under way is planned again.
UNDER_WAY = {
    *("operation", "sending", "sent_at", "batch_ref", "values_sending"),
    *("fingerprint", "seen_in_run", "moved_from_id"),
}

# For row ``a`` of a file: the account it belongs to now; the second also requires that
# this account was restored.
OF_ACCOUNT = "JOIN archive_account_map am ON am.former = a.account_id"
OF_FRESH = f"{OF_ACCOUNT} AND am.fresh"


class CrmMailchimpArchive(models.AbstractModel):
    """Restoring an archive: everything that is missing, and nothing outdated.

    Everything is done in one transaction, by set-based SQL over temporary tables.
    Whatever this database has recorded since the archive was written stays, so
    restoring twice, or after weeks of work, changes nothing that it should not.
    """

    _inherit = "crm.mailchimp.archive"

    @api.model
    def _restore(self, file):
        """Restore an archive.

        :param file: a seekable binary file
        :return: ``{name of a file: (rows in the archive, rows restored)}``
        :raise UserError: if it is not an archive of this database, or not for this user
        """
        self = self.sudo()
        self.env.flush_all()
        try:
            archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile as error:
            raise UserError(
                self.env._("This file is not an archive of the Mailchimp add-on.")
            ) from error
        with closing(archive):
            manifest = self._read_manifest(archive)
            self._load(archive, manifest)
        self._check_companies()
        # An id alone could be another contact's, in a copy of the database.
        self._query(
            "CREATE TEMP TABLE archive_people ON COMMIT DROP AS SELECT p.id"
            " FROM res_partner p JOIN archive_contacts a"
            " ON a.id = p.id AND a.create_date = p.create_date"
        )
        self._query("CREATE INDEX ON archive_people (id)")
        restored = {
            "accounts": self._restore_accounts(),
            "field_mapping": self._restore_mapping(),
            "permissions": self._restore_permissions(),
            "filters": self._restore_filters(),
            "segments": self._restore_segments(),
            "erasures": self._restore_erasures(),
        }
        self._forget_erased()
        # First, while lines and ledger hold only what was said since the archive.
        restored["suppressions"] = self._restore_suppressions()
        restored["consent"], last = self._restore_consent()
        restored["contacts"] = self._restore_contacts(last)
        restored["leads"] = self._restore_leads()
        restored |= self._restore_ledger() | self._restore_results()
        self._unload()
        self.env.invalidate_all()
        self.env["crm.mailchimp.account"]._wake_opt_outs()
        return {
            name: (facts["rows"], restored[name])
            for name, facts in manifest["files"].items()
            if name in restored
        }

    def _query(self, code, *args, **kwargs):
        self.env.cr.execute(SQL(code, *args, **kwargs))
        return self.env.cr.rowcount

    def _check_companies(self):
        """Refuse users who may not see all companies the archive covers.

        :raise UserError: names the companies
        """
        self.env.cr.execute("SELECT DISTINCT company_id FROM archive_accounts")
        companies = self.env["res.company"].browse(
            [row[0] for row in self.env.cr.fetchall() if row[0]]
        )
        hidden = companies.exists() - self.env.user.company_ids
        if hidden:
            raise UserError(
                self.env._(
                    "The archive also covers %s, which you have no access to. Ask"
                    " somebody with access to all its companies to restore it.",
                    ", ".join(hidden.mapped("name")),
                )
            )

    # === ACCOUNTS AND SETTINGS === #

    def _restore_accounts(self):
        """Find or make an account for each archived one: ``archive_account_map``.

        An account with the same audience is left as it is. One that was never linked
        takes over audience and settings; somebody has to connect it.
        """
        cr, Account = self.env.cr, self.env["crm.mailchimp.account"]
        Account = Account.with_context(active_test=False, tracking_disable=True)
        cr.execute(
            "CREATE TEMP TABLE archive_account_map"
            " (former int4, id int4, fresh bool) ON COMMIT DROP"
        )
        cr.execute("SELECT * FROM archive_accounts ORDER BY active DESC, id")
        restored = 0
        for row in cr.dictfetchall():
            company = self.env["res.company"].browse(row["company_id"] or 0).exists()
            if not company:
                continue
            ours = Account.search(
                [("company_id", "=", company.id)], order="active desc"
            )
            account = ours.filtered(
                lambda a, row=row: (
                    row["audience_ref"] and a.audience_ref == row["audience_ref"]
                )
            )[:1]
            fresh = not account
            if fresh:
                account = self._make_account(row, ours.filtered("active"))
                restored += 1
            cr.execute(
                "INSERT INTO archive_account_map VALUES (%s, %s, %s)",
                [row["id"], account.id, fresh],
            )
        self.env.flush_all()
        return restored

    def _make_account(self, row, present):
        """Return the account that takes the place of an archived one.

        :param dict row: the archived account
        :param present: the active account of its company, or none
        """
        vals = self._settings(row)
        if present and row["active"] and not present.audience_ref:
            vals.pop("active")
            present.write(vals)
            return present
        vals["active"] = bool(row["active"]) and not present
        return present.browse().create(vals)

    def _settings(self, row):
        """Return the archived values that this version knows, without connection."""
        model = self.env["crm.mailchimp.account"]
        vals = {}
        for name, value in row.items():
            field = model._fields.get(name)
            if field is None or name in models.MAGIC_COLUMNS or field.compute:
                continue
            if field.type == "selection":
                if value not in field.get_values(self.env):
                    continue
            elif field.type == "many2one":
                if field.comodel_name == "res.users":
                    value = self._same_user(value, row.get(f"{name}/name"))
                elif value and not self.env[field.comodel_name].browse(value).exists():
                    value = False
            vals[name] = value
        vals.update(DISCONNECTED)
        # The user who restores answers for a condition whose author is gone.
        vals["partner_domain_user_id"] = (
            vals.get("partner_domain_user_id") or self.env.uid
        )
        return vals

    def _same_user(self, user_id, login):
        return (
            self.env["res.users"]
            .with_context(active_test=False)
            .search([("id", "=", user_id or 0), ("login", "=", login)])
            .id
        )

    def _restore_mapping(self):
        # Only for restored accounts: others have a mapping made since.
        count = self._copy(
            "field_mapping",
            "crm.mailchimp.merge.field",
            {"account_id": SQL("am.id")},
            SQL(OF_FRESH),
        )
        self._query(
            "UPDATE crm_mailchimp_merge_field SET author_id = %s"
            " WHERE author_id IS NULL AND account_id IN"
            " (SELECT id FROM archive_account_map WHERE fresh)",
            self.env.uid,
        )
        return count

    def _restore_permissions(self):
        return self._copy(
            "permissions",
            "crm.mailchimp.permission",
            {"account_id": SQL("am.id"), "after_member": SQL("0")},
            SQL(OF_FRESH),
        )

    def _restore_filters(self):
        """Flag the filters again that nobody changed while the add-on was gone."""
        return self._query(
            """UPDATE ir_filters t
                  SET mailchimp_sync = TRUE, mailchimp_owner_id = u.id
                 FROM archive_filters a
                 JOIN res_users u ON u.id = a.mailchimp_owner_id
                                 AND u.login = a."mailchimp_owner_id/name" AND u.active
                WHERE t.id = a.id AND t.name = a.name AND t.model_id = a.model_id
                  AND t.domain = a.domain AND %s IS NOT DISTINCT FROM a.users
                  AND t.mailchimp_sync IS NOT TRUE""",
            self._filter_users(),
        )

    def _restore_segments(self):
        """Restore which groups and tags are ours, for filters that are flagged again.

        Those of other filters are left alone in Mailchimp: nothing says any more who
        belongs in them.
        """
        return self._copy(
            "segments",
            "crm.mailchimp.segment",
            {"account_id": SQL("am.id"), "filter_id": SQL("f.id")},
            SQL(
                OF_FRESH
                + " JOIN ir_filters f ON f.id = a.filter_id AND f.mailchimp_sync"
            ),
        )

    # === LEDGER AND RESULTS === #

    def _restore_ledger(self):
        """Restore the ledger of restored accounts; others read it from Mailchimp."""
        restored = {
            "members": self._copy(
                "members",
                "crm.mailchimp.member",
                {"account_id": SQL("am.id")},
                SQL(OF_FRESH),
                without=UNDER_WAY,
            ),
            "tags": self._copy(
                "tags",
                "crm.mailchimp.contact.tag",
                {"account_id": SQL("am.id"), "partner_id": SQL("a.partner_id")},
                SQL(OF_FRESH + " JOIN archive_people x ON x.id = a.partner_id"),
            ),
            "growth": self._copy(
                "growth",
                "crm.mailchimp.growth",
                {"account_id": SQL("am.id")},
                SQL(OF_ACCOUNT),
            ),
        }
        # Permissions are for members added from now on.
        self._query(
            "UPDATE crm_mailchimp_permission SET after_member ="
            " COALESCE((SELECT MAX(id) FROM crm_mailchimp_member), 0)"
            " WHERE account_id IN (SELECT id FROM archive_account_map WHERE fresh)"
        )
        return restored

    def _restore_results(self):
        restored = {
            "campaigns": self._copy(
                "campaigns",
                "crm.mailchimp.campaign",
                {"account_id": SQL("am.id")},
                SQL(OF_ACCOUNT),
            )
        }
        campaign = SQL(
            "JOIN archive_account_map am ON am.former = ac.account_id"
            " JOIN crm_mailchimp_campaign c"
            " ON c.account_id = am.id AND c.campaign_ref = ac.campaign_ref"
        )
        self._query(
            """UPDATE crm_mailchimp_campaign child SET parent_id = c.id
                 FROM archive_campaigns a
                 JOIN archive_campaigns ac ON ac.id = a.parent_id %s
                WHERE child.account_id = am.id AND child.campaign_ref = a.campaign_ref
                  AND child.parent_id IS NULL""",
            campaign,
        )
        part = SQL("JOIN archive_campaigns ac ON ac.id = a.campaign_id %s", campaign)
        member = SQL(
            "(SELECT m.id FROM crm_mailchimp_member m WHERE m.account_id = am.id"
            " AND m.email_normalized = a.email_normalized)"
        )
        for name, model, keys in (
            ("links", "crm.mailchimp.campaign.link", {}),
            ("variants", "crm.mailchimp.campaign.variant", {}),
            ("recipients", "crm.mailchimp.recipient", {"member_id": member}),
        ):
            keys = {"campaign_id": SQL("c.id"), **keys}
            restored[name] = self._copy(name, model, keys, part)
        restored["events"] = self._copy(
            "events",
            "crm.mailchimp.recipient.event",
            {"recipient_id": SQL("r.id")},
            SQL(
                "JOIN archive_recipients ar ON ar.id = a.recipient_id"
                " JOIN archive_campaigns ac ON ac.id = ar.campaign_id %s"
                " JOIN crm_mailchimp_recipient r"
                " ON r.campaign_id = c.id AND r.email_hash = ar.email_hash",
                campaign,
            ),
        )
        # Old events are not news for the chatter.
        self._query(
            "UPDATE crm_mailchimp_account SET activity_noted_id = GREATEST("
            "activity_noted_id, (SELECT MAX(id) FROM crm_mailchimp_recipient_event))"
            " WHERE id IN (SELECT id FROM archive_account_map)"
        )
        return restored

    # === COPYING === #

    def _names(self, file, model):
        """Return the columns that a loaded file and the present model both have."""
        self._query("SELECT * FROM %s LIMIT 0", SQL.identifier(f"archive_{file}"))
        loaded = {column.name for column in self.env.cr.description}
        return [name for name in self._columns(self.env[model]) if name in loaded]

    def _copy(self, file, model, keys, joins=None, where=None, without=()):
        """Insert the rows of a loaded file that are not there yet.

        :param str file: name of the file; its rows are ``a``
        :param str model: name of the model the rows belong to
        :param dict keys: ``{column: SQL}``, what to store instead of the archived value
        :param SQL joins: joins that ``keys`` refers to
        :param SQL where: a further condition
        :param without: columns to leave empty
        :return: number of rows inserted
        """
        values = {}
        for name in self._names(file, model):
            if name == "id" or name in without:
                continue
            values[name] = self._value(self.env[model]._fields[name])
        values.update(keys)
        return self._query(
            "INSERT INTO %s (%s) SELECT %s FROM %s a %s WHERE %s ORDER BY a.id"
            " ON CONFLICT DO NOTHING",
            SQL.identifier(self.env[model]._table),
            SQL(", ").join(map(SQL.identifier, values)),
            SQL(", ").join(values.values()),
            SQL.identifier(f"archive_{file}"),
            joins or SQL(),
            where or SQL("TRUE"),
        )

    def _value(self, field):
        """Return ``SQL`` of a column of row ``a``, ``NULL`` if its record is gone."""
        value = SQL.identifier("a", field.name)
        if field.type != "many2one":
            return value
        if field.comodel_name == "res.partner":
            return SQL("(SELECT x.id FROM archive_people x WHERE x.id = %s)", value)
        if field.comodel_name == "res.company":
            return SQL("(SELECT x.id FROM res_company x WHERE x.id = %s)", value)
        if field.comodel_name == "res.users":
            return SQL(
                "(SELECT x.id FROM res_users x WHERE x.id = %s AND x.login = %s)",
                value,
                SQL(f'a."{field.name}/name"'),
            )
        if not field.comodel_name.startswith("crm.mailchimp."):
            return SQL(
                "(SELECT x.id FROM %s x WHERE x.id = %s)",
                SQL.identifier(self.env[field.comodel_name]._table),
                value,
            )
        return SQL("NULL")
