from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError, ValidationError


class CrmMailchimpAccount(models.Model):
    """The connection of one company to Mailchimp, with its single linked audience.

    An account goes from *draft* (no working key) to *connected* (the key works) to
    *linked* (an audience is chosen). *Error*, set once a second look confirms it, stops
    runs until somebody fixes what the message says, or a later look finds it fixed.
    Linking another audience archives the account with its ledger and campaigns and
    continues with a copy, so that nothing known about the old audience is ever mistaken
    for the new one.
    """

    _name = "crm.mailchimp.account"
    _inherit = ["mail.thread", "mail.activity.mixin", "crm.mailchimp.guarded"]
    _description = "Mailchimp Account"
    _check_company_auto = True
    _signed = ("partner_domain_user_id", "partner_domain_date")

    name = fields.Char(required=True, default="Mailchimp")
    company_id = fields.Many2one(
        "res.company", required=True, default=lambda self: self.env.company
    )
    active = fields.Boolean(default=True)
    state = fields.Selection(
        [
            ("draft", "Not connected"),
            ("connected", "Connected"),
            ("linked", "Linked"),
            ("error", "Needs attention"),
        ],
        default="draft",
        required=True,
        readonly=True,
        copy=False,
    )
    error_message = fields.Text(readonly=True, copy=False)
    # If set, nothing resumes by itself.
    needs_new_key = fields.Boolean(readonly=True, copy=False)
    next_look = fields.Datetime(
        string="Next check",
        readonly=True,
        copy=False,
        help="An account that stopped is checked again automatically, after 15 "
        "minutes, then every hour, and resumes as soon as Mailchimp allows it.",
    )
    health_message = fields.Text(compute="_compute_health_message")
    auth_method = fields.Selection(
        [("api_key", "API key"), ("oauth2", "Login")],
        string="Connected by",
        default="api_key",
        required=True,
        readonly=True,
    )
    # The key, or the token of a login. Superuser only: not even administrators can read
    # or export it.
    api_key_secret = fields.Char(groups=fields.NO_ACCESS, copy=False, prefetch=False)
    api_key = fields.Char(
        string="API key",
        compute="_compute_api_key",
        inverse="_inverse_api_key",
        copy=False,
        help="In Mailchimp: Account & billing > Extras > API keys. The key can be set "
        "and replaced here, but nobody can read it.",
    )
    api_key_hint = fields.Char(string="Key in use", readonly=True, copy=False)
    data_center = fields.Char(string="Data center", readonly=True, copy=False)
    # Which database may use the key: a copy of the database must not.
    database_ref = fields.Char(readonly=True, copy=False)
    remote_name = fields.Char(string="Mailchimp account", readonly=True, copy=False)
    audience_ref = fields.Char(string="Audience ID", readonly=True, copy=False)
    audience_name = fields.Char(string="Audience", readonly=True, copy=False)
    audience_url = fields.Char(string="Audience page", readonly=True, copy=False)
    welcome_url = fields.Char(compute="_compute_welcome_url")
    # By Mailchimp's clock: whoever has been eligible since then leaves when opting out.
    linked_at = fields.Datetime(string="Linked on", readonly=True, copy=False)
    # A request may have been carried out although its answer was lost, so the next pull
    # skips nothing. Kept here because the run may be cancelled.
    look_again = fields.Boolean(readonly=True, copy=False)
    push_enabled = fields.Boolean(
        string="Sync contacts",
        copy=False,
        help="Off until syncing is started, and while it is paused. Opt-outs made in "
        "Odoo and unsubscribes in Mailchimp are applied all the same.",
    )
    is_paused = fields.Boolean(compute="_compute_is_paused")
    sync_direction = fields.Selection(
        [
            ("push", "Odoo to Mailchimp"),
            ("pull", "Mailchimp to Odoo"),
            ("both", "Both directions"),
        ],
        string="Field values",
        default="push",
        required=True,
        help="Which way the values of mapped fields are synced for existing members. "
        "Opt-ins, opt-outs and segments are always synced.",
    )
    conflict_winner = fields.Selection(
        [("odoo", "Odoo"), ("mailchimp", "Mailchimp")],
        string="If both changed, keep",
        default="odoo",
        required=True,
        help="Which value to keep if it was changed both in Odoo and in Mailchimp "
        "since the last sync.",
    )
    email_scope = fields.Selection(
        [("primary", "Sync the first address only"), ("all", "Sync every address")],
        string="Contacts with several addresses",
        default="primary",
        required=True,
        help="If every address is synced, a contact with "
        "three addresses becomes three members.",
    )
    segment_target = fields.Selection(
        [("group", "Groups"), ("tag", "Tags"), ("both", "Groups and tags")],
        string="Sync segments as",
        default="group",
        required=True,
        help="Mailchimp allows 60 groups, and changing a group takes one request per "
        "member. Tags are unlimited, and 500 members are tagged at a time: better for "
        "large segments.",
    )
    foreign_members = fields.Selection(
        [
            ("keep", "Keep them as they are"),
            ("archive", "Archive them, after confirmation"),
            ("import", "Create contacts for them"),
        ],
        string="Members only in Mailchimp",
        default="keep",
        required=True,
        help="Members that Odoo did not add and that match no contact with an opt-in. "
        "Contacts created for them are opted in, dated as in Mailchimp.",
    )
    default_salesperson_id = fields.Many2one(
        "res.users",
        string="Salesperson of new contacts",
        domain="[('share', '=', False), ('company_ids', 'in', company_id)]",
        help="Becomes the salesperson of contacts created for members that are only in "
        "Mailchimp.",
    )
    partner_kind = fields.Selection(
        [
            ("all", "People and companies"),
            ("person", "People only"),
            ("company", "Companies only"),
        ],
        default="all",
        required=True,
        string="Contacts",
        help="Which contacts with an opt-in are added to Mailchimp. The others leave "
        "the audience.",
    )
    partner_domain = fields.Char(
        string="Only contacts matching",
        default="[]",
        required=True,
        help="Uses the access rights of the user who set it: contacts this user may "
        "not see do not match.",
    )
    partner_domain_user_id = fields.Many2one(
        "res.users",
        string="Condition set by",
        readonly=True,
        ondelete="set null",
        help="The condition uses the access rights of this user.",
    )
    partner_domain_date = fields.Datetime(string="Condition set on", readonly=True)
    double_opt_in = fields.Boolean(
        string="Double opt-in",
        help="Mailchimp emails new members to confirm before they receive campaigns.",
    )
    blacklist_on_unsubscribe = fields.Boolean(
        string="Blacklist people who unsubscribe",
        help="People who unsubscribe in Mailchimp get no mass mailings from Odoo "
        "either.",
    )
    log_to_chatter = fields.Boolean(
        string="Log unsubscribes in the chatter",
        default=True,
        help="Log on the contact when and why its "
        "opt-in was removed because of Mailchimp.",
    )
    log_activity_to_chatter = fields.Boolean(
        string="Log campaign activity in the chatter",
        help="From now on, log on the contact when it first opens a campaign, clicks "
        "or unsubscribes, and when its address bounces.",
    )
    # Only what happens after the option was switched on is logged, and each event once.
    activity_noted_from = fields.Datetime(
        compute="_compute_activity_noted_from", store=True
    )
    activity_noted_id = fields.Integer(readonly=True, copy=False)
    lang = fields.Selection(
        "_get_languages",
        string="Language for translated values",
        default=lambda self: self.env.lang,
        help="Countries, choices and other translated values are sent in this"
        " language.",
    )
    archive_brake_percent = fields.Integer(
        string="Ask before archiving more than (%)",
        default=10,
        help="A sync that would archive more than this share of the audience (and more "
        "than 50 members) for a reason other than an opt-out waits for a manager's "
        "approval.",
    )
    keep_events_months = fields.Integer(
        string="Forget opens and clicks after (months)",
        help="Each person's individual opens and clicks are deleted once they are older"
        " than this and the results of their campaign are no longer updated. Campaigns"
        " and recipients keep their totals. 0 keeps everything.",
    )
    keep_deliveries_days = fields.Integer(
        string="Forget webhook deliveries after (days)",
        default=30,
        help="What Mailchimp delivered by webhook is deleted this many days after it"
        " was processed. What it said about consent is kept.",
    )
    sync_user_id = fields.Many2one(
        "res.users",
        string="Sync as",
        default=lambda self: self.env.user,
        domain="[('share', '=', False), ('company_ids', 'in', company_id)]",
        help="Syncs use this user's access rights for everything that no particular "
        "user set up, and this user's language and time zone. Nightly syncs start at "
        "2:00 in that time zone.",
    )
    merge_field_ids = fields.One2many(
        "crm.mailchimp.merge.field", "account_id", string="Field mapping", copy=True
    )
    segment_ids = fields.One2many("crm.mailchimp.segment", "account_id")
    run_ids = fields.One2many("crm.mailchimp.run", "account_id")
    # What we made and found in the audience, see :class:`.RemoteRefs`. What is about to
    # be created is committed before the call that creates it: see ``sync/creation.py``.
    remote_refs = fields.Json(readonly=True, copy=False)
    open_run_id = fields.Many2one("crm.mailchimp.run", compute="_compute_runs")
    open_run_label = fields.Char(compute="_compute_runs")
    open_run_state = fields.Char(
        compute="_compute_runs", export_string_translation=False
    )
    open_run_progress = fields.Float(compute="_compute_runs")
    last_run_id = fields.Many2one("crm.mailchimp.run", compute="_compute_runs")
    last_sync_date = fields.Datetime(compute="_compute_runs", string="Last sync")
    member_count = fields.Integer(compute="_compute_member_count", string="Members")
    subscribed_count = fields.Integer(
        compute="_compute_member_count", string="Subscribed"
    )
    foreign_count = fields.Integer(
        compute="_compute_foreign_count", string="Awaiting a decision"
    )

    _company_uniq = models.UniqueIndex(
        "(company_id) WHERE active",
        "This company already has a Mailchimp account. Use it, or archive it first.",
    )

    @api.model
    def _get_languages(self):
        return self.env["res.lang"].get_installed()

    @api.model_create_multi
    def create(self, vals_list):
        return super().create(
            [self._sign_condition(dict(vals), new=True) for vals in vals_list]
        )

    def write(self, vals):
        vals = dict(vals)
        changed = "partner_domain" in vals and any(
            account.partner_domain != vals["partner_domain"] for account in self
        )
        if "company_id" in vals and not self.env.su:
            self._check_company_free(vals["company_id"])
        super().write(self._sign_condition(vals, new=changed))
        # Nor may users move an account out of their own reach, into another company.
        self.check_access("write")
        return True

    def _check_company_free(self, company_id):
        """Refuse to move an account with a linked audience to another company.

        :raise UserError: says what to do
        """
        if self.filtered(
            lambda account: account.audience_ref and account.company_id.id != company_id
        ):
            raise UserError(
                self.env._(
                    "An account with a linked audience cannot move to another "
                    "company. Create an account for the other company."
                )
            )

    def _sign_condition(self, vals, new):
        """Note who sets the condition; nobody can set one in another user's name.

        :param dict vals: values of accounts, changed in place
        :param bool new: whether they contain a condition to be signed
        """
        names = self._signed
        # When Odoo itself copies an account, the signature is kept.
        signed = self.env.su and vals.get(names[0])
        if not signed:
            for name in names:
                vals.pop(name, None)
            if new:
                vals.update(
                    zip(names, (self.env.uid, fields.Datetime.now()), strict=True)
                )
        return vals

    @api.constrains("partner_domain", "partner_domain_user_id")
    def _check_partner_domain(self):
        for account in self:
            account._scope_domain()

    @api.constrains("keep_events_months")
    def _check_keep_events_months(self):
        if any(account.keep_events_months < 0 for account in self):
            raise ValidationError(
                self.env._("Enter a number of months; 0 keeps opens and clicks.")
            )

    @api.constrains("keep_deliveries_days")
    def _check_keep_deliveries_days(self):
        if any(account.keep_deliveries_days < 1 for account in self):
            raise ValidationError(
                self.env._("Keep webhook deliveries for at least one day.")
            )

    @api.constrains("archive_brake_percent")
    def _check_archive_brake_percent(self):
        if any(not 0 <= account.archive_brake_percent <= 100 for account in self):
            raise ValidationError(self.env._("Enter a percentage from 0 to 100."))

    # === COMPUTES === #

    @api.depends("push_enabled", "scope_sent")
    def _compute_is_paused(self):
        for account in self:
            account.is_paused = bool(account.scope_sent) and not account.push_enabled

    def _compute_api_key(self):
        self.api_key = False

    def _inverse_api_key(self):
        for account in self:
            if not account.api_key:
                continue
            key = account.api_key.strip()
            # A key without a data centre is reported at once, without any call.
            gateway = account._new_gateway(key)
            gateway.close()
            account.sudo().write(
                {
                    "auth_method": "api_key",
                    "api_key_secret": key,
                    "key_verified": False,
                    "api_key_hint": f"…{key.split('-')[0][-4:]}-{gateway.data_center}",
                    "data_center": gateway.data_center,
                }
            )
        self._look_soon()
        # The web client reads the record after saving it.
        self.invalidate_recordset(["api_key"], flush=False)

    @api.depends("run_ids.state", "run_ids.ended_at")
    def _compute_runs(self):
        Run = self.env["crm.mailchimp.run"]
        for account in self:
            runs = [
                ("account_id", "=", account.id),
                ("kind", "in", ("push", "full", "audience")),
            ]
            account.open_run_id = Run.search(
                [("account_id", "=", account.id), ("state", "in", Run.OPEN_STATES)],
                order="id",
                limit=1,
            )
            account.open_run_label = account.open_run_id.progress_label
            account.open_run_state = account.open_run_id.state
            account.open_run_progress = account.open_run_id.progress
            account.last_run_id = Run.search(runs, limit=1)
            account.last_sync_date = Run.search(
                [*runs, ("state", "=", "done")], limit=1
            ).ended_at

    def _compute_member_count(self):
        Member = self.env["crm.mailchimp.member"]
        counts = {}
        for account, status, count in Member._read_group(
            [("account_id", "in", self.ids), ("status", "!=", False)],
            ["account_id", "status"],
            ["__count"],
        ):
            counts[account.id, status] = count
        for account in self:
            account.member_count = sum(
                count
                for (account_id, status), count in counts.items()
                if account_id == account.id and status != "archived"
            )
            account.subscribed_count = counts.get((account.id, "subscribed"), 0)

    @api.depends("audience_url")
    def _compute_welcome_url(self):
        """The page to set up Mailchimp's welcome mail: its API has no call for it."""
        for account in self:
            account.welcome_url = account.audience_url and account.audience_url.replace(
                "/lists/members/", "/lists/settings/defaults"
            )

    def _compute_foreign_count(self):
        counts = dict(
            self.env["crm.mailchimp.member"]._read_group(
                [*self._foreign_domain(), ("account_id", "in", self.ids)],
                ["account_id"],
                ["__count"],
            )
        )
        for account in self:
            account.foreign_count = counts.get(account, 0)

    def _foreign_domain(self):
        """Return the domain of the members somebody has to decide about."""
        return [
            ("cause", "=", "foreign"),
            ("operation", "=", False),
            ("status", "in", ("subscribed", "pending")),
        ]

    @api.depends("state", "error_message", "run_ids.state", "run_ids.error_message")
    def _compute_health_message(self):
        for account in self:
            run = account.open_run_id or account.last_run_id
            account.health_message = account.error_message or (
                run.error_message if run.state in ("waiting", "brake", "failed") else ""
            )

    @api.depends("log_activity_to_chatter")
    def _compute_activity_noted_from(self):
        now = fields.Datetime.now()
        for account in self:
            account.activity_noted_from = account.log_activity_to_chatter and now

    # === BUTTONS === #

    def _check_manager(self):
        """Refuse users who may not configure these accounts.

        Most methods continue as the superuser: access to the record itself, which
        depends on its company, is checked here.

        :raise AccessError: if the user may not
        """
        self.check_access("write")
        if not self.env.su and not self.env.user.has_group(
            "crm_mailchimp.group_mailchimp_manager"
        ):
            raise AccessError(self._managers_only_sentence())

    def _managers_only_sentence(self):
        return self.env._("Only a Mailchimp manager may change the connection.")

    def action_open_members(self):
        return self._open("crm_mailchimp.action_crm_mailchimp_member")

    def action_open_foreign(self):
        """List the members that are only in Mailchimp, to decide on archiving them."""
        action = self._open("crm_mailchimp.action_crm_mailchimp_member")
        action["domain"] += self._foreign_domain()
        action["context"] = {"mailchimp_buttons": "archive"}
        action["name"] = self.env._("Archive these members?")
        return action

    def action_open_runs(self):
        return self._open("crm_mailchimp.action_crm_mailchimp_run")

    def _open(self, xmlid):
        action = self.env["ir.actions.act_window"]._for_xml_id(xmlid)
        action["domain"] = [("account_id", "in", self.ids)]
        return action

    def _toast(self, message):
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "message": message,
                "type": "success",
                "next": {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }

    @api.ondelete(at_uninstall=False)
    def _unlink_except_linked(self):
        if self.filtered("audience_ref"):
            raise UserError(
                self.env._(
                    "Disconnect and archive the account instead of deleting it: it"
                    " holds the consent and campaign history of its audience."
                )
            )
