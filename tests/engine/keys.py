"""A key of the right form, which opens nothing."""

KEY = "0123456789abcdef0123456789abcdef-us21"
