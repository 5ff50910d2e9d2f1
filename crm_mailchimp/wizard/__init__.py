from . import add_tag
from . import choose_audience
from . import correct_email
from . import create_audience
from . import erase
from . import restore
