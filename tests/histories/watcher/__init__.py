"""The steps of a history, and the judgement of what came of them."""
