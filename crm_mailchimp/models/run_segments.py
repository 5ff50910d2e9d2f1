import logging

from odoo import models
from odoo.tools import SQL

from ..engine import errors
from .field_mapping import PREMIUM_LIMIT

_logger = logging.getLogger(__name__)

# Mailchimp allows so many groups in one audience, over all categories.
MAX_INTERESTS = 60
CATEGORIES = {"person": "CRM contacts", "company": "CRM companies"}
SUFFIX = " (CRM)"


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
        self._create_groups(gateway)
        self._rename_groups(gateway)
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
            if account._refs().get("creating", {}).get("key") == f"field {line.id}":
                self._read_merge_fields(gateway)
                account._set_refs(creating=None)
                if line.remote_ref:
                    continue
            account._set_refs(creating={"key": f"field {line.id}"})
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
        rows = self.env.execute_query(
            SQL(
                """SELECT DISTINCT r.segment_id, COALESCE(p.is_company, FALSE)
                     FROM crm_mailchimp_segment_partner r
                     JOIN res_partner p ON p.id = r.partner_id
                    WHERE r.segment_id = ANY(%s) AND p.mailchimp_opt_in AND p.active""",
                segments.ids,
            )
        )
        return [
            (segment, kind)
            for segment in segments
            for kind in ("person", "company")
            if (segment.id, kind == "company") in set(rows)
            and not segment[f"{kind}_ref"]
        ]

    def _create_groups(self, gateway):
        needed = self._groups_needed()
        if not needed:
            return
        account = self.account_id
        audience = account.audience_ref
        try:
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
        except errors.REFUSED as error:
            # Contacts and tags go on.
            for segment, _kind in needed:
                segment._note_refusal(error)
            return
        room = MAX_INTERESTS - sum(map(len, interests.values()))
        for segment, kind in needed:
            name = segment._group_name()
            if room <= 0:
                segment._write_changes(
                    {
                        "state": "full",
                        "error_message": self.env._(
                            "Mailchimp allows %(limit)s groups in an audience, and"
                            " there is no room for this one. Take the flag off a"
                            " filter that is not needed any more, or delete groups in"
                            " Mailchimp.",
                            limit=MAX_INTERESTS,
                        ),
                    }
                )
                continue
            category = account._refs().get("categories", {}).get(kind)
            try:
                if category not in categories:
                    category = self._create_once(
                        f"category {kind}",
                        CATEGORIES[kind],
                        categories,
                        lambda title: gateway.create_category(audience, title)["id"],
                    )
                    account._set_refs(
                        categories=dict(
                            account._refs().get("categories", {}), **{kind: category}
                        )
                    )
                    interests.setdefault(category, {})
                ref = self._create_once(
                    f"interest {segment.id} {kind}",
                    name,
                    interests[category],
                    lambda title, category=category: gateway.create_interest(
                        audience, category, title
                    )["id"],
                )
            except errors.REFUSED as error:
                segment._note_refusal(error)
                account._set_refs(creating=None)
                continue
            segment.write(
                {
                    f"{kind}_ref": ref,
                    "remote_name": interests[category][ref],
                    "state": "active",
                    "error_message": False,
                }
            )
            account._set_refs(creating=None)
            room -= 1
            self._count(groups_created=1)
            self._commit()

    def _create_once(self, key, title, existing, create):
        """Create something in Mailchimp that has no key of our own, exactly once.

        What is going to be created is committed before the call, with what was there
        before. If the answer gets lost, the next try finds a thing of that name that
        was not there: it is ours. A thing of that name that was there is somebody
        else's and is never adopted; ours gets a suffix.

        :param str key: what it is for, to recognise the try
        :param dict existing: names by id of what is there; the new one is added
        :param create: called with the name, returns the id
        :return: the id
        """
        account = self.account_id
        creating = account._refs().get("creating") or {}
        if creating.get("key") == key:
            for ref, name in existing.items():
                if name == creating["name"] and ref not in creating["known"]:
                    return ref
        name = title
        taken = {name.casefold() for name in existing.values()}
        if name.casefold() in taken:
            name = title + SUFFIX
        number = 2
        while name.casefold() in taken:
            name = f"{title}{SUFFIX} {number}"
            number += 1
        account._set_refs(creating={"key": key, "name": name, "known": list(existing)})
        self._commit()
        ref = create(name)
        existing[ref] = name
        return ref

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
        categories = account._refs().get("categories", {})
        for segment in account.segment_ids.filtered(
            lambda segment: segment.state == "active" and segment.remote_name
        ):
            name = segment._group_name()
            if segment.remote_name in (name, name + SUFFIX):
                continue
            problem = False
            for kind in ("person", "company"):
                ref = segment[f"{kind}_ref"]
                if not ref:
                    continue
                try:
                    gateway.update_interest(
                        account.audience_ref, categories.get(kind), ref, name
                    )
                except errors.NotFound:
                    segment.write({f"{kind}_ref": False})
                except errors.REFUSED as error:
                    # Somebody else's group may have that name.
                    _logger.info("Group %s keeps its name: %s", ref, error)
                    name = segment.remote_name
                    problem = account._error_sentence(error)
            segment._write_changes({"remote_name": name, "error_message": problem})
            self._commit()

    def _forget_missing_groups(self, gateway):
        """Find groups that were deleted by hand in Mailchimp, to create them again."""
        account = self.account_id
        audience = account.audience_ref
        try:
            present = {
                interest["id"]
                for category in gateway.categories(audience)
                for interest in gateway.interests(audience, category["id"])
            }
        except errors.REFUSED as error:
            _logger.info("No groups to compare with: %s", error)
            return
        for segment in account.segment_ids:
            for kind in ("person", "company"):
                ref = segment[f"{kind}_ref"]
                if ref and ref not in present:
                    segment.write({f"{kind}_ref": False})
                    self._count(repaired=1)
        self._commit()


class CrmMailchimpAccount(models.Model):
    _inherit = "crm.mailchimp.account"

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
        return " ".join(self.name.split())[:100]

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
