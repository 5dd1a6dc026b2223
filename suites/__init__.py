"""The product's checks: plain pytest, run by `meshmark run`."""
