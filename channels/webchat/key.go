package webchat

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"

	"github.com/golang-jwt/jwt/v5"
)

// minRSABits is the shortest RSA key of RFC 7518 section 3.3.
const minRSABits = 2048

// publicKeys reads the PEM keys for ES256 and RS256; HS256 has none. A key of
// another sort than the algorithm is refused here, so that the check of a token
// never has to choose.
func publicKeys(algorithm, text string) ([]jwt.VerificationKey, error) {
	if algorithm == "" || algorithm == jwt.SigningMethodHS256.Alg() {
		return nil, nil
	}
	var keys []jwt.VerificationKey
	for rest := []byte(text); ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		key, err := publicKey(algorithm, block)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("must be a PEM public key, as " + algorithm + " needs one")
	}
	return keys, nil
}

func publicKey(algorithm string, block *pem.Block) (jwt.VerificationKey, error) {
	if block.Type != "PUBLIC KEY" {
		return nil, errors.New("must hold PUBLIC KEY blocks only")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errors.New("holds a block that is no public key")
	}
	switch key := parsed.(type) {
	case *ecdsa.PublicKey:
		if algorithm == jwt.SigningMethodES256.Alg() && key.Curve == elliptic.P256() {
			return key, nil
		}
	case *rsa.PublicKey:
		if algorithm == jwt.SigningMethodRS256.Alg() && key.N.BitLen() >= minRSABits {
			return key, nil
		}
	}
	return nil, errors.New("must fit " + algorithm + ": a P-256 key for ES256, an RSA key of 2048 bits or more for RS256")
}
