"""The troubleshooting guide as data: what should be so, how it is looked at, why it matters, what mends it."""
