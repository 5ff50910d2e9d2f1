import time
from datetime import timedelta

from odoo import models

from ..engine import errors
from ..engine.address import member_hash
from ..engine.observe import is_removal, link_id, utc
from ..engine.payload import creation
from ..engine.plan import REACHABLE, may_restore
from .member_values import MemberValues


class CrmMailchimpRun(models.Model):
    """What is done to single members, one by one, after a look at each.

    These are the only operations that write an address or a status to a member that
    Mailchimp knows.
    """

    _inherit = "crm.mailchimp.run"

    def _one_by_one(self, operation, deadline, act):
        """Call ``act`` with each planned row and commit what came of it."""
        reader = MemberValues(self.account_id)
        for rows in self._walk(reader, operation, lambda: 20, deadline):
            for row in rows:
                act(reader, row)
                self._commit()
                if time.monotonic() >= deadline:
                    return

    # === COMING BACK === #

    def _send_restores(self, gateway, deadline):
        """Subscribe members again that Odoo had archived."""
        self._one_by_one(
            "restore", deadline, lambda reader, row: self._restore(gateway, reader, row)
        )
        self._apply_no()

    def _send_readmits(self, gateway, deadline):
        """Subscribe members again that a manager brings back."""
        self._one_by_one(
            "readmit", deadline, lambda reader, row: self._restore(gateway, reader, row)
        )
        self._apply_no()

    def _send_inquiries(self, gateway, deadline):
        """Look what members said that somebody in Mailchimp archived."""
        self._one_by_one(
            "inquire", deadline, lambda reader, row: self._restore(gateway, reader, row)
        )
        self._apply_no()

    def _restore(self, gateway, reader, row):
        """Subscribe an archived member again, after a look at it and its activity.

        By itself only when nothing changed it since Odoo archived it; a manager who
        looked at a list may bring others back. Nobody who is seen to have said no.
        Who was archived by somebody else is only looked at, and stays out.
        """
        account = self.account_id
        audience = account.audience_ref
        known = reader.known(row)
        Member = self.env["crm.mailchimp.member"]
        member = gateway.find_member(audience, member_hash(row[1]))
        if member is None:
            Member._update_rows(
                ("status", "operation", "reason"), [(row[0], None, None, "forgotten")]
            )
            account._note_forgotten([row[1]])
            return
        if member["status"] != "archived":
            self._apply_seen([member])
            Member._update_rows(("operation",), [(row[0], None)])
            return
        # Without a new transaction an opt-out that came meanwhile would be overlooked:
        # one sees the database as it was at its first query.
        verdict = self._verdict(gateway, known, member, row[1])
        self._commit()
        eligible = row[1] in account._eligible_emails([row[1]])
        if verdict is True and eligible and known["operation"] != "inquire":
            try:
                member = gateway.restore_member(
                    audience, member_hash(row[1]), "subscribed"
                )
            except errors.Rejected as error:
                self._record_refusals([(row, reader.desired(row), error)])
                return
            self._apply_seen([member])
            Member._update_rows(
                ("operation", "reason", "reason_text", "values_refused"),
                [(row[0], None, None, None, None)],
            )
            self._count(restored=1, sent=1)
            return
        vals = {"operation": None, "reason": "archived" if eligible else None}
        if isinstance(verdict, dict) and verdict.get("activity_type") != "bounce":
            # A "no" that was hidden by the archiving: it counts like any other.
            said_at = utc(verdict.get("created_at_timestamp"))
            vals["no_date"] = said_at = said_at or account._mailchimp_now()
            kind = {"abuse": "complained"}.get(verdict["activity_type"], "unsubscribed")
            no = account._no_row(row[1], kind, said_at)
            self.env["crm.mailchimp.suppression"]._note([no])
        Member._update_rows(tuple(vals), [(row[0], *vals.values())])

    def _verdict(self, gateway, known, member, email):
        """Return what :func:`may_restore` makes of a member and its activity."""
        audience, digest = self.account_id.audience_ref, member_hash(email)
        events = gateway.activity_feed(audience, digest)
        # A complaint need not be in the feed, but is among the last events.
        events += [
            {
                "activity_type": event.get("action"),
                "bounce_type": event.get("type"),
                "created_at_timestamp": event.get("timestamp"),
            }
            for event in gateway.recent_activity(audience, digest)
        ]
        since, changed = known["subscribed_at"], known["last_changed"]
        by_hand = known["operation"] in ("readmit", "inquire")
        latest = utc(member.get("last_changed"))
        if changed and is_removal(latest, self.account_id._removals()):
            changed = max(changed, latest)
        return may_restore(
            member,
            events,
            since and (since - timedelta(minutes=10)).isoformat(),
            None if by_hand or not changed else f"{changed.isoformat()}+00:00",
        )

    # === ASKING AGAIN === #

    def _send_asks(self, gateway, deadline):
        """Let Mailchimp ask people who said no whether they want to come back."""
        self._one_by_one(
            "ask", deadline, lambda reader, row: self._ask(gateway, reader, row)
        )

    def _ask(self, gateway, reader, row):
        """Let Mailchimp send its mail to confirm, also to an address it does not know.

        That it was asked is noted before the call: should the answer get lost, a
        member that is pending by then must not be taken for one that has to leave.
        """
        account = self.account_id
        Member = self.env["crm.mailchimp.member"]
        if account._winners([row[1]], asking=True).get(row[1]) is None:
            Member._update_rows(("operation",), [(row[0], None)])
            return
        Member._update_rows(("asked_at",), [(row[0], account._mailchimp_now())])
        self._commit()
        try:
            if reader.known(row)["status"]:
                member = gateway.restore_member(
                    account.audience_ref, member_hash(row[1]), "pending"
                )
            else:
                desired, since = reader.desired(row), row[reader.opt_in_date]
                item = creation(row[1], desired, "pending", since)
                created, refused = gateway.subscribe_batch(account.audience_ref, [item])
                if refused:
                    raise refused[0][1]
                if not created:
                    # Neither asked nor refused: look before it is repeated.
                    Member._update_rows(("operation",), [(row[0], "read")])
                    return
                member = created[0]
        except errors.NotFound:
            Member._update_rows(
                ("status", "operation", "reason", "asked_at"),
                [(row[0], None, None, "forgotten", None)],
            )
            account._note_forgotten([row[1]])
            return
        except errors.Rejected as error:
            Member._update_rows(("asked_at",), [(row[0], None)])
            self._record_refusals([(row, None, error)])
            return
        asked_at = utc(member.get("last_changed")) or account._mailchimp_now()
        self._apply_seen([member])
        Member._update_rows(
            ("operation", "reason", "asked_at"), [(row[0], None, None, asked_at)]
        )
        self._count(asked=1, sent=1)

    # === CHANGING AN ADDRESS === #

    def _send_moves(self, gateway, deadline):
        """Give members the new address of their contact; their history stays."""
        self._one_by_one(
            "move", deadline, lambda reader, row: self._move(gateway, reader, row)
        )
        self._apply_no()

    def _move(self, gateway, reader, row):
        """Carry out the change of one address, which ``row`` of the ledger is for.

        Mailchimp changes the address of subscribed members only, and not to one that
        it has already. Then the old member is looked at: a "no" counts for the contact,
        a bounced address is left behind, and any other member is archived.
        """
        account = self.account_id
        audience = account.audience_ref
        Member = self.env["crm.mailchimp.member"]
        old = Member.browse(reader.known(row)["moved_from_id"])
        if not old or account._winners([row[1]]).get(row[1]) != row[2]:
            Member._update_rows(("operation", "moved_from_id"), [(row[0], None, None)])
            return
        old_hash = member_hash(old.email_normalized)
        try:
            member = gateway.patch_member(audience, old_hash, {"email_address": row[1]})
        except errors.NotFound:
            self._look_up(gateway, old)
            Member._update_rows(
                ("operation", "moved_from_id"), [(row[0], "create", None)]
            )
            return
        except errors.Rejected as error:
            self._move_refused(gateway, row, old, error)
            return
        Member._update_rows(
            (
                *("status", "origin", "operation", "moved_from_id", "reason"),
                *("values_sent", "values_seen", "edited", "last_changed", "web_id"),
                "subscribed_at",
            ),
            [
                (
                    row[0],
                    member["status"],
                    old.origin,
                    None,
                    None,
                    None,
                    old.values_sent or None,
                    old.values_seen or None,
                    old.edited,
                    utc(member.get("last_changed")),
                    link_id(member),
                    utc(member.get("last_changed")),
                )
            ],
        )
        Member._update_rows(
            ("status", "operation", "cause", "wanted", "values_sent", "values_seen"),
            [(old.id, None, None, None, False, None, None)],
        )
        self.env["crm.mailchimp.segment"]._move_tagged([(old.id, row[0])])
        # Its values may differ, too.
        self._set_cursor(plan_again=True)
        self._count(moved=1, sent=1)

    def _move_refused(self, gateway, row, old, error):
        Member = self.env["crm.mailchimp.member"]
        audience = self.account_id.audience_ref
        after = None
        if error.code == "address_taken":
            after = "read"
        elif error.code == "address_change_status":
            self._look_up(gateway, old)
            after = None if old.status == "unsubscribed" else "create"
        else:
            self._record_refusals([(row, None, error)])
        Member._update_rows(("operation", "moved_from_id"), [(row[0], after, None)])
        if old.status in REACHABLE:
            old_member = gateway.find_member(
                audience, member_hash(old.email_normalized)
            )
            if old_member:
                self._apply_seen([old_member])
            if old.status in REACHABLE:
                Member._update_rows(
                    ("operation", "cause"), [(old.id, "archive", "address")]
                )
