"""Who may call what, and how often.

`caller` says who calls and what they may, `tokens` verifies what they show: a JSON Web Token, whose
public keys `jwks` fetches, or an API key, which `keys` keeps in a file. `limits` counts calls, and
`address` finds out whose they are behind named proxies.
"""
