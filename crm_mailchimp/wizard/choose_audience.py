import time

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import format_date

from ..engine.observe import link_id
from ..models.crm_mailchimp_member import STATUSES
from ..models.crm_mailchimp_suppression import KINDS

# Seconds: a user is waiting, and Odoo ends a request after some minutes.
LOOK_SECONDS = 40
# Lines shown in the question.
LISTED = 500


class ChooseAudience(models.TransientModel):
    """Choose the one audience of an account, and see what linking it would mean."""

    _name = "crm.mailchimp.choose.audience"
    _description = "Choose the Mailchimp Audience"

    account_id = fields.Many2one(
        "crm.mailchimp.account", required=True, ondelete="cascade"
    )
    # Which Mailchimp account the audiences are in.
    account_ref = fields.Char(readonly=True)
    account_name = fields.Char(readonly=True)
    line_ids = fields.One2many("crm.mailchimp.choose.audience.line", "wizard_id")
    line_id = fields.Many2one(
        "crm.mailchimp.choose.audience.line",
        string="Audience",
        domain="[('id', 'in', line_ids)]",
    )
    line_count = fields.Integer(compute="_compute_line_count")
    is_confirming = fields.Boolean()
    # The audience belongs to another database, or to an earlier state of this one.
    takes_over = fields.Boolean()
    explanation = fields.Text(readonly=True)
    opted_out_ids = fields.One2many(
        "crm.mailchimp.choose.audience.opted.out", "wizard_id", readonly=True
    )
    opted_out_explanation = fields.Text(readonly=True)
    archive_opted_out = fields.Boolean(
        string="Archive them in Mailchimp as soon as the audience is linked"
    )

    @api.depends("line_ids")
    def _compute_line_count(self):
        for wizard in self:
            wizard.line_count = len(wizard.line_ids)

    @api.model_create_multi
    def create(self, vals_list):
        wizards = super().create(vals_list)
        for wizard in wizards:
            wizard._load_audiences()
        return wizards

    def _load_audiences(self):
        if not self.line_ids:
            root, lines = self._read_audiences(self.account_id)
            wizard = self.sudo()
            wizard.account_ref = root.get("account_id")
            wizard.account_name = root.get("account_name")
            wizard.line_ids = [(0, 0, vals) for vals in lines]
            # With several audiences, it is not for us to guess.
            self.line_id = self.line_ids if len(self.line_ids) == 1 else False

    @api.model
    def _read_audiences(self, account):
        """Return the Mailchimp account, and the values of a line for each audience."""
        account._check_manager()
        # It may be another Mailchimp account than the present audience's.
        with account._asking(account._gateway(account=None)) as gateway:
            root, audiences = gateway.root(), gateway.audiences()["lists"]
        return root, [
            {
                "name": audience["name"],
                "audience_ref": audience["id"],
                "web_id": link_id(audience),
                "member_count": (audience.get("stats") or {}).get("member_count", 0),
            }
            for audience in audiences
        ]

    def action_link(self):
        """Link the audience: an empty one at once, any other after confirmation."""
        self.ensure_one()
        account = self.account_id
        account._check_manager()
        if not self.line_id:
            raise UserError(self.env._("Choose an audience."))
        if not self.is_confirming:
            explanation = self._explain_all()
            if explanation:
                self.write({"is_confirming": True, "explanation": explanation})
                return self._reopen()
        line = self.line_id
        account = account._link_audience(
            {"id": line.audience_ref, "name": line.name, "web_id": line.web_id},
            {"account_id": self.account_ref, "account_name": self.account_name},
        )
        if self.archive_opted_out and self.opted_out_ids:
            account._expect_opted_out(
                [(found.email, found.status) for found in self.opted_out_ids]
            )
        if self.takes_over:
            account.sudo()._take_lease()
        return account._open_overview()

    def action_create_audience(self):
        return self.account_id.action_create_audience()

    def action_back(self):
        self.opted_out_ids.unlink()
        self.write(
            {
                "is_confirming": False,
                "explanation": False,
                "takes_over": False,
                "opted_out_explanation": False,
                "archive_opted_out": False,
            }
        )
        return self._reopen()

    def _reopen(self):
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Choose an audience"),
            "res_model": self._name,
            "res_id": self.id,
            # The overview opens this action as returned, so it has to name the views.
            "views": [(False, "form")],
            "target": "new",
        }

    def _explain_all(self):
        """Return what users have to know before linking the audience, if anything."""
        account, audience = self.account_id, self.line_id.audience_ref
        with account._asking(account._gateway(account=None)) as gateway:
            _ref, mark, verdict = account._find_mark(gateway, audience)
            counts = self._count_members(gateway)
            self._look_for_opted_out(gateway, counts)
            # ``linked_at``, from which on opt-outs leave, is by Mailchimp's clock.
            account._note_clock(gateway)
        self.takes_over = verdict != "ours"
        parts = [
            self._explain_mark(mark) if self.takes_over else "",
            self._explain_others(),
            self._explain_opt_outs(),
            self._explain(counts) if any(counts.values()) else "",
        ]
        return "\n\n".join(filter(None, parts))

    def _explain_mark(self, mark):
        return self.env._(
            "Another Odoo database, or an earlier state of this one, has been syncing "
            "this audience since %(date)s. If you link it, this database takes over "
            "once you start, and the other one then stops and asks. Two databases "
            "must not sync the same audience: each would undo what the other does.",
            date=format_date(self.env, mark.since),
        )

    def _explain_others(self):
        """Return a warning if another company here already has the audience."""
        others = (
            self.env["crm.mailchimp.account"]
            .sudo()
            .search(
                [
                    ("audience_ref", "=", self.line_id.audience_ref),
                    ("id", "!=", self.account_id.id),
                ]
            )
        )
        if not others:
            return ""
        return self.env._(
            "%(companies)s already syncs this audience. If two companies share an "
            "audience, each sends its own contacts; where both have a contact with "
            "the same address, each overwrites the other's values, and groups and "
            "tags are created twice. Give each company its own audience, unless their "
            "contacts never overlap.",
            companies=", ".join(others.company_id.mapped("name")),
        )

    def _explain_opt_outs(self):
        """Return a warning if opt-outs under way would not reach the old audience."""
        account = self.account_id
        is_other = account.audience_ref not in (False, self.line_id.audience_ref)
        if not (is_other and account.opt_out_waiting):
            return ""
        account._wake_opt_outs()
        return self.env._(
            "Opt-outs not delivered to %(audience)s yet: %(count)s. Once another"
            " audience is linked nothing more is sent there, and these people would go"
            " on getting its campaigns. Odoo is delivering them now: go back, and link"
            " the other audience when the account shows that none is waiting.",
            audience=account.audience_name,
            count=account.opt_out_waiting,
        )

    def _count_members(self, gateway):
        """Count the members by status now: the counts of the listing are cached."""
        return {
            status: gateway.member_count(self.line_id.audience_ref, status=status)
            for status in (
                "subscribed",
                "pending",
                "unsubscribed",
                "cleaned",
                "transactional",
            )
        }

    def _look_for_opted_out(self, gateway, counts):
        """List who opted out in Odoo but is subscribed there, before it is linked.

        :param dict counts: ``{status: number of members}`` of the audience
        """
        end = time.monotonic() + LOOK_SECONDS
        found, complete = self.account_id._find_opted_out(
            gateway,
            self.line_id.audience_ref,
            counts,
            lambda: time.monotonic() >= end,
        )
        found.sort(key=lambda item: item[0]["email_address"])
        listed, complete = found[:LISTED], complete and len(found) <= LISTED
        self.sudo().opted_out_ids = [
            (
                0,
                0,
                {
                    "email": member["email_address"].lower(),
                    "status": member["status"],
                    "kind": kind,
                    "date": date,
                },
            )
            for member, date, kind in listed
        ]
        _ = self.env._
        sentences = []
        if listed:
            sentences.append(
                _(
                    "Members who opted out in Odoo, or are on its blacklist, but are "
                    "subscribed in Mailchimp: %s. Odoo cannot tell who subscribed "
                    "them or what they agreed to. They stay subscribed unless you "
                    "archive them, now or later from the account.",
                    len(listed),
                )
            )
        if not complete:
            sentences.append(
                _(
                    "There are too many members to check them all now. The account "
                    "will show whether there are more once the audience has been "
                    "read."
                )
            )
        self.opted_out_explanation = "\n".join(sentences)

    def _explain(self, counts):
        _ = self.env._
        return _(
            "This audience is not empty. Its members: subscribed: %(subscribed)s,"
            " pending: %(pending)s, unsubscribed: %(unsubscribed)s, cleaned:"
            " %(cleaned)s, not subscribed: %(transactional)s.\n\n"
            "If you link it:\n"
            "- Members that are contacts with an opt-in in Odoo are kept up to date by"
            " Odoo once you start, and archived when they leave.\n"
            "- Contacts whose address unsubscribed there after their opt-in lose the"
            " opt-in in Odoo.\n"
            "- All other members stay as they are. Nobody is subscribed again, and"
            " nobody is deleted.\n"
            "- Nothing is sent before you start syncing.",
            **counts,
        )


class ChooseAudienceLine(models.TransientModel):
    _name = "crm.mailchimp.choose.audience.line"
    _inherit = ["crm.mailchimp.guarded"]
    _description = "Mailchimp Audience to Choose"

    wizard_id = fields.Many2one("crm.mailchimp.choose.audience", ondelete="cascade")
    name = fields.Char(readonly=True)
    audience_ref = fields.Char(readonly=True)
    web_id = fields.Integer(readonly=True)
    member_count = fields.Integer(string="Members", readonly=True)

    @api.depends("name", "member_count", "wizard_id.account_id.audience_ref")
    def _compute_display_name(self):
        for line in self:
            values = {"audience": line.name, "count": line.member_count}
            if line.audience_ref == line.wizard_id.account_id.audience_ref:
                line.display_name = self.env._(
                    "%(audience)s (linked; members: %(count)s)", **values
                )
            else:
                line.display_name = self.env._(
                    "%(audience)s (members: %(count)s)", **values
                )


class ChooseAudienceOptedOut(models.TransientModel):
    """A member of the audience to link who said no in Odoo."""

    _name = "crm.mailchimp.choose.audience.opted.out"
    _inherit = ["crm.mailchimp.guarded"]
    _description = "Member Who Opted Out in Odoo"

    wizard_id = fields.Many2one("crm.mailchimp.choose.audience", ondelete="cascade")
    email = fields.Char(string="Address", readonly=True)
    status = fields.Selection(STATUSES, string="In Mailchimp", readonly=True)
    kind = fields.Selection(KINDS, string="In Odoo", readonly=True)
    date = fields.Datetime(string="Since", readonly=True)
