from datetime import timedelta

from ..engine import errors
from ..engine.address import member_hash
from ..engine.observe import is_removal, utc
from ..engine.payload import creation
from ..engine.plan import may_restore
from .consent import ConsentUpdate
from .sending import SendingPhase

# The operations here are carried out one by one, after a look at each member. Together
# with changes of address, and with letting members leave, they are the only ones that
# write an address or a status to a member that Mailchimp knows.


class Restores(SendingPhase):
    """Archived members: each is looked at, and subscribed again or left archived."""

    def inquire(self):
        """Find out what was said by members that somebody archived in Mailchimp."""
        self._each_of("inquire")

    def restore(self):
        """Resubscribe members that Odoo had archived."""
        self._each_of("restore")

    def readmit(self):
        """Resubscribe members that a manager brings back."""
        self._each_of("readmit")

    def _each_of(self, operation):
        if self.one_by_one(operation, self._restore):
            self.beside(ConsentUpdate).work(whole=True)

    def _restore(self, reader, row):
        """Subscribe an archived member again, after a look at it and its activity.

        This happens automatically only if nothing changed the member since Odoo
        archived it; a manager who looked at a list may bring others back. Nobody is
        brought back who can be seen to have said no. A member that somebody else
        archived is only looked at, and stays out.
        """
        account = self.account
        audience = account.audience_ref
        Member = self.env["crm.mailchimp.member"]
        member = self.gateway.find_member(audience, member_hash(row.email))
        if member is None:
            # Deleted, or its address was changed: a closer look tells.
            Member._update_rows(("operation",), [(row.id, "read")])
            return
        if member["status"] != "archived":
            self.apply_seen([member])
            Member._update_rows(("operation",), [(row.id, None)])
            return
        # Without a new transaction, an opt-out that came meanwhile would be overlooked:
        # a transaction sees the database as it was at its first query.
        verdict = self._verdict(row, member)
        self.commit()
        eligible = row.email in account._eligible_emails([row.email])
        if verdict is True and eligible and row.operation != "inquire":
            try:
                member = self.gateway.restore_member(
                    audience, member_hash(row.email), "subscribed"
                )
            except (errors.Rejected, errors.MemberForbidden) as error:
                if not self.is_of_member(error):
                    raise
                self.record_refusals([(row, reader.desired(row), error)])
                return
            self.apply_seen([member])
            Member._update_rows(
                ("operation", "reason", "reason_text", "values_refused"),
                [(row.id, None, None, None, None)],
            )
            self.count(restored=1, sent=1)
            return
        vals = {"operation": None, "reason": "archived" if eligible else None}
        if isinstance(verdict, dict) and verdict.get("activity_type") != "bounce":
            # A "no" that the archiving had hidden counts like any other.
            said_at = utc(verdict.get("created_at_timestamp"))
            vals["no_date"] = said_at = said_at or account._mailchimp_now()
            kind = {"abuse": "complained"}.get(verdict["activity_type"], "unsubscribed")
            no = account._no_row(row.email, kind, said_at)
            self.env["crm.mailchimp.suppression"]._note([no])
        Member._update_rows(tuple(vals), [(row.id, *vals.values())])

    def _verdict(self, row, member):
        """Return what :func:`may_restore` makes of a member and its activity."""
        audience = self.account.audience_ref
        digest = member_hash(row.email)
        events = self.gateway.activity_feed(audience, digest)
        # A complaint may be missing from the feed, but is among the last events.
        events += [
            {
                "activity_type": event.get("action"),
                "bounce_type": event.get("type"),
                "created_at_timestamp": event.get("timestamp"),
            }
            for event in self.gateway.recent_activity(audience, digest)
        ]
        since, changed = row.subscribed_at, row.last_changed
        by_hand = row.operation in ("readmit", "inquire")
        latest = utc(member.get("last_changed"))
        if changed and is_removal(latest, self.account._removals()):
            changed = max(changed, latest)
        return may_restore(
            member,
            events,
            since and (since - timedelta(minutes=10)).isoformat(),
            None if by_hand or not changed else f"{changed.isoformat()}+00:00",
        )


class Asks(SendingPhase):
    """Let Mailchimp ask people who said no whether they want to come back."""

    def work(self):
        self.one_by_one("ask", self._ask)

    def _ask(self, reader, row):
        """Have Mailchimp send its confirmation mail, even to an address new to it.

        The request is noted before the call: if the answer gets lost, a member that is
        pending by then must not be taken for one that has to leave.
        """
        account = self.account
        Member = self.env["crm.mailchimp.member"]
        if account._winners([row.email], asking=True).get(row.email) is None:
            Member._update_rows(("operation",), [(row.id, None)])
            return
        Member._update_rows(("asked_at",), [(row.id, account._mailchimp_now())])
        self.commit()
        try:
            if row.status:
                member = self.gateway.restore_member(
                    account.audience_ref, member_hash(row.email), "pending"
                )
            else:
                desired, since = reader.desired(row), row[reader.opt_in_date]
                item = creation(row.email, desired, "pending", since)
                created, refused = self.gateway.subscribe_batch(
                    account.audience_ref, [item]
                )
                for _email, error in refused:
                    raise error
                if not created:
                    # Neither asked nor refused: look before it is repeated.
                    Member._update_rows(("operation",), [(row.id, "read")])
                    return
                member = created[0]
        except errors.NotFound:
            Member._update_rows(("operation", "asked_at"), [(row.id, "read", None)])
            return
        except (errors.Rejected, errors.MemberForbidden) as error:
            if not self.is_of_member(error):
                raise
            Member._update_rows(("asked_at",), [(row.id, None)])
            self.record_refusals([(row, None, error)])
            return
        asked_at = utc(member.get("last_changed")) or account._mailchimp_now()
        self.apply_seen([member])
        Member._update_rows(
            ("operation", "reason", "asked_at"), [(row.id, None, None, asked_at)]
        )
        self.count(asked=1, sent=1)
