package peer

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/argon2"

	"tributary/internal/crypt"
)

// minSecret is the least length of the operator's secret, in bytes.
const minSecret = 16

// Key is what the nodes of one installation have in common. Safe for concurrent use.
type Key struct {
	public ed25519.PublicKey
	cert   tls.Certificate
}

// NewKey derives the key of all nodes from the operator's secret. It takes a tenth of a second and 64 MiB, once: who
// connects to a node learns its public key and could try secrets against it at home, so a try must be dear. That is no
// leave for a weak secret; `openssl rand -base64 32` makes a good one.
func NewKey(secret crypt.Secret) (*Key, error) {
	if len(secret) < minSecret {
		return nil, fmt.Errorf("the secret between nodes needs at least %d characters", minSecret)
	}
	stretched := argon2.IDKey([]byte(secret.Clear()), []byte("tributary peer secret 1"), 1, 64<<10, 4, 32)
	seed, err := hkdf.Key(sha256.New, stretched, nil, "tributary peer ed25519 1", ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("derive the key between nodes: %w", err)
	}
	private := ed25519.NewKeyFromSeed(seed)
	public, _ := private.Public().(ed25519.PublicKey)
	cert, err := selfSigned(private, public)
	if err != nil {
		return nil, fmt.Errorf("certificate between nodes: %w", err)
	}
	return &Key{public, cert}, nil
}

// selfSigned wraps the key into the form that TLS wants. Nothing in it but the key is ever looked at: names and dates
// would only add ways to fail, since nodes move and their clocks differ.
func selfSigned(private ed25519.PrivateKey, public ed25519.PublicKey) (tls.Certificate, error) {
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, public, private)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, nil
}

// errSecret is what a handshake ends with when the other side has another secret, or none.
var errSecret = errors.New("the other side does not have our secret")

// config is the same for both sides. TLS itself makes each prove that it has the private key, over values that both
// have chosen for this connection alone: what somebody recorded is of no use to him. There are no tickets, so that no
// connection begins with less than that.
func (k *Key) config() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{k.cert},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, //nolint:gosec // verify is stricter than a chain of names: one key
		VerifyConnection:       k.verify,
		SessionTicketsDisabled: true,
	}
}

func (k *Key) verify(c tls.ConnectionState) error {
	if len(c.PeerCertificates) == 1 {
		if public, ok := c.PeerCertificates[0].PublicKey.(ed25519.PublicKey); ok && bytes.Equal(public, k.public) {
			return nil
		}
	}
	return errSecret
}
