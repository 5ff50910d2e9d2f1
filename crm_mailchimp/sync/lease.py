import logging

from ..engine.lease import Leased, NotOurs
from .phase import Phase

_logger = logging.getLogger(__name__)


class LeaseCheck(Phase):
    """Checks whose audience it is before a run writes to it: see the account's lease.

    A database that is older than what Mailchimp has seen may have forgotten who opted
    out. It reads the whole audience, plans, and waits for a manager; opt-outs carry on.
    """

    def leased(self):
        """Return the gateway, which makes sure of the lease before it writes."""
        found = None

        def hold(opt_outs_only):
            nonlocal found
            found = found or self.account._find_mark(self.gateway)
            found = self._hold(*found, opt_outs_only) or found

        return Leased(self.gateway, hold)

    def _hold(self, ref, mark, verdict, opt_outs_only):
        """Make sure that this run may write, and write the mark once.

        :return: the new mark, as ``_find_mark`` returns it; ``None`` if it stays
        :raise NotOurs: nothing may be written
        """
        account = self.account
        decided = account._decided(mark, verdict)
        if decided == "other" or decided == "older" and not opt_outs_only:
            raise NotOurs(decided, mark)
        if opt_outs_only or self.cursor.lease:
            return None
        if (account.lease or {}).get("must_read"):
            if not self.cursor.full_read:
                raise NotOurs("unread")
            if not mark or mark.nonce not in account._known_nonces():
                account._forget_own_archiving()
        found = account._write_mark(self.gateway, self.commit, ref, mark)
        self.set_cursor(lease=True)
        return found

    def not_ours(self, verdict, mark):
        """Do what has to be done before anything may be written.

        :param str verdict: as in :class:`.NotOurs`
        :param mark: the mark found in Mailchimp, or ``None``
        :return: whether the run is over
        """
        account = self.account
        if verdict == "other":
            account._stop_elsewhere(mark)
            self.run._end("failed", account.error_message)
            return True
        if verdict == "older":
            _logger.info("The database is older than what Mailchimp has seen.")
            account._set_lease(must_read=True, seen=mark.nonce)
            self.set_cursor(older=mark.nonce)
        # Read everything and plan anew.
        self.set_cursor(diff=None, step=None, segment=None, groups=None)
        self.run.write({"kind": "full", "phase": False})
        return False
