"""The command `cobot`: one module a verb, each a thin door to the library."""
