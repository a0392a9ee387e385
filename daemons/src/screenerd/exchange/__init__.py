"""Exchanges, one folder each: everything that is peculiar to one stays in its folder."""
