"""Whose rights a condition or a path uses, and what none may ever use.

Conditions and mapped fields leave traces outside Odoo: in who is in an audience, and in
what a merge field holds. Whoever writes one must not learn anything from it that Odoo
would not show them.
"""

import logging
import re

import psycopg2

from odoo import SUPERUSER_ID
from odoo.exceptions import AccessError, UserError
from odoo.fields import NO_ACCESS, Domain
from odoo.tools.safe_eval import safe_eval

_logger = logging.getLogger(__name__)

# Words in the name of a field that mark it as a secret, whoever may read it.
SECRET_WORDS = {
    *("password", "passwords", "passwd", "pwd", "passphrase", "pass", "pin", "puk"),
    *("token", "tokens", "secret", "secrets", "credential", "credentials"),
    *("key", "keys", "apikey", "apikeys", "totp", "otp", "salt"),
}


def is_secret(field):
    """Return whether a field must never be sent, nor used to find contacts."""
    words = set(re.split(r"[^a-z]+", field.name.lower()))
    return field.groups == NO_ACCESS or bool(words & SECRET_WORDS)


def is_kept(field):
    """Return whether Odoo hides a field from some employees, or it holds a secret."""
    groups = field.groups.split(",") if field.groups else ["base.group_user"]
    return is_secret(field) or "base.group_user" not in groups


def is_of_database(error):
    """Return whether an error is the database's own, and of no condition or value.

    A conflict with another transaction or a lost connection is over with the next try.
    A query that was cancelled took too long, which the condition is to blame for.
    """
    return isinstance(
        error, (psycopg2.OperationalError, psycopg2.InterfaceError)
    ) and not isinstance(error, psycopg2.errors.QueryCanceled)


def acting_as(env, user, company):
    """Return an environment with the rights a user has in one company.

    :param user: the user who wrote a condition or mapped a field; empty if deleted
    :param company: the account's company, the only one allowed
    :raise AccessError: if that user can no longer answer for it
    """
    if not user:
        raise AccessError(env._("The user whose access rights it uses was deleted."))
    if user.id == SUPERUSER_ID:
        # Odoo itself, which nobody can sign in as.
        return env(user=user, su=True)
    user = user.sudo()
    if not user.active:
        raise AccessError(
            env._("%(user)s, whose access rights it uses, is archived.", user=user.name)
        )
    if company not in user.company_ids:
        raise AccessError(
            env._(
                "%(user)s, whose access rights it uses, has no access to %(company)s.",
                user=user.name,
                company=company.name,
            )
        )
    context = dict(
        env.context, allowed_company_ids=company.ids, tz=user.tz, lang=user.lang
    )
    return env(user=user, su=False, context=context)


def evaluate_condition(model, expression, names):
    """Evaluate a condition that somebody wrote.

    :param model: empty recordset with the rights of the author
    :param str expression: the domain, in Python
    :param dict names: what the expression may use
    :return: ``(domain, query)``
    :raise UserError: when it cannot be evaluated: why, in words and without a full
        stop; the log has what Python or Odoo said
    """
    domain = Domain.TRUE
    try:
        domain = Domain(safe_eval(expression, names))
        check_condition(model, domain)
        return domain, model._search(domain)
    except UserError:
        raise
    except Exception as error:
        if is_of_database(error):
            raise
        # The lines after the first repeat the condition, which may hold addresses.
        said = f"{error}".partition("\n")[0]
        _logger.info("A condition on %s cannot be evaluated: %s", model._name, said)
        raise UserError(_why_not_evaluated(model, domain, error)) from error


def _why_not_evaluated(model, domain, error):
    env = model.env
    if isinstance(error, SyntaxError):
        return env._("a bracket, comma or quotation mark may be missing")
    # Odoo wraps what the expression raised.
    raised = error.__context__
    if isinstance(raised, NameError) and raised.name:
        return env._("“%s” has no value here", raised.name)
    for condition in domain.iter_conditions():
        if _has_unknown_field(model, condition.field_expr):
            return env._("there is no field “%s”", condition.field_expr)
    return env._("Odoo cannot evaluate it")


def _has_unknown_field(model, path):
    current = model
    for name in path.split("."):
        if name not in current._fields:
            return True
        field = current._fields[name]
        if not field.relational:
            return False  # what follows is a part of a date or a property
        current = current.env[field.comodel_name]
    return False


def check_condition(model, domain):
    """Refuse a condition that uses what its author, or anybody, must not read.

    Odoo checks rights on fields while it searches. It does not know that the search is
    repeated every night, for everybody who can see its outcome, so secrets are refused
    for everybody, administrators included.

    :param model: empty recordset with the rights of the author
    :param domain: the condition
    :raise AccessError: names the field, in one sentence
    """
    for condition in Domain(domain).iter_conditions():
        current = model
        for name in condition.field_expr.split("."):
            field = current._fields.get(name) if current is not None else None
            if field is None:
                # Either Odoo's search reports it, or it is part of a date.
                break
            _check_field(current, field, condition.field_expr)
            current = current.env[field.comodel_name] if field.relational else None
        else:
            value = condition.value
            if current is not None and condition.operator.startswith(("any", "not a")):
                if isinstance(value, Domain | list | tuple):
                    check_condition(current, value)


def _check_field(model, field, path):
    env = model.env
    if is_secret(field):
        raise AccessError(
            env._("%(path)s holds a secret and cannot be used here.", path=path)
        )
    if not model.has_access("read") or not model._has_field_access(field, "read"):
        raise AccessError(
            env._(
                "%(user)s, whose access rights it uses, may not read %(path)s.",
                user=env.user.sudo().name,
                path=path,
            )
        )
