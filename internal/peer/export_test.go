package peer

import "crypto/tls"

// TLS is the form of a connection between nodes, for tests that speak on it by hand.
func TLS(k *Key) *tls.Config { return k.config() }
