from ..engine import errors
from .phase import Phase

# Operations that add a contact to those the plan counts.
ADDING = ("create", "restore", "readmit", "ask")
# An unexplained refusal may pass: this many tries before it is put down to the plan's
# limit.
TRIES = 4


class Room(Phase):
    """Finds out whether the Mailchimp plan has room for more contacts.

    If it has none, Mailchimp refuses whole calls that add somebody. Nothing is
    concluded about the people in them, and they are not tried one by one: they wait,
    while opt-outs and changes to members carry on. The next run tries one call again,
    so that adding resumes by itself once there is room.
    """

    def try_adding(self, step):
        """Carry out a step that adds contacts.

        :return: the error because of which nobody new can be added, or ``None``
        """
        if self.is_full():
            return None
        try:
            step()
        except errors.Forbidden as error:
            if isinstance(error, errors.MemberForbidden) or error.method == "GET":
                raise
            self.set_cursor(no_room=error.words or True)
            return error
        if self.is_full():
            # Reported for each person, in the answer to a whole call.
            return errors.NoRoom(self.cursor.no_room)
        return None

    def conclude(self, error):
        """Decide what it means that nobody new was taken; the rest was sent.

        :param error: as returned by :meth:`try_adding`
        :raise MailchimpError: the account cannot be used at all, or it is too early to
            say
        """
        account = self.account
        sure = isinstance(error, errors.NoRoom) or self.run.attempts >= TRIES
        if not sure or account._second_look():
            self.set_cursor(no_room=None)
            self.commit()
            raise error
        waiting = self.env["crm.mailchimp.member"].search_count(
            [("account_id", "=", account.id), ("operation", "in", ADDING)]
        )
        self.count(no_room=waiting)
        account._set_no_room(
            self.env._(
                "Mailchimp takes no new contacts for this account, most likely because"
                " the contact limit of its plan is reached. Reason given by Mailchimp:"
                " %(words)s. Contacts waiting: %(waiting)s. Opt-outs and changes to"
                " members are still sent. Archive contacts you no longer need, or"
                " choose a larger plan in Mailchimp (Account & billing); the waiting"
                " contacts are then added with the next sync, tonight at the latest.",
                words=(error.words or self.env._("none")).rstrip(". "),
                waiting=waiting,
            )
        )
        self.commit()
