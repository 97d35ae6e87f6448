"""The screen: shows what a service returns."""
