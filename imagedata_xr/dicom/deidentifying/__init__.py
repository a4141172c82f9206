"""De-identification by the confidentiality profile of PS3.15 Annex E: headers, labels, and what is behind them."""
