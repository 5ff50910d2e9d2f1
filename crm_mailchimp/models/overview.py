from collections import Counter
from datetime import datetime, timedelta

from dateutil.relativedelta import relativedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain
from odoo.tools import SQL
from odoo.tools.date_utils import start_of

#: Days back; 0 for everything.
PERIODS = {"30": 30, "90": 90, "365": 365, "all": 0}
# A chart with more points than this is not readable.
SERIES = 200
# Deliveries needed to be ranked: one open of five mails says nothing.
RANKED_FROM = 10
RANKED = 3
# Contacts of the user who clicked last.
LATEST = 5
GONE = ("unsubscribed", "cleaned", "archived")


class CrmMailchimpAccount(models.Model):
    """The numbers of the *Overview* page, for the current company's account.

    There are two calls: one for what depends on the period, one for the rest. The
    second goes through all contacts, which nobody wants to wait for whenever the period
    changes. Neither needs more statements when there are more rows.
    """

    _inherit = "crm.mailchimp.account"

    @api.model
    def get_overview(self, period):
        """Return the campaigns and the growth of the audience in a period.

        :param str period: a key of ``PERIODS``
        :return: a dict; without a linked audience only ``account_id``, ``linked``,
            ``may_configure`` and ``setup``, whether to show the checklist
        """
        if period not in PERIODS:
            raise UserError(self.env._("Choose one of the periods."))
        account = self._overview_account()
        values = {
            "account_id": account.id,
            "linked": bool(account.audience_ref),
            "may_configure": self.env.user.has_group(
                "crm_mailchimp.group_mailchimp_manager"
            ),
        }
        values["setup"] = values["may_configure"] and not account._is_set_up()
        if not account.audience_ref:
            return values
        now = fields.Datetime.now()
        since = PERIODS[period] and now - timedelta(days=PERIODS[period])
        domain = account._overview_domain(since)
        unit = "week" if since and PERIODS[period] <= 90 else "month"
        return {
            **values,
            "audience": account.audience_name,
            "audience_url": account.audience_url,
            "campaign_domain": [list(leaf) for leaf in domain],
            "figures": self._overview_figures(domain),
            "series": self._overview_series(domain),
            "growth": account._overview_growth(since, now, unit),
            "growth_unit": unit,
            "ranked_from": RANKED_FROM,
            **self._overview_ranked(domain),
            "runs": account._overview_runs(now),
        }

    @api.model
    def get_overview_audience(self):
        """Return who is in the audience, and which opted-in contacts are not.

        :return: a dict; empty without a linked audience
        """
        account = self._overview_account()
        if not account.audience_ref:
            return {}
        labels = dict(
            self.env["crm.mailchimp.contact.status"]
            ._fields["reason"]
            ._description_selection(self.env)
        )
        # PostgreSQL would take longer to compile these queries than to run them.
        self.env.cr.execute("SET LOCAL jit = off")
        skipped = account._skipped_by_reason()
        return {
            "statuses": account._overview_statuses(),
            "skipped": [
                {"reason": reason, "label": labels.get(reason, reason), "count": count}
                for reason, count in sorted(
                    skipped.items(), key=lambda item: (-item[1], item[0])
                )
            ],
            "invalid": self.env["crm.mailchimp.invalid.email"].search_count(
                [("account_id", "=", account.id), ("kind", "!=", "soft")]
            ),
        }

    @api.model
    def get_overview_mine(self, period):
        """Return what the user's own contacts did with campaigns in a period.

        A user's own contacts are those the user is the salesperson of, and those of the
        user's leads.

        :param str period: a key of ``PERIODS``
        :return: a dict; empty without a linked audience, and for users whose contacts
            received nothing and have no invalid address
        """
        if period not in PERIODS:
            raise UserError(self.env._("Choose one of the periods."))
        account = self._overview_account()
        if not account.audience_ref:
            return {}
        since = PERIODS[period] and fields.Datetime.now() - timedelta(
            days=PERIODS[period]
        )
        mine = Domain("partner_id.user_id", "=", self.env.uid) | Domain(
            "partner_id.opportunity_ids.user_id", "=", self.env.uid
        )
        invalid = self.env["crm.mailchimp.invalid.email"].search_count(
            mine & Domain("account_id", "=", account.id) & Domain("kind", "!=", "soft")
        )
        received = mine & Domain("campaign_id.account_id", "=", account.id)
        Recipient = self.env["crm.mailchimp.recipient"]
        if not invalid and not Recipient.search_count(received, limit=1):
            return {}
        values = {"invalid": invalid, "since": since or False}
        for key, field in (
            ("opened", "last_open"),
            ("clicked", "last_click"),
            ("unsubscribed", "unsubscribed_date"),
        ):
            did = Domain(field, ">=", since) if since else Domain(field, "!=", False)
            ((values[key],),) = Recipient._read_group(
                received & did, [], ["partner_id:count_distinct"]
            )
        latest = Recipient._read_group(
            received & Domain("last_click", "!=", False),
            ["partner_id"],
            ["last_click:max"],
            order="last_click:max DESC",
            limit=LATEST,
        )
        values["latest"] = [
            {"id": partner.id, "name": partner.display_name, "date": date}
            for partner, date in latest
        ]
        return values

    def _overview_account(self):
        """Return the account of the current company, linked or not."""
        return self.search([("company_id", "=", self.env.company.id)], limit=1)

    # === CAMPAIGNS === #

    def _overview_domain(self, since):
        """Return the domain of the campaigns that were sent, none counted twice."""
        domain = [("account_id", "=", self.id), ("is_counted", "=", True)]
        if since:
            domain.append(("send_time", ">=", fields.Datetime.to_string(since)))
        return domain

    def _overview_figures(self, domain):
        Campaign = self.env["crm.mailchimp.campaign"]
        Campaign.flush_model()
        # Rates are averages weighted by mails delivered; with none, they are unknown.
        row = self.env.execute_query_dict(
            Campaign._search(domain, order=False).select(
                SQL(
                    """COUNT(*) AS campaigns,
                       COALESCE(SUM(sent), 0) AS sent,
                       SUM(open_rate * delivered) / NULLIF(SUM(delivered), 0)
                           AS open_rate,
                       SUM(click_rate * delivered) / NULLIF(SUM(delivered), 0)
                           AS click_rate,
                       SUM(industry_open_rate * delivered)
                           FILTER (WHERE industry_known)
                           / NULLIF(SUM(delivered) FILTER (WHERE industry_known), 0)
                           AS industry_open_rate,
                       SUM(industry_click_rate * delivered)
                           FILTER (WHERE industry_known)
                           / NULLIF(SUM(delivered) FILTER (WHERE industry_known), 0)
                           AS industry_click_rate,
                       COALESCE(SUM(unsubscribed), 0) AS unsubscribed,
                       COALESCE(SUM(bounces), 0) AS bounces,
                       COALESCE(SUM(complaints), 0) AS complaints"""
                )
            )
        )[0]
        return {
            name: value if value is None or "rate" in name else int(value)
            for name, value in row.items()
        }

    def _overview_series(self, domain):
        campaigns = self._overview_campaigns(
            [*domain, ("send_time", "!=", False), ("delivered", ">", 0)],
            limit=SERIES,
            order="send_time desc, id desc",
        )
        return campaigns[::-1]

    def _overview_ranked(self, domain):
        """Return the campaigns with the highest and the lowest open rates."""
        domain = [*domain, ("delivered", ">=", RANKED_FROM)]
        best = self._overview_campaigns(domain, RANKED, "open_rate desc, id desc")
        others = [*domain, ("id", "not in", [campaign["id"] for campaign in best])]
        worst = self._overview_campaigns(others, RANKED, "open_rate, id desc")
        return {"best": best, "worst": worst}

    def _overview_campaigns(self, domain, limit, order):
        return self.env["crm.mailchimp.campaign"].search_read(
            domain,
            ["name", "send_time", "sent", "open_rate", "click_rate"],
            limit=limit,
            order=order,
        )

    # === AUDIENCE === #

    def _overview_growth(self, since, now, unit):
        """Return how many joined and left by week or month, each address at most once.

        The ledger has only the latest times of each address: of the opt-in (Mailchimp's
        own time, or else the consent's, or else when it was first seen subscribed), and
        of the "no", or else of the last change of an address that was cleaned or
        archived.

        :return: list of dicts with ``start`` (date, as text), ``joined`` and ``left``
        """
        counted = self in self._counted_at()
        rows = self.env.execute_query(
            SQL(
                """
                SELECT date_trunc(
                           %(unit)s, date AT TIME ZONE 'UTC' AT TIME ZONE %(zone)s
                       )::date AS bucket, SUM(joined)::int, SUM(gone)::int
                  FROM (%(dated)s) dated
                 WHERE date >= %(since)s AND date <= %(now)s
              GROUP BY bucket ORDER BY bucket
                """,
                unit=unit,
                zone=str(self.env.tz),
                dated=SQL(
                    """SELECT date, joined, gone FROM crm_mailchimp_growth
                        WHERE account_id = %s""",
                    self.id,
                )
                if counted
                else self._growth_sql(),
                since=since or datetime.min,
                now=now,
            )
        )
        counts = {bucket: (joined, gone) for bucket, joined, gone in rows}
        if not counts:
            return []

        def start(moment):
            local = fields.Datetime.context_timestamp(self, moment)
            return start_of(local.date(), unit)

        # Include weeks or months in which nothing happened.
        at, last = start(since) if since else min(counts), start(now)
        growth = []
        while at <= last:
            joined, gone = counts.get(at, (0, 0))
            growth.append(
                {"start": fields.Date.to_string(at), "joined": joined, "left": gone}
            )
            at += relativedelta(**{f"{unit}s": 1})
        return growth

    def _count_statuses(self, domain):
        """Return ``{status: number}`` of matching members, whoever asks."""
        members = self.env["crm.mailchimp.member"].sudo()
        return dict(
            members._read_group(
                [("account_id", "=", self.id), ("status", "!=", False), *domain],
                ["status"],
                ["__count"],
            )
        )

    def _growth_sql(self):
        """Return a query with who joined and who left the audience, and when.

        :return: ``SQL``: ``date, joined, gone``; one of them is 1, the other 0
        """
        for model in ("crm.mailchimp.member", "crm.mailchimp.consent"):
            self.env[model].flush_model()
        return SQL(
            """
            WITH opt_in AS (
                SELECT email_normalized, MAX(date) AS date
                  FROM crm_mailchimp_consent WHERE kind = 'in'
              GROUP BY email_normalized
            ), dated AS (
                SELECT CASE WHEN m.opt_in_date IS NOT NULL
                              OR m.subscribed_at IS NOT NULL
                       THEN COALESCE(m.opt_in_date, o.date, m.subscribed_at)
                       END AS joined,
                       CASE WHEN m.status = ANY(%(gone)s)
                       THEN COALESCE(m.no_date, m.last_changed) END AS gone
                  FROM crm_mailchimp_member m
             LEFT JOIN opt_in o ON o.email_normalized = m.email_normalized
                 WHERE m.account_id = %(account)s
            )
            SELECT joined AS date, 1 AS joined, 0 AS gone FROM dated
         UNION ALL
            SELECT gone, 0, 1 FROM dated
            """,
            gone=list(GONE),
            account=self.id,
        )

    def _overview_statuses(self):
        Member = self.env["crm.mailchimp.member"]
        counts = Counter(self._count_statuses([]))
        # All are counted by an index, minus the few whose contacts the user may not
        # read: the same result as with the rules on members, which look at every
        # contact.
        readable = self.env["ir.rule"]._compute_domain("res.partner", "read")
        if not self.env.su and not readable.is_true():
            partners = self.env["res.partner"].sudo().with_context(active_test=False)
            hidden = partners._search(~readable)
            counts.subtract(self._count_statuses([("partner_id", "in", hidden)]))
        return [
            {"status": status, "label": label, "count": counts[status]}
            for status, label in Member._fields["status"]._description_selection(
                self.env
            )
            if counts.get(status)
        ]

    # === RUNS === #

    def _overview_runs(self, now):
        stats = self.env["crm.mailchimp.run"].search(
            [
                ("account_id", "=", self.id),
                ("kind", "=", "stats"),
                ("state", "=", "done"),
            ],
            limit=1,
        )
        run = self.open_run_id
        return {
            "last_sync": fields.Datetime.to_string(self.last_sync_date) or False,
            "last_results": fields.Datetime.to_string(stats.ended_at) or False,
            "under_way": run.progress_label if run else False,
            "next": fields.Datetime.to_string(self._next_run(now)) or False,
            "started": self.push_enabled,
            "paused": self.is_paused,
            "problem": self.health_message or False,
        }

    def _next_run(self, now):
        """Return when the next run begins; ``None`` if none does by itself."""
        cron = self.env.ref("crm_mailchimp.ir_cron_push").sudo()
        if self.state != "linked" or not cron.active or self._is_copy():
            return None
        if not self.push_enabled:
            # Runs only read what changed in Mailchimp; contacts are not sent.
            return None
        if self.open_run_id.state == "waiting" and self.open_run_id.resume_at:
            return max(self.open_run_id.resume_at, now)
        if self._push_due(now):
            return max(cron.nextcall, now)
        return self._nights(now)[1]
