"""The import of campaign results, which is what a run of kind *stats* does.

*campaigns* lists the campaigns of the audience, *reports* reads the totals of those
that are due (``next_poll``), *recipients* reads what each contact did, page by page.
"""

from .campaigns import CampaignListing
from .recipients import RecipientImport
from .totals import TotalsImport

PHASES = {
    "campaigns": CampaignListing,
    "reports": TotalsImport,
    "recipients": RecipientImport,
}


def import_results(run, gateway, deadline):
    """Work on a run of kind *stats* until it is done or the time is over.

    :return: whether it is done
    """
    while True:
        phase = PHASES[run.phase or "campaigns"](run, gateway, deadline)
        following = phase.work()
        if following == "done":
            run._end("done")
            return True
        if following:
            run.phase = following
        phase.checkpoint()
        if phase.is_over():
            return False
