"""What the JSON columns of the database hold, each key by name and type.

A column outlives the code that wrote it: a run may be open while the add-on is updated,
or while that update is rolled back. So a key of another version is kept and written
back as it was, and a missing key has its default. Defaults are not stored, except
inside a key, where earlier versions expect every value.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from .vocabulary import Json

Column = TypeVar("Column", bound="JsonColumn")


@dataclass
class JsonColumn:
    """The content of a column, or of one of its keys.

    :param unknown: keys of another version, with their values
    """

    unknown: Json = field(default_factory=dict, repr=False, kw_only=True)

    @classmethod
    def from_json(cls: type[Column], data: Json | None) -> Column:
        """Return what a column holds; all defaults for an empty one."""
        values: Json = {"unknown": {}}
        names = {item.name: item for item in fields(cls) if item.name != "unknown"}
        for name, value in (data or {}).items():
            if name not in names:
                values["unknown"][name] = value
            elif value is not None:
                inner = names[name].metadata.get("inner")
                values[name] = inner.from_json(value) if inner else value
        return cls(**values)

    def to_json(self, complete: bool = False) -> Json:
        """Return what to store.

        :param complete: include defaults; ``None`` is not a value and never stored
        """
        blank, data = type(self)(), dict(self.unknown)
        for item in fields(self):
            value = getattr(self, item.name)
            is_default = not complete and value == getattr(blank, item.name)
            if item.name == "unknown" or value is None or is_default:
                continue
            inner = isinstance(value, JsonColumn)
            data[item.name] = value.to_json(complete=True) if inner else value
        return data

    def changed(self: Column, **values: Any) -> Column:
        """Return a copy with other values; ``None`` stands for the default.

        :raise TypeError: there is no such key
        """
        blank = type(self)()
        for name, value in values.items():
            if value is None:
                values[name] = getattr(blank, name, None)
        return replace(self, **values)


def _inner(kind: type[JsonColumn]) -> Any:
    """Return a key that is absent by default, or holds keys of its own."""
    return field(default=None, metadata={"inner": kind})


# === THE CURSOR OF A RUN === #
# Times are texts as Odoo writes them, in UTC and by Mailchimp's clock.


@dataclass
class Comparison(JsonColumn):
    """How far the phase *diff* has got.

    :param after: the address up to which everything was compared
    :param many: so many rows changed that they are looked for during the walk;
        ``None`` until they were counted
    """

    after: str | None = None
    many: bool | None = None


@dataclass
class Changes(JsonColumn):
    """How far the reading of changes in Mailchimp has got.

    :param since: the time after which changes are read
    :param mark: the time up to which all changes are known when the reading is complete
    :param done: listings that were read to their end
    :param offset: members read of the listing that was not, by its name
    :param skipped: the rest was left out, so the account's mark stays where it was
    """

    since: str = ""
    mark: str = ""
    done: list[str] = field(default_factory=list)
    offset: dict[str, int] = field(default_factory=dict)
    skipped: bool = False


@dataclass
class WholeAudience(JsonColumn):
    """How far the reading of the whole audience has got.

    :param mark: as in :class:`Changes`
    :param current: number of members read that are not archived, or ``done``
    :param archived: likewise for archived members
    """

    mark: str = ""
    current: int | str = 0
    archived: int | str = 0


@dataclass
class FormerAudience(JsonColumn):
    """How far the last reading of a former audience has got.

    :param id: id of its account
    :param done: listings that were read to their end
    :param offset: members read of the one that was not
    """

    id: int = 0
    done: list[str] = field(default_factory=list)
    offset: int = 0


@dataclass
class AudienceGroups(JsonColumn):
    """The groups of an audience, as far as they were read.

    :param titles: of all categories, by id
    :param names: names of groups by id, by category; of those that were read
    """

    titles: dict[str, str] = field(default_factory=dict)
    names: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class Cursor(JsonColumn):
    """Where a run is, and what it has to know to continue.

    Reading members:

    :param full_read: this run has read the whole audience

    Planning:

    :param step: of the phase *segments*
    :param segment: id of the last segment that step has dealt with
    :param groups: those of the audience, until they are changed
    :param brake: number of members the run waits to archive
    :param brake_confirmed: how many a manager confirmed, ``True`` for any number
    :param older: nonce of the mark that shows that this database is an older one
    :param lease: this run has written its mark
    :param left_out: merge tag -> contacts whose value does not fit, in a preview

    Sending:

    :param batches: ids of the batch operations under way
    :param portion: members per subscribe call, if that differs from the usual number
    :param lost: a group or merge field was deleted in Mailchimp
    :param looked: this run has already looked for it
    :param plan_again: something came up that has to be compared once more
    :param again: how often that was done
    :param no_room: Mailchimp takes nobody new; its words, where there are any
    :param tags_refused: ids of segments whose tag was refused
    :param let_go: number of opt-outs that this run delivered
    :param let_go_until: time up to which opt-outs of the lane were counted
    :param audience: body of the audience to create

    Reading results:

    :param listed: when the campaigns were listed
    :param everything: read the totals of all campaigns, however old
    :param report_offset: number of reports read
    :param single: id of the last campaign whose report was read on its own
    :param campaign: id of the campaign whose recipients are being read
    :param began: when that began
    :param part: the part of its report being read
    :param offset: entries of the part that were read
    :param failed: part -> how it failed
    :param shrunk: a page was asked for again, with fewer entries
    :param in_a_row: number of campaigns in a row that could not be read
    """

    former: FormerAudience | None = _inner(FormerAudience)
    changes: Changes | None = _inner(Changes)
    read_all: WholeAudience | None = _inner(WholeAudience)
    full_read: bool = False

    step: str | None = None
    segment: int = 0
    groups: AudienceGroups | None = _inner(AudienceGroups)
    diff: Comparison | None = _inner(Comparison)
    brake: int | None = None
    brake_confirmed: int | bool | None = None
    older: str | None = None
    lease: bool = False
    left_out: dict[str, int] = field(default_factory=dict)

    batches: list[str] = field(default_factory=list)
    portion: int | None = None
    lost: bool = False
    looked: bool = False
    plan_again: bool = False
    again: int = 0
    no_room: str | bool | None = None
    tags_refused: list[int] = field(default_factory=list)
    let_go: int = 0
    let_go_until: str | None = None
    audience: Json = field(default_factory=dict)

    listed: str | None = None
    everything: bool | None = None
    report_offset: int = 0
    single: int = 0
    campaign: int | None = None
    began: str | None = None
    part: str | None = None
    offset: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    shrunk: bool = False
    in_a_row: int = 0


# === WHAT AN ACCOUNT KNOWS ABOUT ITS AUDIENCE === #


@dataclass
class Creating(JsonColumn):
    """What is about to be created in Mailchimp without a key of our own.

    :param names: names by a text that says what each is for
    :param known: ids of what was there before
    """

    names: dict[str, str] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)


@dataclass
class RemoteRefs(JsonColumn):
    """What was created in an audience, and what was found there.

    :param creating: see :class:`Creating`
    :param categories: ids of our group categories, by ``person`` and ``company``
    :param group_kind: their type in Mailchimp
    :param removals: first and last moment of each removal of a group or tag
    :param merge_fields_read: the mapping was compared with the merge fields
    :param merge_field_count: how many merge fields there are, EMAIL included
    :param required_tags: tags of the merge fields that must have a value
    """

    creating: Creating | None = _inner(Creating)
    categories: dict[str, str] = field(default_factory=dict)
    group_kind: str | None = None
    removals: list[list[str]] = field(default_factory=list)
    merge_fields_read: bool = False
    merge_field_count: int = 0
    required_tags: list[str] = field(default_factory=list)


# === HOW FAR A CAMPAIGN WAS READ === #


@dataclass
class ReadMarks(JsonColumn):
    """What the totals of a campaign were when its parts were read, and more.

    Each part of a report has its own totals, see ``READ_FOR`` in :mod:`.stats`.

    :param last_id: id of the last recipient stored when *sent-to* was read
    :param since: when the last reading of the activity began; the next starts there
    :param whole: that reading covered all events
    :param again: the next reading has to cover all events
    :param missing: opens and clicks that nobody is known to have made, at that reading
    :param grown: when an ongoing campaign was last seen to be sent to somebody
    :param page: entries to ask for at once, if Mailchimp never completed larger pages
    """

    links: list[int] | None = None
    variants: list[int] | None = None
    activity: list[int] | None = None
    sent_to: list[int] | None = None
    unsubscribed: list[int] | None = None
    complaints: list[int] | None = None
    last_id: int | None = None
    since: str | None = None
    whole: bool = False
    again: bool = False
    missing: list[int] | None = None
    grown: str | None = None
    page: int | None = None
