"""All tests. A package, so that an installed package of the same name is not imported instead."""
