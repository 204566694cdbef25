"""How far data and answers can be trusted: probable label errors, sets that cover, answers that are withheld."""
