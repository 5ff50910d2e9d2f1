from ..engine import errors
from ..engine.address import member_hash
from ..engine.observe import contact_ref, link_id, utc
from ..engine.plan import REACHABLE
from .consent import ConsentUpdate
from .sending import SendingPhase


class Moves(SendingPhase):
    """Change members to the new address of their contact, keeping their history."""

    def work(self):
        if self.one_by_one("move", self._move):
            self.beside(ConsentUpdate).work(whole=True)

    def _move(self, reader, row):
        """Carry out one change of address; ``row`` is the ledger row of the new one.

        Mailchimp only changes the address of subscribed members, and not to one that it
        already has. If it refuses, the old member is looked at: a "no" counts for the
        contact, a bounced address is left behind, and any other member is archived.
        """
        account = self.account
        audience = account.audience_ref
        Member = self.env["crm.mailchimp.member"]
        old = Member.browse(row.moved_from_id)
        if not old or account._winners([row.email]).get(row.email) != row.partner_id:
            Member._update_rows(("operation", "moved_from_id"), [(row.id, None, None)])
            return
        old_hash = member_hash(old.email_normalized)
        try:
            member = self.gateway.patch_member(
                audience, old_hash, {"email_address": row.email}
            )
        except errors.NotFound:
            self.look_at(old)
            Member._update_rows(
                ("operation", "moved_from_id"), [(row.id, "create", None)]
            )
            return
        except (errors.Rejected, errors.MemberForbidden) as error:
            if not self.is_of_member(error):
                raise
            self._move_refused(row, old, error)
            return
        Member._update_rows(
            (
                *("status", "origin", "operation", "moved_from_id", "reason"),
                *("values_sent", "values_seen", "edited", "last_changed", "web_id"),
                *("contact_ref", "subscribed_at"),
            ),
            [
                (
                    row.id,
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
                    contact_ref(member),
                    utc(member.get("last_changed")),
                )
            ],
        )
        Member._update_rows(
            ("status", "operation", "cause", "wanted", "values_sent", "values_seen"),
            [(old.id, None, None, None, False, None, None)],
        )
        self.env["crm.mailchimp.segment"]._move_tagged([(old.id, row.id)])
        # Its values may differ, too.
        self.set_cursor(plan_again=True)
        self.count(moved=1, sent=1)

    def _move_refused(self, row, old, error):
        Member = self.env["crm.mailchimp.member"]
        audience = self.account.audience_ref
        after = None
        code = getattr(error, "code", None)
        if code == "address_taken":
            after = "read"
        elif code == "address_change_status":
            self.look_at(old)
            after = None if old.status == "unsubscribed" else "create"
        else:
            self.record_refusals([(row, None, error)])
        Member._update_rows(("operation", "moved_from_id"), [(row.id, after, None)])
        if old.status in REACHABLE:
            old_member = self.gateway.find_member(
                audience, member_hash(old.email_normalized)
            )
            if old_member:
                self.apply_seen([old_member])
            if old.status in REACHABLE:
                Member._update_rows(
                    ("operation", "cause"), [(old.id, "archive", "address")]
                )
