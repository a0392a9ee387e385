"""Binance USDⓈ-M futures: perpetuals quoted in USDT."""
