"""What is not known for certain about Mailchimp, with one named switch for each point.

The default is the answer that is hardest on a client: software that works with
every default works with the milder answer as well. Tests run both ways.
"""

from dataclasses import dataclass, fields

#: Domains Mailchimp calls "fake or invalid" whoever signs up.
THROW_AWAY_DOMAINS = ("yopmail.com", "mailinator.com", "guerrillamail.com")


@dataclass
class Switches:
    """Doubts about Mailchimp, limits of its plans, and the speed of the stand-in."""

    # --- members -----------------------------------------------------------------
    #: A batch subscribe with ``update_existing: false`` refuses an archived member as
    #: existing. Off: the member is subscribed again, as by a single POST.
    batch_archived_is_existing: bool = False
    #: An archived member that opted out, bounced or complained is still protected.
    #: Off: "archive, then subscribe" brings the person back.
    archived_keeps_compliance: bool = False
    #: An opt-out written by the API or an admin is silently undone by `subscribed`
    #: in a batch subscribe. Off: the entry is counted as updated, the status stays.
    batch_undoes_api_unsubscribe: bool = True
    #: An unsubscribed member can be archived by the API. This is the harder answer: it
    #: buries the person's "no", as an archived member's former status cannot be read.
    #: Off: 405, as for pending, cleaned and archived members.
    unsubscribed_can_be_archived: bool = True
    #: The unsubscribe link of an old mail makes an archived member `unsubscribed`. This
    #: is the harder answer: a client has to notice a "no" from somebody it archived and
    #: considered settled. Off: nothing changes, so no client could ever know.
    archived_can_unsubscribe: bool = True
    #: The link of an old confirmation mail still works once the member is no longer
    #: pending, but unsubscribed or archived.
    old_confirmation_works: bool = False
    #: In a batch subscribe with ``update_existing``, `status_if_new` alone leaves an
    #: existing status as it is. Off: it is applied like `status`.
    batch_status_if_new_keeps_status: bool = True
    #: ``sync_tags`` with an entry that has no ``tags`` removes the member's tags.
    sync_tags_without_tags_clears: bool = True
    #: Duplicates in a batch subscribe: "call" refuses the whole call, "entry" only the
    #: later entries.
    duplicates_fail: str = "call"
    #: PUT of an unknown address with `status` only: "pending", "status" or "refuse".
    put_status_only: str = "pending"
    #: Required merge fields are checked on updates that do not mention them.
    required_fields_on_update: bool = True
    #: Text beyond 255 bytes: "refuse" or "truncate".
    long_text: str = "refuse"
    #: An address without a state is incomplete.
    address_needs_state: bool = True
    #: Account under review: "" (no), "pending" (stores `subscribed` as `pending`
    #: and answers 200), "refuse" (Member In Compliance State).
    account_review: str = ""
    #: `example.com`, `.net`, `.org` and `.edu` are called fake.
    refuse_example_domains: bool = False
    #: Role addresses (info@, admin@...) are refused.
    refuse_role_addresses: bool = False
    #: Non-ASCII addresses are accepted.
    accept_non_ascii: bool = False
    #: Domains refused as fake, lower case.
    throw_away_domains: tuple = THROW_AWAY_DOMAINS
    #: Addresses refused as fake, lower case.
    fake_addresses: tuple = ()
    #: Addresses refused for signing up too often, lower case.
    busy_addresses: tuple = ()
    #: How they are refused: "requests" (too many recent signup requests) or "lists"
    #: (signed up to a lot of lists). Both have been seen; the first is less well known.
    busy_words: str = "requests"
    #: A refusal of an address says which part is wrong (single @, username portion).
    #: Off: "Please provide a valid email address." for both.
    address_words_precise: bool = True
    # --- reading -----------------------------------------------------------------
    #: A member listing without ``status`` contains archived members.
    plain_listing_has_archived: bool = False
    #: ``since_...`` includes the very second it names.
    since_inclusive: bool = False
    #: The UTC offset of a time in a query is ignored (read as if it were UTC).
    query_offset_ignored: bool = True
    #: Adding or removing a tag moves ``last_changed``, also by way of static segments.
    tags_move_last_changed: bool = True
    #: A person's unsubscribe outside a campaign (hosted form, preferences page) shows
    #: in the member's activity and activity feed.
    feed_has_unsubscribes_outside_campaigns: bool = False
    #: An unsubscribe by the API or an admin shows there, too.
    feed_has_admin_unsubscribes: bool = False
    #: A complaint shows in the activity feed as an `unsub`. Off: it only shows in
    #: ``activity`` and in the abuse reports.
    complaint_in_feed: bool = False
    #: ``True`` in a query counts as true. Off: it is not understood.
    capital_true_counts: bool = False
    # --- reports -----------------------------------------------------------------
    #: ``since`` in ``email-activity`` leaves out recipients without newer events.
    activity_since_drops_idle: bool = False
    #: Reports carry ``proxy_excluded_*`` numbers, open details ``is_proxy_open``.
    proxy_fields: bool = True
    #: Seconds from the send until ``list_stats`` is calculated; it is absent before.
    list_stats_seconds: float = 86400
    #: Dates that were never set (``last_open``, ``last_click``) are null, not "".
    report_dates_null: bool = False
    #: Erased people in reports: "vanish" or "blank" (entry without address).
    erased_in_reports: str = "vanish"
    #: ``GET /campaigns`` lists automation emails too.
    campaigns_list_automations: bool = False
    # --- errors ------------------------------------------------------------------
    #: Problem documents carry ``type``.
    problems_have_type: bool = False
    #: Language of field messages: "en" or "de".
    language: str = "en"
    #: Status for a known key of another data centre: 401 or 403.
    wrong_data_center_status: int = 401
    # --- limits ------------------------------------------------------------------
    #: Simultaneous requests of a user.
    max_in_flight: int = 10
    #: Merge fields per audience, EMAIL included (80 on the Premium plan).
    merge_field_limit: int = 30
    #: Interests per audience over all categories.
    interest_limit: int = 60
    #: Audiences of the plan, -1 for no limit.
    max_audiences: int = -1
    #: Contacts the plan allows over all audiences, -1 for no limit. All but cleaned and
    #: archived ones count here. Whether Mailchimp counts pending ones is not known;
    #: counting them reaches the limit sooner. A call that would exceed it fails whole.
    max_contacts: int = -1
    #: Status of that refusal: 403 (worded like an action the user may not perform,
    #: which is easily mistaken for a lost permission) or 400.
    contact_limit_status: int = 403
    #: Operations per batch.
    max_operations: int = 500
    # --- batches -----------------------------------------------------------------
    #: Batches move on with the clock ("time") or each time they are read ("polls").
    batch_progress: str = "time"
    #: Seconds for each of a batch's four steps, with "time".
    batch_step_seconds: float = 0.05
    #: Seconds for which a result URL works; each GET of the batch makes a new one.
    result_url_seconds: float = 600
    #: Seconds after which the results of a batch are gone.
    result_seconds: float = 7 * 86400
    #: Operations per file in the result archive.
    operations_per_file: int = 100
    # --- webhooks ----------------------------------------------------------------
    #: Seconds of the real retry schedule per second here.
    webhook_speed: float = 600
    #: Creating a webhook gives a ``signing_secret``, and its deliveries are signed.
    #: Off: as for webhooks created before signing was introduced.
    webhooks_signed: bool = True
    #: An unsubscribe delivery says whether it is an ``unsub`` or a ``delete``.
    unsubscribe_has_action: bool = True
    #: Hours by which ``fired_at`` differs from UTC.
    fired_at_offset_hours: float = 0
    # --- logins ------------------------------------------------------------------
    #: Seconds for which the code from a login works.
    code_seconds: float = 30
    #: What `/oauth2/metadata` answers for a revoked token, always with status 200:
    #: everything ("whole"), or "error".
    dead_token_metadata: str = "whole"
    # --- HTTP --------------------------------------------------------------------
    #: Every reply has a ``Date`` header, by the simulated clock.
    date_header: bool = True
    # --- the stand-in itself -----------------------------------------------------
    #: Answer 400 to what the specification does not know. Off: only record it.
    strict: bool = True
    #: Check requests against the specification file, where there is one.
    validate: bool = True
    #: Keep request bodies in ``calls``.
    record_bodies: bool = True

    def update(self, **values):
        """Set switches by name. :raise ValueError: for an unknown name."""
        known = {field.name for field in fields(self)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"Unknown switch: {', '.join(unknown)}.")
        for name, value in values.items():
            current = getattr(self, name)
            if isinstance(current, tuple):
                value = tuple(value)
            setattr(self, name, value)
