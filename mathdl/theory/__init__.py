"""The mathematics: definitions as plain loops, and propositions with the checks that show them."""
