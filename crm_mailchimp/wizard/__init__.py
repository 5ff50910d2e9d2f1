from . import add_tag
from . import choose_audience
from . import create_audience
