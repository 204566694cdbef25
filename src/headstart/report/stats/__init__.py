"""The statistics of a comparison: numbers in, numbers out, without files or drawing.

`headstart.report.stats.rule` says which differences are shown, and why so.
"""
