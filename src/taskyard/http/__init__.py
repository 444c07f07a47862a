"""The kit the faces share: what a dialect provides, and the one way a request is answered."""
