from datetime import timedelta

from odoo import fields

from ..engine.plan import REACHABLE, brake
from .phase import Phase
from .send import UNPLANNED

# Time until a run at the brake is planned again: somebody may have fixed the cause.
AGAIN = timedelta(hours=1)


class Brake(Phase):
    """Phase *brake*: wait for a manager when unusually many members would leave.

    Opt-outs never wait; but when a filter, a scope or an import goes wrong, many
    members would leave at once, and in Mailchimp that cannot simply be undone. A
    manager confirms a number: the run is then planned again, on the data as it is by
    then, and asks again if more would leave. Once the cause is corrected, nobody has to
    confirm anything.
    """

    def work(self):
        """Go on, or wait for a manager."""
        if self.run._asks_as_older():
            return self._wait_as_older()
        archives, sentence = self.question()
        confirmed = self.cursor.brake_confirmed
        if sentence and confirmed is not True and archives > (confirmed or 0):
            self._wait_at_brake(archives, sentence)
            return "wait"
        if self.cursor.brake is not None:
            self.set_cursor(brake=None)
            self.account._forget_attention()
        self.run.error_message = False
        self.account._note_scope()
        to_send = self.env["crm.mailchimp.member"].search_count(
            [("account_id", "=", self.account.id), ("operation", "!=", False)]
        )
        waiting = any(self.beside(phase).wait() for phase in UNPLANNED)
        counters = self.run.counters or {}
        self.run.counters = dict(counters, to_send=to_send + counters.get("sent", 0))
        return "send" if to_send or waiting else "verify"

    def question(self):
        """Return ``(number, sentence)``: how many would leave, and the question.

        The question is ``None`` if no more than usual would leave. Members that are
        only in Mailchimp neither leave by themselves nor count towards the share.
        """
        account = self.account
        Member = self.env["crm.mailchimp.member"]
        causes = dict(
            Member._read_group(self.run._archiving_domain(), ["cause"], ["__count"])
        )
        archives = sum(causes.values())
        if not archives:
            return 0, None
        members = Member.search_count(
            [
                ("account_id", "=", account.id),
                ("status", "in", REACHABLE),
                ("origin", "!=", "foreign"),
            ]
        )
        if not brake(archives, members, account.archive_brake_percent):
            return archives, None
        return archives, self.env._(
            "This sync would archive an unusually large number of contacts for "
            "reasons other than an opt-out: %(archives)s of the %(members)s. "
            "%(causes)s. View the list, then confirm, or correct the cause: the sync "
            "is planned again every hour and with “Sync now”, and continues "
            "automatically once it would archive no more than usual.",
            archives=archives,
            members=members,
            causes=". ".join(self._causes_in_words(causes)),
        )

    def _causes_in_words(self, causes):
        """Yield why members leave, the most common cause first.

        :param dict causes: cause -> number of members
        """
        labels = dict(
            self.env["crm.mailchimp.member"]
            ._fields["cause"]
            ._description_selection(self.env)
        )
        for cause, number in sorted(causes.items(), key=lambda item: -item[1]):
            change = cause == "scope" and self.account._scope_change()
            if change:
                yield self.env._(
                    "%(change)s; members who would leave because of it: %(number)s",
                    change=change,
                    number=number,
                )
            else:
                yield f"{labels.get(cause, cause)}: {number}"

    def _wait_at_brake(self, archives, sentence):
        account = self.account
        if self.run.error_message != sentence:
            account.activity_unlink(["mail.mail_activity_data_todo"])
            account._notify_managers(sentence)
        at = fields.Datetime.now() + AGAIN
        self.set_cursor(brake=archives, brake_confirmed=None)
        self.run.write(
            {
                "state": "brake",
                "phase": "segments",
                "error_message": sentence,
                "resume_at": at,
            }
        )
        self.env.ref("crm_mailchimp.ir_cron_push")._trigger(at=at)
        self.run._notify()

    # === AN OLDER DATABASE === #

    def _wait_as_older(self):
        """Wait until a manager decides about a restored database."""
        sentence = self._older_sentence()
        if self.run.error_message != sentence:
            if not self.run.error_message:
                self.account._notify_managers(sentence)
            self.run.error_message = sentence
        self.run.state = "brake"
        self.run._notify()
        return "wait"

    def _older_sentence(self):
        counts = dict(
            self.env["crm.mailchimp.member"]._read_group(
                [("account_id", "=", self.account.id), ("operation", "!=", False)],
                ["operation"],
                ["__count"],
            )
        )
        return self.env._(
            "This database is older than what Mailchimp has seen of it: it looks like "
            "a restored backup, which does not know who has opted out since. The "
            "whole audience was read, and whoever was archived in the meantime stays "
            "archived. Opt-outs are still sent. Everything else waits. Contacts to "
            "add: %(added)s, to update: %(changed)s, to archive: %(archived)s. To go "
            "ahead, click “Continue with this database”.",
            added=sum(counts.get(name, 0) for name in ("create", "ask", "restore")),
            changed=sum(counts.get(name, 0) for name in ("update", "move")),
            archived=counts.get("archive", 0),
        )
