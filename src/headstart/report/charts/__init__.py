"""Each chart of a report: a pure function of a small table to an Altair chart, one file a chart."""
