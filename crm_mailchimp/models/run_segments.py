import logging
from functools import partial

from odoo import fields, models
from odoo.tools import SQL

from ..engine import errors, payload
from ..engine.naming import NAME_LENGTH, free_name, is_name_of
from .field_mapping import PREMIUM_LIMIT

_logger = logging.getLogger(__name__)

# Mailchimp allows so many groups in one audience, over all categories.
MAX_INTERESTS = 60
CATEGORIES = {"person": "CRM contacts", "company": "CRM companies"}


class CrmMailchimpRun(models.Model):
    """Phase *segments*: who matches, and the groups and merge fields for it."""

    _inherit = "crm.mailchimp.run"

    def _phase_segments(self, gateway, deadline):
        account = self.account_id
        self._import_foreign()
        self.env["crm.mailchimp.segment"]._sync_with_filters(account)
        account.segment_ids._evaluate()
        self._commit()
        self._create_merge_fields(gateway)
        if self.kind == "full":
            self._forget_missing_groups(gateway)
        self._withdraw_groups(gateway)
        self._show_groups(gateway)
        # One that turns out to be gone is made anew.
        self._rename_groups(gateway)
        self._create_groups(gateway)
        self._sync_tags(gateway)
        return "diff"

    # === MERGE FIELDS === #

    def _read_merge_fields(self, gateway):
        account = self.account_id
        account._note_merge_fields(gateway.merge_fields(account.audience_ref))
        self._commit()

    def _create_merge_fields(self, gateway):
        account = self.account_id
        if (
            self.kind == "full"
            or not account._refs().get("merge_fields_read")
            or self._lacks_required_values()
        ):
            self._read_merge_fields(gateway)
        beyond = account._merge_fields_beyond(PREMIUM_LIMIT)
        for line in account.merge_field_ids:
            if line.remote_ref or not line.create_missing or line in beyond:
                continue
            # A field that was created without an answer is there now: read first.
            if self._is_tried(f"field {line.id}"):
                self._read_merge_fields(gateway)
                account._set_refs(creating=None)
                if line.remote_ref:
                    continue
            account._set_refs(creating={"names": {f"field {line.id}": line.tag}})
            self._commit()
            try:
                found = gateway.create_merge_field(
                    account.audience_ref, line._creation_body()
                )
            except errors.REFUSED as error:
                # The other fields and all contacts go on; at the plan's limit, the
                # fields that are still to come have no room either.
                refused = line
                if getattr(error, "code", None) == "merge_field_limit":
                    refused |= account._merge_fields_beyond(0)
                refused._refuse(account._error_sentence(error))
                account._set_refs(creating=None)
                self._count(merge_fields_refused=len(refused))
                continue
            account._set_refs(
                creating=None,
                merge_field_count=(account._refs().get("merge_field_count") or 0) + 1,
            )
            line._write_remote(found)
            self._count(merge_fields_created=1)
            self._commit()

    def _lacks_required_values(self):
        """Tell whether contacts are held for want of a value.

        Mailchimp may not require it any more: worth one call.
        """
        return bool(
            self.env["crm.mailchimp.member"].search_count(
                [
                    ("account_id", "=", self.account_id.id),
                    ("reason", "=", "required_field"),
                ],
                limit=1,
            )
        )

    # === GROUPS === #

    def _groups_needed(self):
        """Return ``[(segment, "person" or "company")]`` of the groups to create.

        A group for companies is only made where a company matches, and the other way
        round, so that Mailchimp's limit is not spent on empty groups.
        """
        account = self.account_id
        segments = account.segment_ids.filtered(
            lambda segment: segment.state in ("active", "full")
        )
        if not segments or account.segment_target == "tag":
            return []
        counters = self.counters or {}
        room = self.kind == "full" or counters.get("groups_deleted")
        rows = self.env.execute_query(
            SQL(
                """SELECT DISTINCT r.segment_id, COALESCE(p.is_company, FALSE)
                     FROM crm_mailchimp_segment_partner r
                     JOIN res_partner p ON p.id = r.partner_id
                    WHERE r.segment_id = ANY(%s) AND p.mailchimp_opt_in AND p.active""",
                segments.ids,
            )
        )
        rows = set(rows)
        needed = [
            (segment, kind)
            for segment in segments
            for kind in ("person", "company")
            if (segment.id, kind == "company") in rows and not segment[f"{kind}_ref"]
        ]
        # That there is no room costs no calls until there may be some.
        if not room and all(segment.state == "full" for segment, _kind in needed):
            return []
        return needed

    def _read_groups(self, gateway):
        """Return all groups of the audience.

        :return: ``(titles of categories by id, {category: names of groups by id})``
        """
        audience = self.account_id.audience_ref
        categories = {
            category["id"]: category["title"]
            for category in gateway.categories(audience)
        }
        interests = {
            category: {
                interest["id"]: interest["name"]
                for interest in gateway.interests(audience, category)
            }
            for category in categories
        }
        return categories, interests

    def _show_groups(self, gateway):
        """Show our categories to subscribers or hide them, as the account says.

        Only after the option changed: what somebody set in Mailchimp stays.
        """
        account = self.account_id
        ours = set(account._refs().get("categories", {}).values())
        kind = account._group_kind()
        if not ours or account._refs().get("group_kind") == kind:
            return
        try:
            for category in gateway.categories(account.audience_ref):
                if category["id"] in ours and category.get("type") != kind:
                    gateway.rename_category(
                        account.audience_ref, category["id"], category["title"], kind
                    )
        except errors.REFUSED as error:
            # It is tried again with the next run.
            _logger.warning("The groups cannot be made %s: %s", kind, error)
            return
        account._set_refs(group_kind=kind)
        self._commit()

    def _create_groups(self, gateway):
        needed = self._groups_needed()
        if not needed:
            return
        account = self.account_id
        try:
            categories, interests = self._read_groups(gateway)
        except errors.REFUSED as error:
            # Contacts and tags go on.
            for segment, _kind in needed:
                segment._note_refusal(error)
            return
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
        refused = self._create_categories(gateway, needed, categories)
        needed = [pair for pair in needed if pair[1] not in refused]
        ours = account._refs().get("categories", {})
        create = needed and gateway.create_interest
        wanted = {
            (segment, kind): (
                f"interest {segment.id} {kind}",
                segment._group_name(),
                interests.setdefault(ours[kind], {}),
                partial(create, account.audience_ref, ours[kind]),
            )
            for segment, kind in needed
        }
        for (segment, kind), name, result in self._create_several(gateway, wanted):
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
            self._count(groups_created=1)

    def _create_categories(self, gateway, needed, categories):
        """Create the categories of ours that groups need and that are not there.

        :param needed: of :meth:`_groups_needed`
        :param dict categories: titles by id of those that are there
        :return: the kinds whose category Mailchimp refused
        """
        account = self.account_id
        ours = account._refs().get("categories", {})
        missing = {kind for _s, kind in needed if ours.get(kind) not in categories}
        audience, shown, refused = account.audience_ref, account._group_kind(), set()
        create = missing and gateway.create_category
        wanted = {
            kind: (
                f"category {kind}",
                CATEGORIES[kind],
                categories,
                lambda title: create(audience, title, shown),
            )
            for kind in sorted(missing)
        }
        for kind, _name, result in self._create_several(gateway, wanted):
            if isinstance(result, errors.MailchimpError):
                refused.add(kind)
                for segment, needed_kind in needed:
                    if needed_kind == kind:
                        segment._note_refusal(result)
                continue
            account._set_refs(
                categories=dict(
                    account._refs().get("categories", {}), **{kind: result}
                ),
                group_kind=shown,
            )
        return refused

    def _create_several(self, gateway, wanted):
        """Create things in Mailchimp, several at once; what came of each is committed.

        :param wanted: ``{what: (key, title, existing, create)}``, as for
            :meth:`_create_once`; ``create`` returns what Mailchimp answered, and is
            called in another thread
        :return: generator of ``(what, name, id or refusal)``
        :raise MailchimpError: the first one that is not about a single thing
        """
        names = self._about_to_create(
            {what: entry[:3] for what, entry in wanted.items()}
        )
        calls, trouble = [], []
        for what, (name, ref) in names.items():
            if ref:
                yield what, name, ref
            else:
                calls.append((what, wanted[what][3], name))
        for outcomes in gateway.map(calls, lambda: trouble):
            for what, result in outcomes:
                if isinstance(result, errors.MailchimpError):
                    if not isinstance(result, errors.REFUSED):
                        trouble.append(result)
                        continue
                else:
                    result = result["id"]
                    wanted[what][2][result] = names[what][0]
                yield what, names[what][0], result
            self._commit()
        if trouble:
            raise trouble[0]
        if names:
            self.account_id._set_refs(creating=None)
            self._commit()

    def _about_to_create(self, wanted):
        """Note what is about to be created in Mailchimp that has no key of our own.

        It is committed before the calls, with what was there before. If an answer gets
        lost, the next try finds a thing of that name that was not there: it is ours. A
        thing of that name that was there is somebody else's and is never adopted; ours
        gets a suffix.

        :param wanted: ``{what: (key, title, existing)}``: a text to recognise the try
            by, the name, and names by id of what is there
        :return: ``{what: (name, id)}``; the id is ``None`` of what is still to create
        """
        account, found, taken = self.account_id, {}, {}
        creating = account._refs().get("creating") or {}
        tried, known = creating.get("names", {}), creating.get("known", ())
        for what, (key, title, existing) in wanted.items():
            ours = [
                ref
                for ref, name in existing.items()
                if name == tried.get(key) and ref not in known
            ]
            if ours:
                found[what] = (tried[key], ours[0])
                continue
            others = taken.setdefault(id(existing), list(existing.values()))
            name = free_name(title, others)
            others.append(name)
            found[what] = (name, None)
        ours = {ref for _name, ref in found.values()}
        if None in ours:
            known = {ref for entry in wanted.values() for ref in entry[2]} - ours
            names = {wanted[what][0]: name for what, (name, _ref) in found.items()}
            account._set_refs(creating={"names": names, "known": sorted(known)})
            self._commit()
        return found

    def _create_once(self, key, title, existing, create):
        """Create one thing in Mailchimp exactly once: see :meth:`_about_to_create`.

        :param str key: what it is for, to recognise the try
        :param dict existing: names by id of what is there; the new one is added
        :param create: called with the name, returns the id
        :return: the id
        """
        [(name, ref)] = self._about_to_create({key: (key, title, existing)}).values()
        if not ref:
            ref = create(name)
            existing[ref] = name
        return ref

    def _is_tried(self, key):
        """Tell whether this was about to be created when the last try ended."""
        return key in (self.account_id._refs().get("creating") or {}).get("names", {})

    def _withdraw_groups(self, gateway):
        """Delete the groups of filters that are not flagged any more."""
        account = self.account_id
        categories = account._refs().get("categories", {})
        for segment in account.segment_ids.filtered(
            lambda segment: (
                segment.state == "withdrawn" or account.segment_target == "tag"
            )
        ):
            for kind in ("person", "company"):
                ref = segment[f"{kind}_ref"]
                if not ref:
                    continue
                try:
                    gateway.delete_interest(
                        account.audience_ref, categories.get(kind), ref
                    )
                except errors.NotFound:
                    _logger.info("Group %s was gone already.", segment.remote_name)
                except errors.REFUSED as error:
                    # It is tried again with the next run.
                    segment._note_refusal(error)
                    continue
                segment.write({f"{kind}_ref": False})
                self._count(groups_deleted=1)
                self._commit()

    def _rename_groups(self, gateway):
        account = self.account_id
        renamed = account.segment_ids.filtered(
            lambda segment: (
                segment.state == "active"
                and segment.remote_name
                and not is_name_of(segment.remote_name, segment._group_name())
            )
        )
        if not renamed:
            return
        categories = account._refs().get("categories", {})
        try:
            _titles, interests = self._read_groups(gateway)
        except errors.REFUSED as error:
            for segment in renamed:
                segment._note_refusal(error)
            return
        for segment in renamed:
            own = {segment.person_ref, segment.company_ref}
            # Both groups of a filter have one name.
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
                    gateway.update_interest(account.audience_ref, category, ref, name)
                    interests.setdefault(category, {})[ref] = name
                except errors.NotFound:
                    segment.write({f"{kind}_ref": False})
                except errors.REFUSED as error:
                    _logger.info("Group %s keeps its name: %s", ref, error)
                    name = segment.remote_name
                    problem = account._error_sentence(error)
            segment._write_changes({"remote_name": name, "error_message": problem})
            self._commit()

    def _forget_missing_groups(self, gateway):
        """Find groups that were deleted by hand in Mailchimp, to create them again.

        Those that somebody renamed there get their name back.
        """
        account = self.account_id
        try:
            _titles, interests = self._read_groups(gateway)
        except errors.REFUSED as error:
            _logger.info("No groups to compare with: %s", error)
            return
        present = {
            ref: name for group in interests.values() for ref, name in group.items()
        }
        for segment in account.segment_ids:
            for kind in ("person", "company"):
                ref = segment[f"{kind}_ref"]
                if ref and ref not in present:
                    segment.write({f"{kind}_ref": False})
                    self._count(repaired=1)
                elif (
                    ref
                    and present[ref] != segment.remote_name
                    and not is_name_of(present[ref], segment._group_name())
                ):
                    segment.remote_name = present[ref]
                    self._count(repaired=1)
        self._commit()

    # === WHAT SOMEBODY CHANGED IN MAILCHIMP MEANWHILE === #

    def _note_lost(self):
        """Note that a group or merge field that was sent is not there any more.

        :return: whether it has to be looked for; once in a run is enough
        """
        if (self.cursor or {}).get("looked"):
            return False
        if not self._is_lost():
            self._set_cursor(lost=True)
        return True

    def _is_lost(self):
        return bool((self.cursor or {}).get("lost"))

    def _stored(self, desired, member, before=None):
        """Return what Mailchimp kept of the values sent, going by its reply.

        It takes values of merge fields that it does not have, and drops them.

        :param dict desired: canonical values that were sent
        :param dict member: the member of the API in the reply
        :param before: canonical values the member had before
        """
        kept = payload.stored(desired, member, before)
        return kept if kept is not desired and self._note_lost() else desired

    def _find_lost(self, gateway):
        """Make groups and merge fields anew that somebody deleted in Mailchimp."""
        self._read_merge_fields(gateway)
        self._create_merge_fields(gateway)
        self._forget_missing_groups(gateway)
        self._create_groups(gateway)
        self._set_cursor(lost=None, looked=True)
        self._commit()


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

    show_groups = fields.Boolean(
        string="Show groups to subscribers",
        help="Groups are named after your filters, which are internal. If shown, they "
        "appear on Mailchimp's sign-up forms and on the pages where subscribers "
        "change their preferences, and subscribers can tick them.",
    )

    def _group_kind(self):
        """Return Mailchimp's type of our categories."""
        return "checkboxes" if self.show_groups else "hidden"

    def _refs(self):
        return self.remote_refs or {}

    def _set_refs(self, **values):
        """Change keys of ``remote_refs``; ``None`` removes one."""
        refs = dict(self._refs(), **values)
        refs = {key: value for key, value in refs.items() if value is not None}
        if refs != self._refs():
            self.remote_refs = refs


class CrmMailchimpSegment(models.Model):
    _inherit = "crm.mailchimp.segment"

    def _group_name(self):
        """Return the name of the group, within Mailchimp's length."""
        return " ".join(self.name.split())[:NAME_LENGTH].rstrip()

    def _note_refusal(self, error):
        """Note that Mailchimp refused something of this segment only.

        It is tried again with every run; the others go on.
        """
        vals = {"error_message": self.account_id._error_sentence(error)}
        if getattr(error, "code", None) == "interest_limit":
            vals["state"] = "full"
        self._write_changes(vals)


class CrmMailchimpMergeField(models.Model):
    _inherit = "crm.mailchimp.merge.field"

    def _refuse(self, sentence):
        """Note that Mailchimp did not create the merge fields; the user may retry."""
        self.write({"create_missing": False, "error_message": sentence})

    def _write_remote(self, found):
        """Note what Mailchimp says of the merge field; ``{}`` when it is not there."""
        options = found.get("options") or {}
        vals = {
            "remote_ref": found.get("merge_id") or 0,
            "kind": found.get("type") or False,
            "required": bool(found.get("required")),
            "options": {
                key: options[key]
                for key in ("choices", "phone_format", "date_format")
                if options.get(key)
            }
            or False,
        }
        if found:
            vals["error_message"] = False
        if any(
            (self[name] or False) != (value or False) for name, value in vals.items()
        ):
            self.write(vals)
