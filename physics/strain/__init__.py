"""Elastic fields of dislocations."""
