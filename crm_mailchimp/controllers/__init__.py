from . import login
from . import webhook
