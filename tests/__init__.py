"""All tests. A package, so that no installed package of the same name stands in for it."""
