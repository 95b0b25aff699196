"""The arena: every policy on every traffic, load and SLO mix, ranked by its share of the clairvoyant bound."""
