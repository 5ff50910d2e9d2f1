from odoo import api, fields, models

from ..engine.vocabulary import PUSHES


class CrmMailchimpAccount(models.Model):
    """The way from nothing to the first contact in the audience.

    This is the checklist on the overview. It stores nothing: each step checks whether
    it is done, so anybody can leave it and take it up again at any time, and it always
    agrees with the rest of the account.
    """

    _inherit = "crm.mailchimp.account"

    # Empty unless all is well.
    next_sync_date = fields.Datetime(
        compute="_compute_next_sync_date", string="Next sync"
    )

    @api.depends("state", "push_enabled", "health_message", "open_run_id")
    def _compute_next_sync_date(self):
        now = fields.Datetime.now()
        for account in self:
            waits = account.health_message or account.open_run_id
            well = account.last_sync_date and not waits
            account.next_sync_date = well and account._next_run(now)

    def _is_set_up(self):
        """Return whether contacts were sent once, and the first push is over."""
        return bool(self.scope_sent) and not (
            self.open_run_id.kind in PUSHES and not self._pushed()
        )

    def _pushed(self):
        """Return the last run that sent contacts and is done."""
        return self.env["crm.mailchimp.run"].search(
            [
                ("account_id", "=", self.id),
                ("kind", "in", PUSHES),
                ("state", "=", "done"),
                ("phase", "!=", False),
            ],
            limit=1,
        )

    @api.model
    def get_setup(self):
        """Return the steps of the set-up, each checked now.

        :return: list of dicts: ``name``, ``title``, ``text``, ``state`` (``done``,
            ``next``, ``busy``, ``later``), ``optional``, and, where there is a button,
            its ``label`` and the account's ``method``
        """
        self._check_manager()
        account = self._overview_account()
        steps = [
            account._setup_connect(),
            account._setup_audience(),
            account._setup_contacts(),
            account._setup_mapping(),
            account._setup_segments(),
            account._setup_preview(),
            account._setup_start(),
        ]
        # One step is next. Without an audience, the steps after it have no button.
        following = True
        for index, step in enumerate(steps):
            step.setdefault("optional", False)
            if step["state"] == "open":
                blocked = index and not account.audience_ref and not following
                step["state"] = "next" if following else "later"
                following = following and step["optional"]
                if blocked:
                    step.update(label=False, method=False)
            elif step["state"] == "busy":
                following = False
        return steps

    # === STEPS === #

    def _setup_connect(self):
        _ = self.env._
        can_log_in = bool(self.env["crm.mailchimp.app"]._get().client_secret)
        step = {
            "name": "connect",
            "title": _("Connect your Mailchimp account"),
            "text": _(
                "You need an API key, which you create in Mailchimp. It is tested "
                "right away; nothing is sent."
            ),
            "state": "open",
            "label": _("Enter the API key"),
            "method": "action_setup_connect",
        }
        if can_log_in:
            step.update(
                text=_(
                    "Log in to Mailchimp, or enter an API key. This sends nothing yet."
                ),
                label=_("Connect"),
            )
        if self.state == "error":
            step["text"] = self.error_message
        elif self.state in ("connected", "linked"):
            step.update(
                state="done",
                text=_("Connected to %(name)s.", name=self.remote_name or "Mailchimp"),
                label=_("Change the key or login"),
            )
        return step

    def _setup_audience(self):
        _ = self.env._
        step = {
            "name": "audience",
            "title": _("Choose an audience"),
            "text": _(
                "Your contacts become members of this audience. Choose an empty one, "
                "or create one from your company's details."
            ),
            "state": "open",
            "label": _("Choose an audience"),
            "method": "action_choose_audience",
        }
        run = self.env["crm.mailchimp.run"].search(
            [("account_id", "=", self.id), ("kind", "=", "audience")], limit=1
        )
        if self.audience_ref:
            step.update(
                state="done",
                text=_(
                    "%(audience)s, members: %(count)s.",
                    audience=self.audience_name,
                    count=self.member_count,
                ),
                label=False,
                method=False,
            )
        elif run.is_open:
            step.update(
                state="busy",
                text=_("The audience is being created. This takes a moment."),
                label=False,
                method=False,
            )
        elif run.state == "failed":
            step["text"] = run.error_message
        return step

    def _setup_contacts(self):
        _ = self.env._
        step = {
            "name": "contacts",
            "title": _("See who will be synced"),
            "text": _(
                "Only contacts with an opt-in are ever added to Mailchimp. Tick "
                "“Opt-in marketing mails” on those who agreed."
            ),
            "state": "open",
            "label": _("View contacts"),
            "method": "action_setup_contacts",
        }
        if not self.audience_ref:
            return step
        status = self.env["crm.mailchimp.contact.status"]
        opted_in = [
            ("account_id", "=", self.id),
            ("partner_id.mailchimp_opt_in", "=", True),
        ]
        groups = status._read_group(opted_in, ["status", "reason"], ["__count"])
        total = sum(count for _status, _reason, count in groups)
        if not total:
            return step
        labels = dict(status._fields["reason"]._description_selection(self.env))
        out = [
            f"{labels.get(reason, reason)} ({count})"
            for line, reason, count in groups
            if line == "out"
        ]
        going = total - sum(count for line, _r, count in groups if line == "out")
        sentences = [
            _(
                "Contacts with an opt-in: %(total)s. Will be synced: %(going)s.",
                total=total,
                going=going,
            )
        ]
        if out:
            sentences.append(_("Will not be synced: %s.", ", ".join(out)))
        step.update(
            state="done" if going else "open",
            text=" ".join(sentences),
            label=_("View contacts"),
        )
        return step

    def _setup_mapping(self):
        _ = self.env._
        step = {
            "name": "mapping",
            "title": _("Review the field mapping"),
            "text": _(
                "The address, the name, and whatever else you want to use in campaigns."
            ),
            "state": "open",
            "optional": True,
        }
        if not self.audience_ref:
            return step
        known = self._refs().merge_fields_read
        sentences = [
            _("Sent: %s.", ", ".join(self.merge_field_ids.mapped("name"))),
            self.mapping_message,
            self._last_preview().left_out,
        ]
        step.update(
            state="done" if known and not self.mapping_message else "open",
            optional=not self.unmapped_field_ids.filtered("required"),
            text=" ".join(filter(None, sentences)),
            label=_("View field mapping"),
            method="action_setup_account",
        )
        return step

    def _setup_segments(self):
        _ = self.env._
        step = {
            "name": "segments",
            "title": _("Choose segments"),
            "text": _(
                "A saved filter with “Sync to Mailchimp” on becomes a group or tag in "
                "Mailchimp that you can send campaigns to. Some are ready-made."
            ),
            "state": "open",
            "optional": True,
        }
        if not self.audience_ref:
            return step
        filters = self.env["ir.filters"].sudo().search([("mailchimp_sync", "=", True)])
        step.update(label=_("Choose saved filters"), method="action_setup_segments")
        if filters:
            names = ", ".join(filters.mapped("name"))
            step.update(state="done", text=_("Synced filters: %s.", names))
        return step

    def _setup_preview(self):
        _ = self.env._
        step = {
            "name": "preview",
            "title": _("Preview the first sync"),
            "text": _("Preview the first sync. Nothing is changed."),
            "state": "open",
            "optional": True,
        }
        if not self.audience_ref:
            return step
        run = self._last_preview()
        step.update(label=_("Preview"), method="action_preview")
        if run.is_open:
            step.update(text=run.progress_label, label=_("View"))
        elif run.state == "done":
            step.update(
                state="done",
                text=" ".join(filter(None, [f"{run.summary}.", run.error_message])),
                label=_("Preview again"),
            )
        elif run.error_message:
            step["text"] = run.error_message
        return step

    def _setup_start(self):
        _ = self.env._
        step = {
            "name": "start",
            "title": _("Start"),
            "text": _(
                "Contacts with an opt-in are sent now, then every night and whenever "
                "somebody clicks “Sync now”. Mailchimp does not email them because of "
                "it."
            ),
            "state": "open",
        }
        if self.double_opt_in:
            step["text"] = _(
                "Contacts with an opt-in are sent now, then every night and whenever "
                "somebody clicks “Sync now”. Mailchimp emails each new member to "
                "confirm."
            )
        if not self.audience_ref:
            return step
        if not self.push_enabled:
            step.update(label=_("Start syncing"), method="action_sync_now")
        elif self.open_run_id.state in ("brake", "waiting"):
            step.update(
                state="busy",
                text=self.health_message,
                label=_("View"),
                method="action_open_run",
            )
        else:
            step.update(
                state="busy",
                text=self.open_run_id.progress_label or _("It starts in a moment."),
                progress=self.open_run_id.progress,
            )
        return step

    def _last_preview(self):
        """Return the last preview of the audience that is linked."""
        return self.env["crm.mailchimp.run"].search(
            [("account_id", "=", self.id), ("kind", "=", "preview")], limit=1
        )

    # === BUTTONS === #

    def action_setup_connect(self):
        """Ask for the API key, for a new account if there is none yet."""
        self._check_manager()
        view = self.env.ref("crm_mailchimp.crm_mailchimp_account_view_connect")
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Connect to Mailchimp"),
            "res_model": self._name,
            "res_id": self.id,
            "views": [(view.id, "form")],
            "target": "new",
        }

    def action_setup_key(self):
        """Test the key that was entered, then ask for the audience."""
        self.ensure_one()
        answer = self.action_connect()
        if not self.audience_ref:
            return self.action_choose_audience()
        close = {"type": "ir.actions.act_window_close"}
        if "params" not in answer:
            return close
        answer["params"]["next"] = close
        return answer

    def action_setup_contacts(self):
        """List the contacts with the opt-in, or those that could get it."""
        self.ensure_one()
        if self.env["res.partner"].search_count(
            [("mailchimp_opt_in", "=", True)], limit=1
        ):
            action = self._open("crm_mailchimp.action_crm_mailchimp_contact_status")
            return action
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Contacts"),
            "res_model": "res.partner",
            "view_mode": "list,kanban,form",
            "views": [(False, "list"), (False, "kanban"), (False, "form")],
        }

    def action_setup_account(self):
        """Open the account with all its options."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": self._name,
            "res_id": self.id,
            "views": [(False, "form")],
        }

    def action_setup_segments(self):
        """List the saved filters, including the ready-made ones."""
        return self.env["ir.actions.act_window"]._for_xml_id(
            "crm_mailchimp.action_ir_filters"
        )

    def _open_overview(self):
        """Return the action of the overview, which says what comes next."""
        return {
            **self.env["ir.actions.client"]._for_xml_id(
                "crm_mailchimp.action_crm_mailchimp_overview"
            ),
            "target": "main",
        }
