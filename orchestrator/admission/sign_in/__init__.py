"""Sign-in by OpenID Connect: tokens of an issuer, its keys, and who somebody is by them."""
