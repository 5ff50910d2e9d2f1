from . import campaign_report
from . import consent_report
from . import dossier_report
