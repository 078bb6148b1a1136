r"""A package of two modules, to try the weaving on."""
