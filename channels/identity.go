package channels

import "fmt"

// Level is how well an identity is proved; higher values are stronger.
type Level int

// The levels. Only values at ChannelProved or above join two customers.
const (
	// Claimed: somebody said so (caller id, a form, a From without a verdict).
	Claimed Level = iota
	// ChannelProved: the channel that delivered the event vouches for it.
	ChannelProved
	// Strong: signed by the operator's own system.
	Strong
)

var levelNames = [...]string{Claimed: "CLAIMED", ChannelProved: "CHANNEL_PROVED", Strong: "STRONG"}

// String returns the level's name in the contract.
func (l Level) String() string {
	if l < 0 || int(l) >= len(levelNames) {
		return fmt.Sprintf("LEVEL_%d", int(l))
	}
	return levelNames[l]
}

// MarshalText writes the name, so that stored events survive a new level.
func (l Level) MarshalText() ([]byte, error) {
	if l < 0 || int(l) >= len(levelNames) {
		return nil, fmt.Errorf("identity level %d is unknown", int(l))
	}
	return []byte(levelNames[l]), nil
}

// UnmarshalText reads what MarshalText wrote; an unknown name is an error.
func (l *Level) UnmarshalText(text []byte) error {
	for level, name := range levelNames {
		if name == string(text) {
			*l = Level(level)
			return nil
		}
	}
	return fmt.Errorf("identity level %q is unknown", text)
}

// Identity kinds that several channel kinds carry. They are data, not an enum:
// a kind may name its own.
const (
	// IdentityExternal is a customer id of the operator's own system: one
	// namespace per workspace, single-valued.
	IdentityExternal = "external_id"
	// IdentityPhone is a number in E.164, with the plus sign.
	IdentityPhone = "phone"
	// IdentityEmail is a mail address, in lower case.
	IdentityEmail = "email"
)

// The two scopes that are not a provider's namespace.
const (
	// ScopeWorkspace: the value means the same in every channel.
	ScopeWorkspace = ""
	// ScopeChannel: the value means something within its channel only. The
	// core puts the channel's id in its place when it stores the identity.
	ScopeChannel = "channel"
)

// IdentityKey is one address or id by which a customer is known.
type IdentityKey struct {
	// Kind is the identity kind, such as IdentityPhone.
	Kind string `json:"kind"`
	// Scope is the namespace: ScopeWorkspace, ScopeChannel, or a provider's,
	// such as an app id.
	Scope string `json:"scope,omitempty"`
	// Value is normalised by the channel kind.
	Value string `json:"value"`
	// Level is how well this event proves it.
	Level Level `json:"level"`
}

// Address is an identity as sender or recipient of a message.
type Address struct {
	IdentityKey
	// Name is how the event calls it; a claim, shown to people only.
	Name string `json:"name,omitempty"`
	// Own marks an address of ours, left out where recipients are shown.
	Own bool `json:"own,omitempty"`
}

// ProofKind is what vouched for the sender.
type ProofKind string

// The values of ProofKind.
const (
	ProofNone      ProofKind = ""
	ProofSignature ProofKind = "signature" // the provider signed the request
	ProofMail      ProofKind = "mail"      // DKIM or DMARC verdict
	ProofToken     ProofKind = "token"     // a token of ours or of the operator
)

// Proof is how the sender was proved. A level above Claimed needs one.
type Proof struct {
	Kind ProofKind `json:"kind,omitempty"`
	// Scheme names the method, such as "hmac-sha256" or "dkim".
	Scheme string `json:"scheme,omitempty"`
	// KeyID tells which key, never the key.
	KeyID string `json:"keyId,omitempty"`
	// Domain is the domain that vouched, for mail.
	Domain string `json:"domain,omitempty"`
	// Aligned: that domain is the one of the shown sender, for mail.
	Aligned bool `json:"aligned,omitempty"`
	// Authority is who checked, where it was not us.
	Authority string `json:"authority,omitempty"`
}
