from odoo import api, fields, models

from ..engine import errors

# Operations that add a contact to those the plan counts.
ADDING = ("create", "restore", "readmit", "ask")
# A refusal without a known reason may pass: so many tries before it is taken for the
# plan's.
TRIES = 4


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

    no_room_message = fields.Text(readonly=True, copy=False)

    @api.depends("no_room_message")
    def _compute_health_message(self):
        result = super()._compute_health_message()
        for account in self.filtered("no_room_message"):
            account.health_message = "\n".join(
                filter(None, [account.health_message, account.no_room_message])
            )
        return result

    def _set_no_room(self, sentence):
        """Say, once, that Mailchimp takes nobody new."""
        if not self.no_room_message:
            self._notify_managers(sentence)
        if self.no_room_message != sentence:
            self.no_room_message = sentence

    def _forget_attention(self):
        """Keep what managers were told as long as nobody new can be added."""
        return super(
            CrmMailchimpAccount,
            self.filtered(lambda account: not account.sudo().no_room_message),
        )._forget_attention()


class CrmMailchimpRun(models.Model):
    """The plan of the Mailchimp account has no room for more contacts.

    Mailchimp then refuses whole calls that add somebody. Nothing is concluded about
    the people in them, and nobody is asked one by one: they wait, while opt-outs and
    changes of members go on. The next run tries one call again, so that it goes on by
    itself once there is room.
    """

    _inherit = "crm.mailchimp.run"

    def _is_full(self):
        """Return whether this run has found that nobody new can be added."""
        return bool((self.cursor or {}).get("no_room"))

    def _try_adding(self, step, gateway, deadline):
        """Carry out a step that adds contacts.

        :return: the error of Mailchimp by which nobody new can be added, or ``None``
        """
        if self._is_full():
            return None
        try:
            step(gateway, deadline)
        except errors.Forbidden as error:
            self._set_cursor(no_room=error.words or True)
            return error
        if self._is_full():
            # Told of each person, in an answer to the whole.
            return errors.NoRoom(self.cursor["no_room"])
        return None

    def _conclude_no_room(self, error):
        """Decide what it means that nobody new was taken; the rest was sent.

        :raise MailchimpError: the account cannot be used at all, or it is too early to
            say
        """
        account = self.account_id
        sure = isinstance(error, errors.NoRoom) or self.attempts >= TRIES
        if not sure or account._second_look():
            self._set_cursor(no_room=None)
            self._commit()
            raise error
        waiting = self.env["crm.mailchimp.member"].search_count(
            [("account_id", "=", account.id), ("operation", "in", ADDING)]
        )
        self._count(no_room=waiting)
        account._set_no_room(
            self.env._(
                "Mailchimp takes no new contacts for this account, most likely because"
                " the contact limit of its plan is reached (its words: “%(words)s”)."
                " Contacts that wait: %(waiting)s. Opt-outs and changes of members go"
                " on. Archive contacts nobody needs, or choose a larger plan in"
                " Mailchimp (Account & billing); those who wait are then added by the"
                " next synchronisation, at the latest in the night.",
                words=(error.words or self.env._("none")).rstrip(". "),
                waiting=waiting,
            )
        )
        self._commit()

    def _end(self, state, error=None):
        for run in self:
            if state == "done" and run.phase and not run._is_full():
                # Whoever had to be added was.
                run.account_id.no_room_message = False
        return super()._end(state, error)
