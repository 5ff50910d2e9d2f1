import logging
from functools import partial

from odoo.tools import SQL

from ..engine import errors
from ..engine.json_columns import AudienceGroups
from ..engine.naming import free_name, is_name_of
from ..engine.vocabulary import MAX_INTERESTS
from .creation import Creation
from .phase import OutOfTime

_logger = logging.getLogger(__name__)

CATEGORIES = {"person": "CRM contacts", "company": "CRM companies"}


class Groups(Creation):
    """Segments as groups: an interest per filter for people, another for companies."""

    def withdraw(self):
        """Delete groups of filters no longer flagged, or all if only tags are used."""
        account = self.account
        categories = account._refs().categories
        withdrawn = account.segment_ids.filtered(
            lambda segment: (
                (segment.state == "withdrawn" or account.segment_target == "tag")
                and (segment.person_ref or segment.company_ref)
            )
        )
        for segment in self.each_segment(withdrawn):
            for kind in ("person", "company"):
                ref = segment[f"{kind}_ref"]
                if not ref:
                    continue
                try:
                    with account._noting_removal(self.gateway):
                        self.gateway.delete_interest(
                            account.audience_ref, categories.get(kind), ref
                        )
                except errors.REFUSED as error:
                    # The next run tries again.
                    segment._note_refusal(error)
                    continue
                segment.write({f"{kind}_ref": False})
                self.count(groups_deleted=1)
                self.commit()

    def show(self):
        """Show our categories to subscribers or hide them, as the account says.

        Done only after the option changed: what somebody set in Mailchimp stays.
        """
        account = self.account
        ours = set(account._refs().categories.values())
        kind = account._group_kind()
        if not ours or account._refs().group_kind == kind:
            return
        try:
            for category in self.gateway.categories(account.audience_ref):
                if category["id"] in ours and category.get("type") != kind:
                    self.gateway.rename_category(
                        account.audience_ref, category["id"], category["title"], kind
                    )
        except errors.REFUSED as error:
            # The next run tries again.
            _logger.warning("The groups cannot be made %s: %s", kind, error)
            return
        account._set_refs(group_kind=kind)
        self.commit()

    def rename(self):
        account = self.account
        renamed = account.segment_ids.filtered(
            lambda segment: (
                segment.state == "active"
                and segment.remote_name
                and not is_name_of(segment.remote_name, segment._group_name())
            )
        )
        if not renamed:
            return
        categories = account._refs().categories
        try:
            groups = self.read_groups()
        except errors.REFUSED as error:
            for segment in renamed:
                segment._note_refusal(error)
            return
        interests = groups.names
        for segment in self.each_segment(renamed):
            own = {segment.person_ref, segment.company_ref}
            # Both groups of a filter share one name.
            taken = [
                name
                for category in categories.values()
                for ref, name in interests.get(category, {}).items()
                if ref not in own
            ]
            name = free_name(segment._group_name(), taken)
            problem = False
            for kind in ("person", "company"):
                ref, category = segment[f"{kind}_ref"], categories.get(kind)
                if not ref:
                    continue
                try:
                    self.gateway.update_interest(
                        account.audience_ref, category, ref, name
                    )
                    interests.setdefault(category, {})[ref] = name
                except errors.NotFound:
                    segment.write({f"{kind}_ref": False})
                except errors.REFUSED as error:
                    _logger.info("Group %s keeps its name: %s", ref, error)
                    name = segment.remote_name
                    problem = account._error_sentence(error)
            segment._write_changes({"remote_name": name, "error_message": problem})
            self.set_cursor(groups=groups)
            self.commit()

    def create_missing(self):
        needed = self._needed()
        if not needed:
            return
        account = self.account
        try:
            groups = self.read_groups()
        except errors.REFUSED as error:
            # Contacts and tags carry on.
            for segment, _kind in needed:
                segment._note_refusal(error)
            return
        interests = groups.names
        room = max(MAX_INTERESTS - sum(map(len, interests.values())), 0)
        for segment, _kind in needed[room:]:
            segment._write_changes(
                {
                    "state": "full",
                    "error_message": self.env._(
                        "Mailchimp allows %(limit)s groups in an audience, and there "
                        "is no room for this one. Turn off “Sync to Mailchimp” on a "
                        "filter you no longer need; or delete groups in Mailchimp, "
                        "then choose “Compare the whole audience” in the Actions menu "
                        "of the account.",
                        limit=MAX_INTERESTS,
                    ),
                }
            )
        needed = needed[:room]
        # Should an answer get lost, the next try has to find what was created.
        self.set_cursor(groups=None)
        refused = self._create_categories(needed, groups.titles)
        needed = [(s, kind) for s, kind in needed if kind not in refused]
        ours = account._refs().categories
        create = needed and self.gateway.create_interest
        wanted = {
            (segment, kind): (
                f"interest {segment.id} {kind}",
                segment._group_name(),
                interests.setdefault(ours[kind], {}),
                partial(create, account.audience_ref, ours[kind]),
            )
            for segment, kind in needed
        }
        for (segment, kind), name, result in self.create_several(wanted):
            if isinstance(result, errors.MailchimpError):
                segment._note_refusal(result)
                continue
            segment.write(
                {
                    f"{kind}_ref": result,
                    "remote_name": name,
                    "state": "active",
                    "error_message": False,
                }
            )
            self.count(groups_created=1)

    def compare(self):
        """Find groups that were deleted by hand, in a full comparison."""
        if self.run.kind == "full":
            self.forget_missing()

    def forget_missing(self):
        """Forget groups that somebody deleted in Mailchimp, so they are created again.

        Those that somebody renamed there get their name back.
        """
        account = self.account
        try:
            groups = self.read_groups()
        except errors.REFUSED as error:
            _logger.info("No groups to compare with: %s", error)
            return
        present = {
            ref: name for names in groups.names.values() for ref, name in names.items()
        }
        for segment in account.segment_ids:
            for kind in ("person", "company"):
                ref = segment[f"{kind}_ref"]
                if ref and ref not in present:
                    segment.write({f"{kind}_ref": False})
                    self.count(repaired=1)
                elif (
                    ref
                    and present[ref] != segment.remote_name
                    and not is_name_of(present[ref], segment._group_name())
                ):
                    segment.remote_name = present[ref]
                    self.count(repaired=1)
        self.commit()

    def _needed(self):
        """Return ``[(segment, "person" or "company")]`` of the groups to create.

        A group for companies is only created if a company matches, and one for people
        if a person does, so that Mailchimp's limit is not spent on empty groups.
        """
        account = self.account
        segments = account.segment_ids.filtered(
            lambda segment: segment.state in ("active", "full")
        )
        if not segments or account.segment_target == "tag":
            return []
        counters = self.run.counters or {}
        room = self.run.kind == "full" or counters.get("groups_deleted")
        missing = {
            (segment.id, kind == "company"): (segment, kind)
            for segment in segments
            for kind in ("person", "company")
            if not segment[f"{kind}_ref"]
        }
        if not missing:
            return []
        rows = self.env.execute_query(
            SQL(
                """SELECT DISTINCT r.segment_id, COALESCE(p.is_company, FALSE)
                     FROM crm_mailchimp_segment_partner r
                     JOIN res_partner p ON p.id = r.partner_id
                    WHERE (r.segment_id, COALESCE(p.is_company, FALSE)) IN %s
                      AND p.mailchimp_opt_in AND p.active""",
                tuple(missing),
            )
        )
        needed = [group for key, group in missing.items() if key in rows]
        # While there is no room, make no calls until there may be some again.
        if not room and all(segment.state == "full" for segment, _kind in needed):
            return []
        return needed

    def read_groups(self):
        """Return all groups of the audience: :class:`.AudienceGroups`.

        One reading does for all steps until something is created.

        :raise OutOfTime: when it, or what it is for, goes on in another slice
        """
        audience, groups = self.account.audience_ref, self.cursor.groups
        if groups is None:
            categories = self.gateway.categories(audience)
            groups = AudienceGroups({one["id"]: one["title"] for one in categories})

        def keep(replies):
            for category, found in replies.items():
                groups.names[category] = {one["id"]: one["name"] for one in found}
            self.set_cursor(groups=groups)

        left = [category for category in groups.titles if category not in groups.names]
        try:
            self.ask_each(
                [(one, self.gateway.interests, audience, one) for one in left], keep
            )
        except errors.NotFound:
            # Somebody has just deleted one of them: the next reading begins anew.
            self.set_cursor(groups=None)
            raise
        if left and self.is_over():
            raise OutOfTime
        return groups

    def _create_categories(self, needed, categories):
        """Create those of our categories that groups need and that do not exist.

        :param needed: as returned by :meth:`_needed`
        :param dict categories: titles by id of those that exist
        :return: the kinds whose category Mailchimp refused
        """
        account = self.account
        ours = account._refs().categories
        missing = {kind for _s, kind in needed if ours.get(kind) not in categories}
        audience, shown, refused = account.audience_ref, account._group_kind(), set()
        create = missing and self.gateway.create_category
        wanted = {
            kind: (
                f"category {kind}",
                CATEGORIES[kind],
                categories,
                lambda title: create(audience, title, shown),
            )
            for kind in sorted(missing)
        }
        for kind, _name, result in self.create_several(wanted):
            if isinstance(result, errors.MailchimpError):
                refused.add(kind)
                for segment, needed_kind in needed:
                    if needed_kind == kind:
                        segment._note_refusal(result)
                continue
            account._set_refs(
                categories=dict(account._refs().categories, **{kind: result}),
                group_kind=shown,
            )
        return refused
