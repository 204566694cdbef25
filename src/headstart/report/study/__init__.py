"""What is compared: a study's folders are read, and its runs grouped over seeds."""
