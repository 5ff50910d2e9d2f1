from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL

from ..engine.naming import NAME_LENGTH, is_name_of

# Campaigns shown on a segment.
LATEST = 5


class CrmMailchimpSegment(models.Model):
    """One flagged saved filter on one account, and its own groups and tag in Mailchimp.

    It outlives the filter, as what was created in Mailchimp has to be withdrawn there.
    """

    _name = "crm.mailchimp.segment"
    _inherit = ["crm.mailchimp.labelled", "crm.mailchimp.mirrored"]
    _description = "Mailchimp Segment"
    _order = "name, id"

    name = fields.Char(required=True, readonly=True)
    account_id = fields.Many2one(
        "crm.mailchimp.account", required=True, ondelete="cascade", index=True
    )
    company_id = fields.Many2one(related="account_id.company_id")
    filter_id = fields.Many2one("ir.filters", ondelete="set null", readonly=True)
    owner_id = fields.Many2one(
        "res.users",
        help="The segment uses the access rights of this user.",
        ondelete="set null",
        readonly=True,
    )
    model_name = fields.Char(string="Model", readonly=True)
    state = fields.Selection(
        [
            ("active", "Synced"),
            ("broken", "Error"),
            ("full", "No room in Mailchimp"),
            ("withdrawn", "Removed"),
        ],
        default="active",
        required=True,
        readonly=True,
    )
    error_message = fields.Text(string="Problem", readonly=True)
    # Interest ids of the group for people and the group for companies.
    person_ref = fields.Char(readonly=True)
    company_ref = fields.Char(readonly=True)
    # Id of its tag, which Mailchimp calls a static segment.
    tag_ref = fields.Char(readonly=True)
    remote_name = fields.Char(string="Group in Mailchimp", readonly=True)
    tag_name = fields.Char(string="Tag in Mailchimp", readonly=True)
    # Members that have the tag as far as we know, and those Mailchimp refused it for.
    tagged_ids = fields.Many2many(
        "crm.mailchimp.member",
        "crm_mailchimp_segment_tagged",
        "segment_id",
        "member_id",
        readonly=True,
    )
    untaggable_ids = fields.Many2many(
        "crm.mailchimp.member",
        "crm_mailchimp_segment_untaggable",
        "segment_id",
        "member_id",
        readonly=True,
    )
    partner_ids = fields.Many2many(
        "res.partner",
        "crm_mailchimp_segment_partner",
        "segment_id",
        "partner_id",
        string="Matching contacts",
        readonly=True,
    )
    matching_count = fields.Integer(
        string="Matching",
        readonly=True,
        help="How many contacts matched the filter at the last sync.",
    )
    member_count = fields.Integer(
        string="In Mailchimp",
        compute="_compute_member_count",
        help="How many of the matching contacts are subscribed and have the group or "
        "tag.",
    )
    missing_count = fields.Integer(
        string="Not in Mailchimp",
        compute="_compute_member_count",
        help="How many of the matching contacts are not subscribed, or do not have the "
        "group or tag yet.",
    )

    campaign_ids = fields.Many2many(
        "crm.mailchimp.campaign",
        string="Latest campaigns",
        compute="_compute_campaign_ids",
    )
    audience_name = fields.Char(related="account_id.audience_name", string="Audience")

    _filter_uniq = models.UniqueIndex(
        "(account_id, filter_id) WHERE filter_id IS NOT NULL",
        "This filter is already a segment.",
    )

    def _compute_member_count(self):
        """Count the matching contacts whose members have the group or tag.

        For an account with many contacts, those without it are as of the last count.
        """
        times = self.account_id._counted_at()
        counted = self.filtered(lambda segment: segment.account_id in times)
        live = self - counted
        holders, gaps = {}, {}
        if live.ids:
            holders = dict(
                self.env.execute_query(
                    SQL(
                        "SELECT segment_id, COUNT(*) FROM (%s) holder"
                        " WHERE segment_id = ANY(%s) GROUP BY segment_id",
                        self._holders_sql(),
                        live.ids,
                    )
                )
            )
        if counted.ids:
            gaps = dict(
                self.env.execute_query(
                    SQL(
                        "SELECT segment_id, COUNT(*) FROM crm_mailchimp_segment_gap"
                        " WHERE segment_id = ANY(%s) GROUP BY segment_id",
                        counted.ids,
                    )
                )
            )
        for segment in live:
            segment.member_count = holders.get(segment.id, 0)
            segment.missing_count = segment.matching_count - segment.member_count
        for segment in counted:
            segment.missing_count = min(gaps.get(segment.id, 0), segment.matching_count)
            segment.member_count = segment.matching_count - segment.missing_count

    def _compute_campaign_ids(self):
        """Find the latest campaigns sent to the group or tag."""
        Campaign = self.env["crm.mailchimp.campaign"]
        Campaign.flush_model()
        for segment in self:
            refs = {segment.person_ref, segment.company_ref, segment.tag_ref} - {False}
            segment.campaign_ids = bool(refs) and Campaign.search(
                Domain("account_id", "=", segment.account_id.id)
                & Domain("is_counted", "=", True)
                & Domain.custom(
                    to_sql=lambda _model, alias, _query, refs=refs: SQL(
                        "%s ?| %s",
                        SQL.identifier(alias, "segment_refs"),
                        list(refs),
                    )
                ),
                limit=LATEST,
            )

    @api.model
    def _holders_sql(self):
        """Return a query with the matching contacts that Mailchimp has in the segment.

        :return: ``SQL``: ``segment_id, partner_id``, each pair once
        """
        return SQL(
            """
            SELECT r.segment_id, r.partner_id
              FROM crm_mailchimp_segment_partner r
              JOIN crm_mailchimp_segment s ON s.id = r.segment_id
              JOIN crm_mailchimp_account account ON account.id = s.account_id
             WHERE %s
            """,
            self._is_holder_sql(),
        )

    @api.model
    def _is_holder_sql(self):
        """Return ``SQL``: whether Mailchimp has the contact ``r`` in the segment ``s``.

        A member is looked up for each contact: that way PostgreSQL never compares all
        contacts with all members, however wrong its statistics are.
        """
        self.env["crm.mailchimp.member"].flush_model()
        self.flush_model()
        return SQL(
            """EXISTS (
                SELECT FROM crm_mailchimp_member m
                 WHERE m.account_id = s.account_id AND m.partner_id = r.partner_id
                   AND m.status = 'subscribed' AND m.wanted
                   AND (account.segment_target = 'tag'
                        OR m.values_sent->'i' ?| ARRAY[s.person_ref, s.company_ref])
                   AND (account.segment_target = 'group'
                        OR EXISTS (SELECT FROM crm_mailchimp_segment_tagged t
                                    WHERE t.segment_id = s.id AND t.member_id = m.id)))
            """
        )

    @api.model
    def _sync_with_filters(self, account):
        """Give each flagged filter its segment and withdraw the others.

        A filter whose owner has lost access to the company keeps its segment there,
        which keeps its last members and says why: nobody removed the flag.
        """
        known = {segment.filter_id: segment for segment in account.segment_ids}
        kept = account.segment_ids.filtered(lambda s: s.state != "withdrawn").filter_id
        filters = self.env["ir.filters"].sudo().search([("mailchimp_sync", "=", True)])
        filters = filters.filtered(
            lambda record: (
                account.company_id in record.mailchimp_owner_id.company_ids
                or record in kept
            )
        )
        names = filters.mapped("name")
        for record in filters:
            owner = record.mailchimp_owner_id
            # Filters with the same name are told apart by their owners.
            name = record.name
            if names.count(name) > 1:
                name = f"{name} ({owner.name})"
            vals = {
                "name": name,
                "owner_id": owner.id,
                "model_name": record.model_id,
            }
            segment = known.get(record)
            if not segment:
                self.create(dict(vals, account_id=account.id, filter_id=record.id))
                continue
            if segment.state == "withdrawn":
                vals["state"] = "active"
            segment._write_changes(vals)
        gone = account.segment_ids.filtered(
            lambda segment: segment.filter_id not in filters
        )
        for segment in gone:
            segment._write_changes({"state": "withdrawn", "error_message": False})
            if segment.partner_ids or segment.matching_count:
                segment.write({"partner_ids": [(5,)], "matching_count": 0})

    def action_open_difference(self):
        """Show each contact that matches: is it in Mailchimp, and if not, why not."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "crm_mailchimp.action_crm_mailchimp_segment_contact"
        )
        action["domain"] = [("segment_id", "=", self.id)]
        action["display_name"] = self.name
        if self.env.context.get("mailchimp_members"):
            action["context"] = {"search_default_in": 1}
        return action

    def action_open_contacts(self):
        """Show the contacts that match now."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.name,
            "res_model": "res.partner",
            "view_mode": "list,kanban,form",
            "domain": [("mailchimp_segment_ids", "in", self.ids)],
        }

    def action_create_campaign(self):
        """Open Mailchimp's campaign builder."""
        self.ensure_one()
        center = self.account_id.sudo().data_center
        return {
            "type": "ir.actions.act_url",
            "url": f"https://{center}.admin.mailchimp.com/#/create-campaign",
            "target": "new",
        }

    @api.model
    def _move_tagged(self, pairs):
        """Note that members kept their tags when their addresses changed.

        :param pairs: ``(id of the old member, id of the new one)``
        """
        for old_id, new_id in pairs:
            self.env[self._name]._forget_tagged([new_id])
            self.env.cr.execute(
                SQL(
                    "UPDATE crm_mailchimp_segment_tagged SET member_id = %s"
                    " WHERE member_id = %s",
                    new_id,
                    old_id,
                )
            )

    def _forget_tagged(self, member_ids):
        """Note that members lack the tag of these segments; if there are none, of all.

        :param list member_ids: ids of members
        """
        if member_ids:
            self.env.cr.execute(
                SQL(
                    "DELETE FROM crm_mailchimp_segment_tagged"
                    " WHERE member_id = ANY(%s) AND %s",
                    member_ids,
                    SQL("segment_id = ANY(%s)", self.ids) if self else SQL("TRUE"),
                )
            )

    # === IN MAILCHIMP === #

    def _group_name(self):
        """Return the name of the group, within Mailchimp's length."""
        return " ".join(self.name.split())[:NAME_LENGTH].rstrip()

    def _note_refusal(self, error):
        """Note that Mailchimp refused something about this segment only.

        Every run tries it again; the other segments go on.
        """
        vals = {"error_message": self.account_id._error_sentence(error)}
        if getattr(error, "code", None) == "interest_limit":
            vals["state"] = "full"
        self._write_changes(vals)

    def _has_members(self):
        """Return whether a matching contact is, or is going to be, in the audience."""
        return bool(
            self.env.execute_query(
                SQL(
                    """SELECT 1 FROM crm_mailchimp_segment_partner r
                         JOIN res_partner p ON p.id = r.partner_id
                        WHERE r.segment_id = %s AND p.mailchimp_opt_in AND p.active
                        LIMIT 1""",
                    self.id,
                )
            )
        )

    def _is_tag_named(self):
        return is_name_of(self.tag_name, self._group_name())

    def _forget_tag(self):
        self.write(
            {
                "tag_ref": False,
                "tag_name": False,
                "tagged_ids": [(5,)],
                "untaggable_ids": [(5,)],
            }
        )

    def _link(self, table, member_ids):
        """Add rows to a table of segment and member."""
        if member_ids:
            self.env.cr.execute(
                SQL(
                    "INSERT INTO %s (segment_id, member_id)"
                    " SELECT %s, UNNEST(%s) ON CONFLICT DO NOTHING",
                    SQL.identifier(table),
                    self.id,
                    member_ids,
                )
            )
