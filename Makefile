# Everything is prepared below this folder (.env) and in the user's cache folder.
PYTHON ?= python3
export ODOO_PORT SIMULATOR_PORT ONCE KIND

.PHONY: help demo test lint shell bench pot clean distclean

help:
	@echo "make demo    Odoo with demo contacts and a simulated Mailchimp, connected"
	@echo "             (ONCE=1: print and stop again; ODOO_PORT, SIMULATOR_PORT)"
	@echo "make test    all tests (KIND='engine simulator odoo e2e', ARGS for pytest)"
	@echo "make lint    ruff and pylint-odoo"
	@echo "make shell   Odoo's shell on the demo database"
	@echo "make bench   measure against the floor"
	@echo "make pot     write the translation template"
	@echo "make clean   forget this clone's environment; distclean: the downloads too"

demo:
	@$(PYTHON) -m tools.demo

test:
	@$(PYTHON) -m tools.test $(ARGS)

lint shell bench pot clean distclean:
	@$(PYTHON) -m tools.chores $@
