import logging
import time
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import SQL

from ..engine import errors
from ..engine.address import member_hash
from ..engine.observe import agreed_since, utc
from ..engine.plan import REACHABLE
from ..engine.vocabulary import PUSHES, SAID
from .eligibility import SEVERAL
from .slices import end_of_job

_logger = logging.getLogger(__name__)

# Seconds of work per tick, for all accounts. Requests in flight then come on top, and
# both must stay well under Odoo's time limit for a job.
LANE_SECONDS = 25
# Seconds to connect, and for each part of an answer: one call that hangs must not take
# the tick from the others. The next tick tries it again.
LANE_TIMEOUT = (5, 15)
# Calls in a row without an answer that end a tick.
FAILURES = 8
# Age of the opt-outs that the account's summary covers.
SHOWN = timedelta(days=30)
# Age of a waiting opt-out from which somebody should look into it.
LATE = timedelta(minutes=30)


class Leaving(NamedTuple):
    """A member of the ledger whose contact said no.

    :param status: the ledger's; ``None`` while the call that adds it may be under way
    :param since: when the "no" was said
    :param sending: the operation whose call got no answer, if there is one
    :param sent_at: when that call was made
    :param contact_ref: Mailchimp's id of the person
    :param refused: whether Mailchimp refused something of it
    """

    id: int
    email: str
    status: str | None
    since: datetime
    sending: str | None
    sent_at: datetime | None
    contact_ref: str | None
    refused: bool


class CrmMailchimpAccount(models.Model):
    """The lane of opt-outs: whoever said no in Odoo leaves first, no matter what.

    It has its own scheduled action, every few minutes and right after an opt-out: it
    waits for no pull, segment, brake or batch, and works with pushing off and in every
    state of the account that has a key. Each member is looked at before (archiving must
    not hide an unsubscribe) and afterwards.
    """

    _inherit = "crm.mailchimp.account"

    opt_out_summary = fields.Char(string="Opt-outs", compute="_compute_opt_outs")
    opt_out_waiting = fields.Integer(
        string="Opt-outs waiting", compute="_compute_opt_outs"
    )
    opt_out_oldest = fields.Datetime(
        string="Oldest opt-out waiting", compute="_compute_opt_outs"
    )
    opt_out_error = fields.Char(readonly=True, copy=False)

    def _compute_opt_outs(self):
        self.env["crm.mailchimp.member"].flush_model()
        now = self._mailchimp_now()
        rows = self.env.execute_query(
            SQL(
                """SELECT account_id, COUNT(*),
                          MAX(opt_out_confirmed_at - opt_out_at)
                     FROM crm_mailchimp_member
                    WHERE account_id = ANY(%s) AND opt_out_at > %s
                      AND opt_out_confirmed_at IS NOT NULL
                 GROUP BY account_id""",
                self.ids,
                now - SHOWN,
            )
        )
        found = {account_id: numbers for account_id, *numbers in rows}
        for account in self:
            confirmed, slowest = found.get(account.id, (0, None))
            # Include those the lane has not come to: it may be switched off.
            live = account.active and account.audience_ref and account.id
            waiting = [
                leaving.since
                for leaving in live and account._opt_outs_to_send() or ()
                if leaving.status
            ]
            account.opt_out_waiting = len(waiting)
            account.opt_out_oldest = min(waiting, default=False)
            asked, summary = confirmed + len(waiting), False
            if confirmed:
                summary = self.env._(
                    "In the last 30 days: %(asked)s; confirmed by Mailchimp: "
                    "%(confirmed)s; slowest: %(minutes)s min",
                    asked=asked,
                    confirmed=confirmed,
                    minutes=max(1, round(slowest.total_seconds() / 60)),
                )
            elif asked:
                summary = self.env._(
                    "In the last 30 days: %s; none confirmed by Mailchimp yet", asked
                )
            account.opt_out_summary = summary

    @api.depends("opt_out_error")
    def _compute_health_message(self):
        """Add late opt-outs: any mail sent in the meantime is one too many."""
        result = super()._compute_health_message()
        for account in self.filtered("audience_ref"):
            if not account._opt_outs_are_late():
                continue
            sentence = self.env._(
                "Opt-outs not sent to Mailchimp yet: %(count)s; the oldest is from "
                "%(date)s UTC.",
                count=account.opt_out_waiting,
                date=fields.Datetime.to_string(account.opt_out_oldest),
            )
            remedy = account.opt_out_error or self.env._(
                "Check that the scheduled action “Mailchimp: send opt-outs” is "
                "active, and send no campaign until they are sent."
            )
            account.health_message = "\n".join(
                filter(None, [account.health_message, f"{sentence} {remedy}"])
            )
        return result

    def _opt_outs_are_late(self):
        """Return whether an opt-out has been waiting longer than it should."""
        self.ensure_one()
        now = self._mailchimp_now()
        return bool(self.opt_out_oldest and now - self.opt_out_oldest > LATE)

    @api.model
    def _wake_opt_outs(self):
        """Start the lane right after the transaction."""
        cron = self.env.ref("crm_mailchimp.ir_cron_opt_out", raise_if_not_found=False)
        if cron and self.sudo().search_count([("audience_ref", "!=", False)], limit=1):
            cron.sudo()._trigger()

    # === SCHEDULED ACTION === #

    @api.model
    def _cron_opt_out(self):
        """Send the opt-outs of all accounts, with fair shares of one time budget."""
        commit = self.env["ir.cron"]._commit_progress
        accounts = self.browse()
        for account in self.search([("audience_ref", "!=", False)]):
            if not account.sudo().api_key_secret:
                continue
            if account._is_copy():
                account._stop_elsewhere()
            elif account._opt_outs_to_send():
                accounts |= account
        commit(remaining=len(accounts))
        last, end = time.monotonic() + LANE_SECONDS, end_of_job()
        again = False
        for turn, account in enumerate(accounts):
            now, left = time.monotonic(), len(accounts) - turn
            again |= account._opt_out_slice(
                now + max(0, last - now) / left, now + (end - now) / left
            )
            commit(1)
        cron = self.env["ir.cron"].browse(self.env.context.get("cron_id"))
        if again and cron:
            # Odoo puts a partly done job back without waking it up.
            cron._trigger()
        commit(remaining=0)

    def _is_pushing(self):
        """Return whether a push, which opt-outs overtake, has requests in flight.

        Accounts of one Mailchimp user share its limit on simultaneous requests.
        """
        return bool(
            self.env["crm.mailchimp.run"].search_count(
                [("state", "=", "running"), ("kind", "in", PUSHES)], limit=1
            )
        )

    def _send_opt_outs_now(self):
        """Send the opt-outs of this account at once, for at most the lane's time."""
        now = time.monotonic()
        self._opt_out_slice(now + LANE_SECONDS, now + LANE_SECONDS)

    def _opt_out_slice(self, deadline, end):
        """Send the opt-outs of this account until the time is up.

        :param float deadline: monotonic time after which no new request is started
        :param float end: monotonic time that no request outlasts
        :return: whether some are left that can go on at once
        """
        self.ensure_one()
        gateway = None
        try:
            gateway = self._gateway(
                timeout=LANE_TIMEOUT, max_in_flight=1 if self._is_pushing() else 4
            )
            gateway.until(end)
            if self._check_lease(gateway) == "other":
                return False
            settled, _archived = self._send_opt_outs(gateway, deadline)
            self._note_account(gateway)
            return bool(settled and self._opt_outs_to_send())
        except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
            self.env.cr.rollback()
            return True
        except (errors.MailchimpError, UserError) as error:
            self.env.cr.rollback()
            _logger.info("Mailchimp opt-outs of account %s wait: %s", self.id, error)
            self._tell_opt_out_error(self._error_sentence(error))
            self._stop_if_lost(error)
            return False
        except Exception:
            # One account must never stop the others.
            self.env.cr.rollback()
            _logger.exception("Mailchimp opt-outs of account %s failed", self.id)
            return False
        finally:
            if gateway:
                gateway.close()

    def _stop_if_lost(self, error):
        """Stop the account if a second look confirms the error."""
        passing = isinstance(error, (*errors.PASSING, UserError))
        if passing or self.state == "error":
            return
        try:
            trouble = self._second_look()
        except errors.PASSING:
            return
        if trouble:
            self._set_error(trouble)

    def _tell_opt_out_error(self, sentence):
        if (self.opt_out_error or False) != sentence:
            self.sudo().opt_out_error = sentence

    # === THE WORK === #

    def _opt_outs_to_send(self):
        """Return the members that must leave.

        Set-based on the do-not-email list and the ledger, so an opt-out is found again
        until Mailchimp has confirmed it, whatever happens in between. The address of a
        "no" counts, and so does the contact of an opt-out, whose address may have
        changed since. A member is ours to remove once an eligible contact had its
        address: if it was only in Mailchimp and the contact opted out before the
        audience was linked, a person has to decide.

        :return: list of :class:`Leaving`; those tried in vain before come last
        """
        self.ensure_one()
        self._flush_contacts()
        rows = self.env.execute_query(
            SQL(
                """SELECT id, email_normalized, status, MAX(date), sending, sent_at,
                          contact_ref, next_try IS NOT NULL
                     FROM (
                     SELECT m.id, m.email_normalized, m.status, m.sending, m.sent_at,
                            m.contact_ref, m.next_try,
                            -- Of one before linking, since when somebody decided so.
                            GREATEST(s.date, m.opt_out_at) AS date
                       FROM crm_mailchimp_suppression s
                       JOIN crm_mailchimp_member m
                         ON m.account_id = %(account)s
                        AND m.email_normalized = s.email_normalized
                      WHERE %(to_look_at)s
                        AND s.lifted_by IS DISTINCT FROM 'mailchimp'
                        AND (s.source <> 'mailchimp'
                             OR s.kind IN %(said)s
                                AND s.audience_ref IS DISTINCT FROM %(audience)s
                                -- Whom Mailchimp asks to come back may answer.
                                AND m.operation IS DISTINCT FROM 'ask'
                                AND COALESCE(m.asked_at < s.date, TRUE))
                        AND (m.origin <> 'foreign' OR %(was_eligible)s)
                  UNION ALL
                     SELECT m.id, m.email_normalized, m.status, m.sending, m.sent_at,
                            m.contact_ref, m.next_try, c.date
                       FROM crm_mailchimp_consent c
                       JOIN res_partner p ON p.id = c.partner_id
                       JOIN crm_mailchimp_member m
                         ON m.account_id = %(account)s AND m.partner_id = p.id
                      WHERE c.kind = 'out' AND p.mailchimp_opt_in IS NOT TRUE
                        AND %(to_look_at)s
                        AND (m.origin <> 'foreign' OR %(is_renamed)s)
                   ) leaving
                GROUP BY id, email_normalized, status, sending, sent_at, contact_ref,
                         next_try
                ORDER BY MAX(date), id""",
                account=self.id,
                audience=self.audience_ref,
                said=SAID,
                is_renamed=self._is_renamed_condition(),
                # Reachable; or on its way there, as its call may be under way; or asked
                # to leave before, when nobody could check whether it did.
                to_look_at=SQL(
                    "(m.status IN ('subscribed', 'pending') OR m.status IS NULL"
                    " AND m.operation IN ('create', 'move', 'read', 'ask')"
                    " OR m.status IS NOT NULL AND m.opt_out_at IS NOT NULL"
                    " AND m.opt_out_confirmed_at IS NULL)"
                ),
                was_eligible=self._was_eligible_condition(),
            )
        )
        # An address with another contact who agreed stays. Without the account's
        # conditions: a broken one must not hold up an opt-out.
        found = [Leaving(*row) for row in rows]
        eligible = found and self._eligible_emails(
            [row.email for row in found], scoped=False
        )
        return sorted(
            (row for row in found if row.email not in eligible),
            key=lambda row: bool(row.sending or row.refused),
        )

    def _was_eligible_condition(self):
        """Return ``SQL``: the "no" ``s`` ended an opt-in while the audience was linked.

        Only an opt-in that ends leaves an opt-out; a blacklist entry leaves the opt-in
        as it is. Runs claim the members of eligible contacts, so this is about contacts
        that came and went between two runs. Whether those were of the chosen kind and
        in scope cannot be known afterwards: what decides it may have changed along with
        the opt-in. When in doubt, the "no" counts.
        """
        return SQL(
            """(s.date >= %s AND (s.source = 'odoo' OR s.source = 'blacklist'
                AND EXISTS (SELECT FROM res_partner p
                             WHERE (p.email_normalized = s.email_normalized OR %s)
                               AND p.mailchimp_opt_in
                               AND p.mailchimp_opt_in_date <= s.date
                               AND EXISTS (SELECT FROM (%s) a
                                            WHERE a.email = s.email_normalized))))""",
            self.linked_at or self.create_date,
            SQL(SEVERAL) if self.email_scope == "all" else SQL("FALSE"),
            self._addresses_sql(),
        )

    def _send_opt_outs(self, gateway, deadline):
        """Archive members whose contacts said no, and note what Mailchimp confirms.

        :return: ``(settled, archived)``: how many are gone or have said yes since, and
            how many of them these calls removed
        :raise MailchimpError: the first one that is not about a single member
        """
        rows = self._opt_outs_to_send()
        if not rows:
            return 0, 0
        Member = self.env["crm.mailchimp.member"]
        Member._update_rows(
            ("opt_out_at", "opt_out_confirmed_at"),
            [(row.id, row.since, None) for row in rows if row.status],
        )
        # Whatever else was planned or is under way for them, this is what counts.
        now = self._mailchimp_now()
        # A contact may have left the address, which no run has noted yet.
        self.env.cr.execute(
            SQL(
                "UPDATE crm_mailchimp_member SET left_at = %s"
                " WHERE id = ANY(%s) AND left_at IS NULL",
                now,
                [row.id for row in rows],
            )
        )
        Member._update_rows(
            ("operation", "cause", "sending", "sent_at", "wanted", "batch_ref"),
            [
                (row.id, "archive", "opt_out", "archive", now, False, None)
                for row in rows
                if row.status
            ],
        )
        self.env["ir.cron"]._commit_progress()
        # Somebody who has said yes in Mailchimp since may stay for another contact:
        # what the look shows is noted first, and the next turn removes whoever still
        # has to leave.
        calls = (
            (
                row,
                gateway.let_go,
                self.audience_ref,
                member_hash(row.email),
                partial(agreed_since, row.status, no_at=row.since),
                row.contact_ref,
            )
            for row in rows
        )
        # One failure is no reason to skip the others; several in a row are.
        trouble, in_a_row, refusal, settled, archived = None, 0, None, 0, 0
        forbidden, refused = None, []
        unsent = {row.id: row for row in rows if row.status}

        def enough():
            lost = trouble and not isinstance(trouble, errors.PASSING)
            return lost or in_a_row >= FAILURES or time.monotonic() >= deadline

        for outcomes in gateway.map(calls, enough):
            for row, outcome in outcomes:
                if getattr(outcome, "outcome_unknown", True):
                    unsent.pop(row.id, None)
                if isinstance(outcome, (errors.Rejected, errors.MemberForbidden)):
                    refusal = self._error_sentence(outcome)
                    refused.append(row.id)
                    if isinstance(outcome, errors.MemberForbidden):
                        forbidden, in_a_row = outcome, in_a_row + 1
                elif isinstance(outcome, errors.MailchimpError):
                    trouble, in_a_row = outcome, in_a_row + 1
                else:
                    in_a_row = 0
                    gone = self._record_opt_out(row, outcome, gateway)
                    # A member that was only looked at had left before, whoever did it.
                    seen, left = outcome
                    archived += gone and left is not seen
                    settled += gone or bool(seen) and left is seen
            self.env["ir.cron"]._commit_progress()
        # Somebody else's archiving must not pass for a call that was never made.
        Member._update_rows(
            ("sending", "sent_at"),
            [(row.id, row.sending, row.sent_at) for row in unsent.values()],
        )
        Member._update_rows(
            ("next_try",), [(row_id, fields.Datetime.now()) for row_id in refused]
        )
        self.env["ir.cron"]._commit_progress()
        if forbidden and not trouble:
            # Not for one member, or for none? So many in a row are no coincidence.
            if in_a_row >= FAILURES or self._second_look():
                trouble = forbidden
        if trouble:
            raise trouble
        self._tell_opt_out_error(refusal or False)
        return settled, archived

    def _record_opt_out(self, row, outcome, gateway):
        """Note what became of one member.

        :param row: its :class:`Leaving`
        :param outcome: what :meth:`.Gateway.let_go` returned
        :param gateway: the gateway that was used
        :return: whether Mailchimp confirmed that it left
        :raise NotFound: when the audience itself is gone
        """
        (seen, left), now = outcome, gateway.clock()
        Member = self.env["crm.mailchimp.member"]
        if left is None:
            if row.status is None:
                return False  # it was not there yet: its call may be under way
            self._note_gone(gateway, [(row.id, row.email, row.status)])
            Member._update_rows(("opt_out_confirmed_at",), [(row.id, now)])
            return True
        if left["email_address"].lower() != row.email:
            row = self._follow_renamed(row, seen, now)
        if left is seen:
            # This call sent nothing. Unless an earlier one did, the person said so, or
            # somebody archived the member in Mailchimp.
            Member._update_rows(
                ("sending", "sent_at"), [(row.id, row.sending, row.sent_at)]
            )
        self._apply_seen([seen])
        if left["status"] in REACHABLE:
            return False
        if left is not seen:
            Member._update_rows(
                (
                    *("status", "status_before", "archived_by", "last_changed"),
                    # An earlier refusal must not keep it from coming back.
                    *("reason", "reason_text", "values_refused", "next_try"),
                ),
                [
                    (
                        row.id,
                        left["status"],
                        seen["status"],
                        "odoo" if left["status"] == "archived" else None,
                        utc(left.get("last_changed")),
                        *(None, None, None, None),
                    )
                ],
            )
        Member._update_rows(
            ("operation", "sending", "wanted", "opt_out_confirmed_at"),
            [(row.id, None, None, False, now)],
        )
        if row.refused and not Member.browse(row.id).reason:
            # Mailchimp refused the look that would have confirmed it earlier.
            Member._update_rows(("next_try",), [(row.id, None)])
        if row.status is None:
            Member._update_rows(("opt_out_at",), [(row.id, row.since)])
        return True

    def _follow_renamed(self, row, seen, now):
        """Note the address a person has in Mailchimp by now.

        :param row: the :class:`Leaving` of the former address
        :param seen: the member
        :param now: Mailchimp's time
        :return: the :class:`Leaving` of the new address
        """
        email = seen["email_address"].lower()
        Member = self.env["crm.mailchimp.member"]
        Member._update_rows(("opt_out_confirmed_at",), [(row.id, now)])
        self._apply_seen([seen])
        self._note_renamed([(row.id, email)])
        member = Member.search(
            [("account_id", "=", self.id), ("email_normalized", "=", email)]
        )
        return row._replace(
            id=member.id, email=email, status=seen["status"], sending=None, sent_at=None
        )
