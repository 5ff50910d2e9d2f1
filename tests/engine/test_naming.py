from engine.naming import free_name, is_name_of


def test_a_name_that_is_taken_gets_a_suffix():
    assert free_name("Ghent", ["Paris"]) == "Ghent"
    assert free_name("Ghent", ["GHENT"]) == "Ghent (CRM)"
    assert free_name("Ghent", ["ghent", "Ghent (crm)"]) == "Ghent (CRM) 2"


def test_the_suffix_fits_into_the_length():
    title = "x" * 100
    name = free_name(title, [title])
    assert name == "x" * 94 + " (CRM)"
    second = free_name(title, [title, name])
    assert len(second) == 100 and second.endswith(" (CRM) 2")
    assert is_name_of(name, title) and is_name_of(second, title)


def test_which_names_may_have_been_given():
    for name in ("Ghent", "Ghent (CRM)", "Ghent (CRM) 2", "Ghent (CRM) 12"):
        assert is_name_of(name, "Ghent")
    for name in ("Gent", "Ghent (CRM) 1", "Ghent (CRM) x", "Ghent 2", "", None):
        assert not is_name_of(name, "Ghent")
    assert is_name_of("Ghent (CRM) (CRM)", "Ghent (CRM)")
