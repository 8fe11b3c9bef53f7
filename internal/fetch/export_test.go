package fetch

import (
	"crypto/tls"
	"crypto/x509"
)

// Trust makes c accept the certificates of a test server for one purpose.
func Trust(c *Client, purpose string, roots *x509.CertPool) {
	c.pool(purpose).TLSClientConfig = &tls.Config{RootCAs: roots}
}
