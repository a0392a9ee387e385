"""The built-in market: an exchange on loopback that speaks Binance USDⓈ-M's wire protocol."""

from screenerd.demo.archive import ArchiveFaults
from screenerd.demo.faults import Fault, Faults
from screenerd.demo.market import Market, MinuteSource
from screenerd.demo.recorded import RecordedMarket
from screenerd.demo.server import DemoExchange, Limits

__all__ = [
    "ArchiveFaults",
    "DemoExchange",
    "Fault",
    "Faults",
    "Limits",
    "Market",
    "MinuteSource",
    "RecordedMarket",
]
