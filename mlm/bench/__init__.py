"""Measuring a server: load, percentiles, rating."""
