"""Histories on a real Odoo: what happens in them, and what a run has to do then."""
