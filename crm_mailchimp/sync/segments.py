from .groups import Groups
from .imports import MemberImport
from .merge_fields import MergeFields
from .phase import Phase
from .tags import Tags


class Segments(Phase):
    """Who matches the flagged filters, and the groups, tags and merge fields needed."""

    def work(self):
        account = self.account
        self.beside(MemberImport).work()
        self.env["crm.mailchimp.segment"]._sync_with_filters(account)
        account.segment_ids._evaluate()
        self.commit()
        self.beside(MergeFields).create_missing()
        groups = self.beside(Groups)
        if self.run.kind == "full":
            groups.forget_missing()
        groups.withdraw()
        groups.show()
        # First, because one that turns out to be gone is created again.
        groups.rename()
        groups.create_missing()
        self.beside(Tags).sync()
        return "diff"
