"""What is handed to a reader: the page, its pictures and the CSV files beside it."""
