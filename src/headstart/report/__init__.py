"""The report of a study: read its runs, group them, decide, and write table, plots and page."""
