"""Studies: which imaging conditions a network must have seen, told with intervals."""
