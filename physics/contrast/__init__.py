"""Diffraction contrast: from a displacement field to intensities."""
