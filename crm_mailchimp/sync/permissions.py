from odoo import fields
from odoo.tools import SQL

from ..engine import errors
from ..engine.address import member_hash
from .sending import SendingPhase

AT_ONCE = 100


class Permissions(SendingPhase):
    """Marketing permissions (GDPR) that the opt-in gives to new members."""

    def to_give(self):
        return self.account.permission_ids.filtered("on_opt_in")

    def members(self, permissions, limit=AT_ONCE, after=0):
        """Return ``(id, address)`` of members Odoo added that wait for permissions."""
        self.env["crm.mailchimp.member"].flush_model()
        return self.env.execute_query(
            SQL(
                """SELECT id, email_normalized FROM crm_mailchimp_member
                    WHERE account_id = %s AND id > %s AND origin = 'odoo' AND wanted
                      AND status = 'subscribed' AND permissions_at IS NULL
                 ORDER BY id LIMIT %s""",
                self.account.id,
                max(after, min(permissions.mapped("after_member"))),
                limit,
            )
        )

    def wait(self):
        """Return whether a member has to be given permissions."""
        permissions = self.to_give()
        return bool(permissions and self.members(permissions, limit=1))

    def send(self):
        """Give new members the permissions that go with the opt-in, one call each."""
        permissions = self.to_give()
        if not permissions:
            return
        audience = self.account.audience_ref

        def calls():
            after = 0
            while not self.is_over():
                rows = self.members(permissions, after=after)
                if not rows:
                    return
                for member_id, email in rows:
                    after = member_id
                    given = permissions.filtered(
                        lambda one, member_id=member_id: one.after_member < member_id
                    )
                    body = {
                        "marketing_permissions": [
                            {"marketing_permission_id": ref, "enabled": True}
                            for ref in given.mapped("permission_ref")
                        ]
                    }
                    yield member_id, email, body

        def call(member_id, email, body):
            # A transaction goes on seeing what was there when it began.
            self.commit()
            if email not in self.account._eligible_emails([email]):
                settle(member_id)
                return None
            digest = member_hash(email)
            return member_id, self.gateway.patch_member, audience, digest, body

        def settle(member_id):
            # One that is refused is not tried at every run.
            self.env["crm.mailchimp.member"]._update_rows(
                ("permissions_at",), [(member_id, fields.Datetime.now())]
            )

        def record(member_id, result):
            settle(member_id)
            if isinstance(result, (errors.Rejected, errors.Forbidden)):
                permissions.error_message = self.account._error_sentence(result)
            elif not isinstance(result, errors.MailchimpError):
                self.count(permitted=1)

        self.carry_out(calls(), record, finish=call)
