from ..engine import errors
from ..engine.json_columns import Creating
from ..engine.vocabulary import PREMIUM_MERGE_FIELDS
from .creation import Creation
from .phase import OutOfTime


class MergeFields(Creation):
    """The merge fields of the audience: those the mapping asks for are created."""

    def fetch(self):
        account = self.account
        account._note_merge_fields(self.gateway.merge_fields(account.audience_ref))
        self.commit()

    def create_missing(self):
        """Create the merge fields that the mapping asks for and Mailchimp lacks.

        :raise OutOfTime: when others are left for another slice
        """
        account = self.account
        if (
            self.run.kind == "full"
            or not account._refs().merge_fields_read
            or self._lacks_required_values()
        ):
            self.fetch()
        beyond = account._merge_fields_beyond(PREMIUM_MERGE_FIELDS)
        begun = False
        for line in account.merge_field_ids:
            if line.remote_ref or not line.create_missing or line in beyond:
                continue
            if begun and self.is_over():
                self.commit()
                raise OutOfTime
            begun = True
            # If the answer to its creation got lost, the field may exist: read first.
            if self.is_tried(f"field {line.id}"):
                self.fetch()
                account._set_refs(creating=None)
                if line.remote_ref:
                    continue
            account._set_refs(creating=Creating({f"field {line.id}": line.tag}))
            self.commit()
            try:
                found = self.gateway.create_merge_field(
                    account.audience_ref, line._creation_body()
                )
            except errors.REFUSED as error:
                # The other fields and all contacts carry on; at the plan's limit, the
                # remaining fields have no room either.
                refused = line
                if getattr(error, "code", None) == "merge_field_limit":
                    refused |= account._merge_fields_beyond(0)
                refused._refuse(account._error_sentence(error))
                account._set_refs(creating=None)
                self.count(merge_fields_refused=len(refused))
                continue
            account._set_refs(
                creating=None,
                merge_field_count=account._refs().merge_field_count + 1,
            )
            line._write_remote(found)
            self.count(merge_fields_created=1)
            self.commit()

    def _lacks_required_values(self):
        """Return whether contacts are held back because a required value is missing.

        Mailchimp may no longer require it, which is worth one call to find out.
        """
        return bool(
            self.env["crm.mailchimp.member"].search_count(
                [
                    ("account_id", "=", self.account.id),
                    ("reason", "=", "required_field"),
                ],
                limit=1,
            )
        )
