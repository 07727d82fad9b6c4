"""Offers: SkyPilot's catalogs, the shipped list prices, this machine."""
