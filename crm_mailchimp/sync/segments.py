from .groups import Groups
from .imports import MemberImport
from .merge_fields import MergeFields
from .phase import Phase
from .tags import Tags


class Segments(Phase):
    """Who matches the flagged filters, and the groups, tags and merge fields needed.

    In steps, each of which may take several slices.
    """

    def work(self):
        steps = self._steps()
        names = list(steps)
        first = names.index(self.cursor.step) if self.cursor.step in names else 0
        for name, following in zip(
            names[first:], [*names[first + 1 :], None], strict=True
        ):
            steps[name]()
            self.set_cursor(step=following, segment=None)
            # No commit for each: what changes something commits it itself, and most
            # steps have nothing to do.
            if following and self.is_over():
                self.commit()
                return None
        self.set_cursor(groups=None)
        return "diff"

    def _steps(self):
        groups, tags = self.beside(Groups), self.beside(Tags)
        return {
            "import": self.beside(MemberImport).work,
            "filters": self._evaluate,
            "merge_fields": self.beside(MergeFields).create_missing,
            "withdraw_groups": groups.withdraw,
            "show_groups": groups.show,
            # One that turns out to be gone is made anew.
            "compare_groups": groups.compare,
            "rename_groups": groups.rename,
            "create_groups": groups.create_missing,
            "withdraw_tags": tags.withdraw,
            "tags": tags.sync,
        }

    def _evaluate(self):
        account = self.account
        self.env["crm.mailchimp.segment"]._sync_with_filters(account)
        segments = account.segment_ids
        # A full comparison relies on no hashes.
        if self.run.kind != "full":
            segments -= segments._unchanged()
        for segment in self.each_segment(segments):
            segment._evaluate()
        self.commit()
