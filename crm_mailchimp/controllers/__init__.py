from . import guide
from . import login
from . import webhook
