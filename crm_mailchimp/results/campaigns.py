import random
from contextlib import suppress

from odoo import fields

from ..engine import errors, stats
from ..sync.phase import OutOfTime
from .phase import NOT_OURS, ResultsPhase


class CampaignPhase(ResultsPhase):
    """A phase that stores campaigns as Mailchimp lists or reports them.

    ``known`` holds the campaigns of the account by their id in Mailchimp, ``parents``
    the parent's id for each campaign that was seen to have one.
    """

    def __init__(self, run, gateway, deadline):
        super().__init__(run, gateway, deadline)
        campaigns = self.env["crm.mailchimp.campaign"].search(
            [("account_id", "=", self.account.id)]
        )
        self.known = {campaign.campaign_ref: campaign for campaign in campaigns}
        self.parents = {}

    def alone(self, store, remote):
        """Store one campaign; one that cannot be stored does not hold up the others.

        :param store: called with ``remote``
        :param dict remote: the campaign, or its report, as Mailchimp shows it
        """
        before = dict(self.known)
        try:
            with self.env.cr.savepoint():
                store(remote)
                self.env.flush_all()
        except NOT_OURS:
            raise
        except Exception:
            self.known = before
            self.note_fault(self.known.get(remote["id"]), remote["id"])

    def store_listed(self, remote):
        """Store a campaign as the listing of campaigns shows it."""
        vals = stats.listed(remote)
        if remote.get("web_id"):
            vals["url"] = (
                f"https://{self.account.data_center}.admin.mailchimp.com"
                f"/reports/summary?id={remote['web_id']}"
            )
        if isinstance(remote.get("parent_campaign_id"), str):
            self.parents[remote["id"]] = remote["parent_campaign_id"]
        self.store_campaign(remote["id"], vals)

    def store_campaign(self, ref, vals):
        """Create or change a campaign, and have it read once it has been sent.

        :return: the campaign
        """
        campaign = self.known.get(ref)
        was_sent = campaign and campaign.status not in stats.NOT_SENT
        if vals.get("status", "save") not in stats.NOT_SENT and not was_sent:
            # Its first reading.
            vals = dict(vals, next_poll=self.listed_on())
        if campaign is None:
            campaign = self.known[ref] = self.env["crm.mailchimp.campaign"].create(
                dict(vals, account_id=self.account.id, campaign_ref=ref)
            )
        else:
            campaign._write_changes(vals)
        campaign._link_utm()
        return campaign

    def store_parents(self):
        for ref, parent_ref in self.parents.items():
            child, parent = self.known.get(ref), self.known.get(parent_ref)
            if child and parent and child != parent and child.parent_id != parent:
                child.parent_id = parent


class CampaignListing(CampaignPhase):
    """List the campaigns of the audience: new ones, and how far the others have got."""

    def work(self):
        self.set_cursor(listed=fields.Datetime.to_string(fields.Datetime.now()))
        listed = set()
        for page in self.gateway.campaigns(self.account.audience_ref):
            for remote in stats.identified(page):
                listed.add(remote["id"])
                self.alone(self.store_listed, remote)
            self.checkpoint()
        self.store_parents()
        with suppress(OutOfTime):  # the next listing goes on with the others
            self._forget_deleted_drafts(listed)
        return "reports"

    def _forget_deleted_drafts(self, listed):
        """Delete campaigns that were never sent and are no longer in Mailchimp.

        A listing that is read page by page can miss a campaign that moves, so each is
        looked up. Sent campaigns stay: their results are worth keeping. So do
        automations, which are never listed.

        :param set listed: ids of the campaigns that were listed
        :raise OutOfTime: when others are left
        """
        drafts = [
            ref
            for ref, campaign in self.known.items()
            if ref not in listed
            and campaign.status in stats.NOT_SENT
            and not campaign.report_date
            and not campaign._is_ongoing()
        ]
        # Those that Mailchimp does not tell about must not always come first.
        random.shuffle(drafts)
        self.ask_each([(ref, self._find_draft, ref) for ref in drafts], self._forget)

    def _find_draft(self, ref):
        """Return a campaign, ``{}`` when it is gone, ``None`` when nobody can tell."""
        try:
            return self.gateway.campaign(ref)
        except errors.NotFound:
            return {}
        except errors.REFUSED:
            return None

    def _forget(self, found):
        """Delete the campaigns that were found to be gone, or of another audience."""
        for ref, remote in found.items():
            if remote is None:
                continue
            audience = (remote.get("recipients") or {}).get("list_id")
            if audience != self.account.audience_ref:
                self.known.pop(ref).unlink()
