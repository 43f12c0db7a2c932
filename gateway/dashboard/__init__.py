"""The dashboard: pages for people, made from what the gateway's own API answers."""
