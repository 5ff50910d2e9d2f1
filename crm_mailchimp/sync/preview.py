import json
import tempfile
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta

from odoo import fields

from ..engine import errors
from ..engine.dry_run import DryRun
from ..engine.vocabulary import PUSHES
from .brake import Brake
from .groups import Groups
from .phase import OutOfTime, Phase
from .preview_lines import Line, PreviewLines
from .pull import Pull

# When to look again whether another run is done with reading.
POLL = timedelta(minutes=1)
COLUMNS = ", ".join(Line._fields)


class Preview(Phase):
    """Runs of kind *preview*: the phases of a real run, with nothing kept.

    They work on a gateway that only reads and in a transaction that is rolled back, so
    a preview shows exactly what the next run would do. Its lines go to a file first,
    because the rollback would discard them, too. What Mailchimp holds is read before
    and stays in the ledger, as a large audience takes several slices.
    """

    def __init__(self, run, gateway, deadline):
        super().__init__(run, DryRun(gateway), deadline)

    def work(self):
        """Read what Mailchimp holds, then make the preview and store its lines.

        :return: ``False`` when work remains that can go on at once
        """
        readers = self._readers()
        if readers:
            self.set_cursor(read_all=None)
            if set(readers.mapped("state")) == {"queued"}:
                return False  # this job, or the next one, enters them
            at = fields.Datetime.now() + POLL
            self.run.write({"state": "waiting", "resume_at": at})
            self.env.ref("crm_mailchimp.ir_cron_push")._trigger(at=at)
            return True
        if self.run.phase != "diff" or self.run.attempts:
            try:
                self._read()
            except OutOfTime:
                return False
            if self.is_over():
                return False
        # The rest has to be made in one go: it leaves nothing to go on from.
        now, left = time.monotonic(), self.gateway.patience()
        self.deadline = now + left / 2
        with tempfile.TemporaryFile("w+") as spool:
            counters, lines = Counter(), self.beside(PreviewLines)
            for line in lines.all():
                counters[line.action] += 1
                json.dump(line, spool)
                spool.write("\n")
                # What is listed has to be stored, too.
                if time.monotonic() > now + left * 2 / 3:
                    lines.is_partial = True
                    break
            sentences = [lines.is_partial and self._partial_sentence(), self._brake()]
            self.env.cr.rollback()
            self._store_lines(spool)
        self.run.counters = dict(counters)
        self.set_cursor(left_out=dict(lines.left_out) or None, groups=None)
        self.run._end("done", " ".join(filter(None, sentences)) or None)
        return True

    def _readers(self):
        """Return other runs that read the whole audience, or have to.

        Of two at once, each would take members for gone that the other has just seen.
        """
        others = self.env["crm.mailchimp.run"].search(
            [
                ("account_id", "=", self.account.id),
                ("kind", "in", (*PUSHES, "webhook")),
                ("state", "in", ("queued", "running", "waiting")),
            ]
        )
        unread = self.account._pulled_until() is None
        return others.filtered(lambda run: unread or run._get_cursor().read_all)

    def _read(self):
        """Bring the ledger up to what Mailchimp holds.

        :raise OutOfTime: when it goes on in another slice
        """
        account = self.account
        self.run.phase = "pull"
        self.beside(Pull).work()
        flagged = self.env["ir.filters"].search_count(
            [("mailchimp_sync", "=", True)], limit=1
        )
        if flagged and account.segment_target != "tag":
            # Where there are many categories, this takes time, too.
            with suppress(*errors.REFUSED):
                self.beside(Groups).read_groups()
        self.run.phase = "diff"
        self.env["ir.cron"]._commit_progress()

    def _store_lines(self, spool):
        spool.seek(0)
        self.env.cr.execute_values(
            # No contact where the run would create it, or where it is gone by now.
            f"INSERT INTO crm_mailchimp_preview_line (run_id, {COLUMNS})"  # pylint: disable=sql-injection
            " SELECT v.run_id, p.id, v.email_normalized, v.action, v.detail,"
            " v.entering, v.leaving"
            f" FROM (VALUES %s) AS v (run_id, {COLUMNS})"
            " LEFT JOIN res_partner p ON p.id = v.partner_id",
            ((self.run.id, *json.loads(line)) for line in spool),
            template="(%s, %s::int, %s, %s, %s, %s, %s)",
            page_size=1000,
        )
        self.env["crm.mailchimp.preview.line"].invalidate_model(flush=False)

    def _partial_sentence(self):
        """Return what to say when it is not all that the next run would do."""
        return self.env._(
            "This preview is incomplete, because Odoo limits how long a scheduled "
            "action may take. The next sync does what is not listed as well."
        )

    def _brake(self):
        """Return what the next run would say at the brake, if anything."""
        archives, sentence = self.beside(Brake).question()
        return sentence and self.env._(
            "The sync would ask a manager before archiving this many members: %s.",
            archives,
        )
