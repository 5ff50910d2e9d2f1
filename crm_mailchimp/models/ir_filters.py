from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tools import SQL
from odoo.tools.safe_eval import datetime as safe_datetime
from odoo.tools.safe_eval import dateutil
from odoo.tools.safe_eval import time as safe_time

from .rights import evaluate_condition

# Changing one of these changes who is sent to Mailchimp, under which name, or who may
# change the rest.
GUARDED = {
    *("domain", "model_id", "active", "name", "user_ids"),
    *("mailchimp_sync", "mailchimp_owner_id"),
}
# What the filter finds, with the rights of the user who wrote it.
EVALUATED = {"domain", "model_id"}


class IrFilters(models.Model):
    _inherit = "ir.filters"

    mailchimp_sync = fields.Boolean(
        string="Sync to Mailchimp",
        copy=False,
        help="Contacts that match this filter become a group or tag in Mailchimp. The "
        "filter is applied again at every sync, with your access rights.",
    )
    mailchimp_owner_id = fields.Many2one(
        "res.users",
        string="Uses the access rights of",
        copy=False,
        readonly=True,
        ondelete="set null",
        help="The user who turned on “Sync to Mailchimp”: "
        "the filter uses this user's access rights.",
    )

    @api.model_create_multi
    def create(self, vals_list):
        vals_list = [dict(vals) for vals in vals_list]
        context = self.env.context
        for vals in vals_list:
            # Always set: a default, perhaps a stored one, would fill in what is left
            # out.
            sync = vals.get("mailchimp_sync", context.get("default_mailchimp_sync"))
            # Data files are loaded by the superuser and may name an owner.
            owner = vals.get("mailchimp_owner_id") if self.env.su else None
            vals["mailchimp_sync"] = bool(sync)
            vals["mailchimp_owner_id"] = bool(sync) and (owner or self.env.uid)
        filters = super().create(vals_list)
        filters.filtered("mailchimp_sync")._check_mailchimp_right()
        return filters

    def write(self, vals):
        """Guard what decides who is sent to Mailchimp.

        In Odoo, any employee may rewrite the domain of a shared filter. For a flagged
        one, that would widen what leaves the company.
        """
        changes = {
            name
            for name in GUARDED & set(vals)
            if any(
                self._fields[name].convert_to_write(record[name], record) != vals[name]
                for record in self
            )
        }
        flagged = self.filtered("mailchimp_sync")
        if changes:
            flagged._check_mailchimp_right()
        if "mailchimp_sync" in changes:
            vals = dict(
                vals, mailchimp_owner_id=vals["mailchimp_sync"] and self.env.uid
            )
        elif "mailchimp_owner_id" in changes and not self.env.su:
            raise AccessError(
                self.env._(
                    "To take it over, turn “Sync to Mailchimp” off and on again."
                )
            )
        if EVALUATED & changes and not self.env.su and "mailchimp_sync" not in changes:
            # Done before the condition is checked, so that it is with the rights of the
            # user who writes it now.
            super(IrFilters, flagged).write({"mailchimp_owner_id": self.env.uid})
        result = super().write(vals)
        if changes:
            self.filtered("mailchimp_sync")._check_mailchimp_right()
        return result

    @api.ondelete(at_uninstall=False)
    def _unlink_check_mailchimp_right(self):
        self.filtered("mailchimp_sync")._check_mailchimp_right()

    def _check_mailchimp_right(self):
        if not self or self.env.su:
            return
        user = self.env.user
        if not user.has_group("crm_mailchimp.group_mailchimp_user"):
            raise AccessError(
                self.env._(
                    "This filter is synced to Mailchimp. Ask a Mailchimp user to "
                    "change it."
                )
            )
        if user.has_group("crm_mailchimp.group_mailchimp_manager"):
            # Managers may change filters of nobody, and of users who share a company
            # with them.
            self = self.filtered(
                lambda record: (
                    record.mailchimp_owner_id
                    and not record.mailchimp_owner_id.sudo().company_ids
                    & user.company_ids
                )
            )
        for record in self:
            if record.user_ids != user:
                raise AccessError(
                    self.env._(
                        "The filter %(name)s is shared and synced to Mailchimp. Only "
                        "a Mailchimp manager may change it.",
                        name=record.name,
                    )
                )

    @api.constrains("mailchimp_sync", "domain", "model_id")
    def _check_mailchimp_usable(self):
        for record in self.filtered("mailchimp_sync"):
            try:
                record._mailchimp_contacts(self.env.company)
            except UserError as error:
                raise ValidationError(str(error.args[0])) from error

    @api.model
    def _mailchimp_eval_context(self, user, company):
        """Return the names a saved expression may use, as in the web client.

        :param user: the user whose expression it is, or no record
        :param company: the only allowed company
        """
        user = user or self.env.user
        now = fields.Datetime.context_timestamp(
            self.with_user(user).with_context(tz=user.tz), fields.Datetime.now()
        )
        return {
            "uid": user.id,
            "lang": user.lang,
            "tz": user.tz,
            "allowed_company_ids": company.ids,
            "context_today": lambda: now,
            "datetime": safe_datetime,
            "relativedelta": dateutil.relativedelta.relativedelta,
            "time": safe_time,
            "today": now.strftime("%Y-%m-%d"),
            "current_date": now.strftime("%Y-%m-%d"),
            "true": True,
            "false": False,
        }

    def _mailchimp_contacts(self, company):
        """Return the contacts the filter finds now, as a subquery of their ids.

        :param company: the company to evaluate it in
        :return: ``SQL``, never a list of ids
        :raise UserError: if the filter cannot be evaluated, in one sentence
        """
        query, column = self._mailchimp_query(company)
        return query.subselect(column)

    def _mailchimp_query(self, company):
        """Return the query of what the filter finds now, and its column of contacts.

        :param company: the company to evaluate it in
        :return: ``(Query, SQL)``
        :raise UserError: if the filter cannot be evaluated, in one sentence
        """
        self.ensure_one()
        owner = self.mailchimp_owner_id
        if not owner:
            raise UserError(
                self.env._(
                    "The user whose access rights the filter %(name)s uses was "
                    "deleted. Somebody else must turn “Sync to Mailchimp” off and on "
                    "again.",
                    name=self.name,
                )
            )
        if not owner.active:
            raise UserError(
                self.env._(
                    "%(user)s, whose access rights the filter %(name)s uses, is "
                    "archived. Somebody else must turn “Sync to Mailchimp” off and on "
                    "again.",
                    user=owner.name,
                    name=self.name,
                )
            )
        model = self.env.get(self.model_id)
        partner_field = model is not None and self._mailchimp_partner_field(model)
        if not partner_field:
            raise UserError(
                self.env._(
                    "The filter %(name)s is for records without a contact, so it "
                    "cannot become a group or tag in Mailchimp.",
                    name=self.name,
                )
            )
        if company not in owner.company_ids:
            raise UserError(
                self.env._(
                    "%(user)s, whose access rights the filter %(name)s uses, has no "
                    "access to %(company)s.",
                    user=owner.name,
                    name=self.name,
                    company=company.name,
                )
            )
        model = model.with_user(owner).with_context(
            allowed_company_ids=company.ids,
            tz=owner.tz,
            lang=owner.lang,
            # A segment by status is evaluated now, not as of the last count.
            mailchimp_live=True,
        )
        try:
            names = self._mailchimp_eval_context(owner, company)
            _domain, query = evaluate_condition(model, self.domain or "[]", names)
        except AccessError:
            raise
        except UserError as error:
            raise UserError(
                self.env._(
                    "The filter %(name)s only works on its own screen: %(error)s. "
                    "Correct its condition, or turn off “Sync to Mailchimp”.",
                    name=self.name,
                    error=f"{error}".rstrip(" ."),
                )
            ) from error
        column = SQL.identifier(query.table, partner_field)
        if partner_field != "id":
            query.add_where(SQL("%s IS NOT NULL", column))
        return query, column

    @api.model
    def _mailchimp_partner_field(self, model):
        """Return the stored field of ``model`` that holds its contact, or ``None``."""
        if model._name == "res.partner":
            return "id"
        if not hasattr(model, "_mail_get_partner_fields") or model._abstract:
            return None
        for name in model._mail_get_partner_fields(introspect_fields=True):
            field = model._fields[name]
            if field.type == "many2one" and field.store:
                return name
        return None
