import math
import time

from ..engine import errors


class OutOfTime(Exception):
    """The slice is over: what was done is committed, and the next slice continues."""


class Phase:
    """A step of a run, working until it is done or its slice of time is over.

    State that must survive between slices is kept on the run, in its cursor and its
    counters, which are committed with the data they describe. A run that was killed
    resumes its phase from there.

    :param run: the ``crm.mailchimp.run``
    :param gateway: the :class:`~..engine.gateway.Gateway` of its account
    :param float deadline: monotonic time after which no new work is begun
    """

    def __init__(self, run, gateway, deadline):
        self.run = run
        self.gateway = gateway
        self.deadline = deadline
        self.notified_at = -math.inf

    def work(self):
        """Work until done or out of time.

        :return: the name of the phase that follows, ``"done"`` after the last one, or
            ``None`` when this one goes on in the next slice
        """
        raise NotImplementedError

    @property
    def env(self):
        return self.run.env

    @property
    def account(self):
        return self.run.account_id

    @property
    def cursor(self):
        """Where the run is: a :class:`~..engine.json_columns.Cursor`, to read only."""
        return self.run._get_cursor()

    def set_cursor(self, **values):
        """Change keys of the cursor; ``None`` removes one."""
        self.run._set_cursor(**values)

    def count(self, **numbers):
        """Add to the counters of the run."""
        self.run._count(**numbers)

    def commit(self):
        """Keep what was done so far (a preview keeps nothing)."""
        self.run._commit()

    def checkpoint(self):
        """Commit what was done, and notify users of how far the run has got.

        They are notified at most once a second, but always when a run ends.
        """
        if time.monotonic() - self.notified_at > 1:
            self.run._notify()
            self.notified_at = time.monotonic()
        self.commit()

    def is_full(self):
        """Return whether this run has found that Mailchimp takes nobody new."""
        return bool(self.cursor.no_room)

    def beside(self, phase):
        """Return another phase of the same slice, for work that both need.

        :param phase: its class
        """
        return phase(self.run, self.gateway, self.deadline)

    def is_over(self):
        """Return whether the time of this slice is used up."""
        return time.monotonic() >= self.deadline

    def each_segment(self, segments):
        """Yield segments of the account, from where the last slice stopped.

        What is done to each is kept. One that Mailchimp refuses does not come first
        again in every slice.

        :raise OutOfTime: when others may be left for another slice
        """
        for segment in segments.sorted("id"):
            if segment.id <= self.cursor.segment:
                continue
            yield segment
            self.set_cursor(segment=segment.id)
            if self.is_over():
                self.commit()
                raise OutOfTime
        self.set_cursor(segment=None)

    def ask_each(self, calls, keep):
        """Ask many things, several at once; what each answer says is kept at once.

        However slow Mailchimp is, each slice gets some answers: the first calls go even
        when its time is over. One that fails does not take the others' answers along.

        :param list calls: ``(key, function, *arguments)``, for the gateway's ``map``;
            in the next slice without those whose answers were kept
        :param keep: called with ``{key: reply}`` of a few; what it does is committed
        :raise OutOfTime: when others are left for another slice
        :raise MailchimpError: the first error
        """
        answered, trouble = 0, []

        def enough():
            return trouble or answered and self.is_over()

        for outcomes in self.gateway.map(calls, enough):
            replies = dict(outcomes)
            for key, reply in outcomes:
                if isinstance(reply, errors.MailchimpError):
                    trouble.append(replies.pop(key))
            if replies:
                keep(replies)
                self.commit()
            answered += len(replies)
        if trouble:
            raise trouble[0]
        if answered < len(calls):
            raise OutOfTime
