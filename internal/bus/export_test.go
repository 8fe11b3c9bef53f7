package bus

import "time"

// Calm lets a busy machine be slow: a death is noticed late, and nothing is taken for one.
func (r *Remote) Calm() { r.pace.pulse, r.pace.patience = 5*time.Second, 20*time.Second }

// Tag is the name under which the bus sends.
func (r *Remote) Tag() string { return r.tag }

// PerPayload is how many notes a payload holds.
const PerPayload = perPayload

// Encode and Decode are the form of payloads.
var Encode = encode

// Decode takes a payload apart.
func Decode(payload string) (from string, notes []Note, missed bool, err error) {
	p, err := decode(payload)
	return p.from, p.notes, p.missed, err
}
