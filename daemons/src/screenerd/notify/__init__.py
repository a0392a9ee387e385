"""Tells alerts on Discord, Telegram and webhooks, from an outbox that loses none.

`channels` holds what a user configures and formats requests, `answers` reads what a target says to
them, `pacing` decides how many alerts share a message and when to try again, `guard` which
addresses may be reached, `sender` speaks HTTP, and `outbox` is the loop that ties them together.
"""
