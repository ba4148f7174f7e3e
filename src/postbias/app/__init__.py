"""The pages for people who do not use a terminal, and the local servers behind them."""
