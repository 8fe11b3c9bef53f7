package custom

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"tributary/channels"
)

const (
	// HeaderSignature carries "t=<unix seconds>,v1=<hex>" in both directions.
	HeaderSignature = "Tributary-Signature"
	// HeaderID carries the event's or message's id. It is not signed and
	// decides nothing: it is for the other side's logs.
	HeaderID = "Tributary-Id"

	// skew is how far the signature's time may lie from ours, either way.
	skew = 300 * time.Second
	// maxSignatures bounds the work for one header; a sender that rotates its
	// secret sends two.
	maxSignatures = 4
)

// Sign returns the value of HeaderSignature for a body: v1 is the hex
// HMAC-SHA256 under secret of the decimal unix seconds, a dot, and the body.
func Sign(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(signature(secret, t, body))
}

func signature(secret, t string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t))
	mac.Write([]byte{'.'})
	mac.Write(body)
	return mac.Sum(nil)
}

// verify checks a header against every secret that is valid now and returns the
// place of the one that matched. All are tried, so that the time does not tell
// which. The text of a refusal names no value.
func verify(header string, body []byte, secrets []string, now time.Time) (key int, refusal string) {
	t, given := splitSignature(header)
	seconds, err := strconv.ParseInt(t, 10, 64)
	if err != nil || t[0] == '+' || t[0] == '-' || len(given) == 0 || len(given) > maxSignatures {
		return 0, "signature is missing or malformed"
	}
	age := now.Sub(time.Unix(seconds, 0)).Truncate(time.Second)
	if len(t) > 12 || age > skew || age < -skew {
		return 0, "signature is too old or from the future"
	}
	key = -1
	for i, secret := range secrets {
		want := signature(secret, t, body)
		for _, sum := range given {
			if hmac.Equal(want, sum) && key < 0 {
				key = i
			}
		}
	}
	if key < 0 {
		return 0, "signature does not match"
	}
	return key, ""
}

// splitSignature reads the header; pieces of other versions are skipped, so that
// a second scheme can be added later.
func splitSignature(header string) (t string, sums [][]byte) {
	for piece := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(piece), "=")
		switch name {
		case "t":
			t = value
		case "v1":
			if sum, err := hex.DecodeString(value); err == nil {
				sums = append(sums, sum)
			}
		}
	}
	return t, sums
}

// proof tells an auditor which secret signed, without saying anything of it.
func proof(key int) channels.Proof {
	id := "current"
	if key > 0 {
		id = "previous"
	}
	return channels.Proof{Kind: channels.ProofSignature, Scheme: "hmac-sha256", KeyID: id}
}
