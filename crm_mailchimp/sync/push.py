import time

from ..engine import errors
from ..engine.lease import NotOurs
from .brake import Brake
from .compare import Compare
from .consent import ConsentUpdate
from .lease import LeaseCheck
from .phase import OutOfTime, Phase
from .pull import Pull
from .segments import Segments
from .send import Send, Verify
from .webhooks import Deliveries

PHASES = {
    "segments": Segments,
    "diff": Compare,
    "brake": Brake,
    "send": Send,
    "verify": Verify,
}
# The time a slice has for its phases in any case: reading changes from a slow Mailchimp
# must not use up every slice.
PHASE_SECONDS = 10
# How many attempts of a run may end with an opt-out that Mailchimp does not answer.
OPT_OUT_TRIES = 3


class Push(Phase):
    """Runs of kind *push* and *full*: the order in which everything happens.

    Every slice begins with what was said meanwhile: members that opted out are
    archived, changes are read from Mailchimp, and the opt-ins of those who said no
    there are removed. Then the run goes on with its phase. Nothing is written before it
    is certain that the audience is this database's.
    """

    def work(self):
        """Work until the run is over, waits, or the time is up.

        :return: ``False`` when work remains that can go on at once
        """
        check = self.beside(LeaseCheck)
        self.gateway = check.leased()
        try:
            return self._work()
        except OutOfTime:
            return False
        except NotOurs as refused:
            self.env.cr.rollback()
            return check.not_ours(refused.verdict, refused.mark)

    def _work(self):
        self._opt_outs_first()
        deliveries = self.beside(Deliveries)
        last = deliveries.last_waiting()
        self.beside(Pull).work()
        deliveries.settle(last)
        self.deadline = self._at_least(PHASE_SECONDS)
        self.beside(ConsentUpdate).work()
        # Again, for members that this reading was the first to show.
        self._opt_outs_first()
        if not self.account.push_enabled:
            self.account._claim_members()
            self.run._end("done")
            return True
        while True:
            following = self._next_phase()
            if following == "done":
                self.run._end("done")
                self._tell_findings()
                return True
            if following == "wait":
                return True
            if following:
                self.run.phase = following
            if following != "brake":
                # The brake counts what was just planned: one commit for both.
                self.checkpoint()
            if self.is_over():
                return False

    def _at_least(self, seconds):
        """Return a deadline that leaves so much time, however long it took to get here.

        What is begun last needs as much time again for its answer.
        """
        seconds = min(seconds, self.gateway.patience() / 2)
        return max(self.deadline, time.monotonic() + seconds)

    def _next_phase(self):
        """Work on the phase the run has come to.

        :return: as :meth:`.Phase.work`, or ``"wait"`` when the run waits
        """
        name = self.run.phase or "segments"
        if self.run.phase != name:
            self.run.phase = name
        if name == "segments":
            if self.run._asks_as_older():
                # Changes are only planned; groups and fields are created afterwards.
                self.account._forget_own_archiving()
                return "diff"
            lease = self.account.lease or {}
            if lease.get("take") or lease.get("must_read"):
                # Even if nothing is sent: the other database has to stop.
                self.gateway.hold()
        phase = self.beside(PHASES[name])
        if name == "send":
            self.gateway.hold()
            # However long that took, there is time to send something.
            phase.deadline = self._at_least(PHASE_SECONDS)
        return phase.work()

    def _opt_outs_first(self):
        """Archive those who opted out before anything else; do not wait for the lane.

        One member that Mailchimp cannot let go must not hold up all others forever.
        """
        self.gateway.opt_outs_only = True
        try:
            _settled, archived = self.account._send_opt_outs(
                self.gateway, self.deadline
            )
            self.count(archived=archived)
            told = self.cursor.let_go + archived
            self.set_cursor(let_go=told or None)
        except (*errors.PASSING, errors.MemberForbidden):
            if self.run.attempts < OPT_OUT_TRIES:
                raise
        self.gateway.opt_outs_only = False

    def _tell_findings(self):
        """Log in the chatter how much a full comparison repaired."""
        repaired = (self.run.counters or {}).get("repaired")
        if self.run.read_all and repaired:
            self.account._message_log(
                body=self.env._(
                    "Comparing the whole audience with Odoo found unexplained"
                    " differences and fixed them. Differences: %s.",
                    repaired,
                )
            )
