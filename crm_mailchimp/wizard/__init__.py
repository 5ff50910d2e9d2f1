from . import choose_audience
