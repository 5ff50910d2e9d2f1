from . import consent_report
from . import dossier_report
