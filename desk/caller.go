package desk

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"tributary/channels"
	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/call"
	"tributary/ent/identity"
	"tributary/internal/clean"
	"tributary/internal/gid"
	"tributary/internal/personal"
)

// calling is who calls, and how well that is known.
type calling struct {
	number   string
	identity *ent.Identity
	proof    call.CallerProof
}

// lineSettings are those of a trunk that the desk itself reads.
type lineSettings struct {
	// Country is the default one of numbers as they are dialled, ISO 3166.
	Country string `json:"country"`
	// CallerID is shown to those who are called.
	CallerID string `json:"callerId"`
}

func lineOf(ch *ent.Channel) (s lineSettings) {
	_ = json.Unmarshal(ch.Config, &s) // a setting of another form is none
	return s
}

// e164 is a number with its plus; one that cannot be read stays as written, and false.
func e164(written, country string) (string, bool) {
	written = clean.Line(written, maxNumber)
	n, err := phonenumbers.Parse(written, country)
	if err != nil || !phonenumbers.IsValidNumber(n) && (!strings.HasPrefix(written, "+") || !phonenumbers.IsPossibleNumber(n)) {
		return written, false
	}
	return phonenumbers.Format(n, phonenumbers.E164), true
}

// caller finds who calls (MODEL 5). A caller's number is a claim: it joins nobody. Where the trunk itself asserts it and
// one customer alone has it confirmed, the call stands under that customer, so that the agent has the context: the caller
// hears nothing of it. Else the number stands for itself, in the trunk's namespace, and whoever is known by it is a
// candidate.
func (w *work) caller(ctx context.Context, ch *ent.Channel, a voice.Arrival, callID gid.ID) (calling, error) {
	number, _ := e164(a.From, lineOf(ch).Country)
	if number == "" {
		return w.withheldCaller(ctx, ch, a, callID)
	}
	if a.Asserted {
		known, err := w.confirmed(ctx, ch.WorkspaceID, number)
		if err != nil || known != nil {
			return calling{number, known, call.CallerProofCONFIRMED}, err
		}
	}
	proof := call.CallerProofCLAIMED
	if a.Asserted {
		proof = call.CallerProofASSERTED
	}
	key := channels.IdentityKey{Kind: channels.IdentityPhone, Value: number, Scope: channels.ScopeChannel, Level: channels.Claimed}
	row, err := w.sender(ctx, ch, channels.Inbound{Sender: []channels.IdentityKey{key}, SenderName: clean.Line(a.Name, maxCallerName)})
	if err != nil {
		return calling{}, err
	}
	said := *row
	said.Scope, said.Claim = "", row.CustomerID.String() // as if he had said the number himself
	return calling{number, row, proof}, w.raise(ctx, &said)
}

// confirmed is the identity of the one customer whose number this is for sure; nil if nobody's or several's.
func (w *work) confirmed(ctx context.Context, workspace gid.ID, number string) (*ent.Identity, error) {
	rows, err := w.tx.Identity.Query().Where(identity.Kind(channels.IdentityPhone), identity.ValueBlind(blind(workspace, number)), identity.Claim(""),
		identity.VerificationIn(identity.VerificationCHANNEL_PROVED, identity.VerificationSTRONG), identity.GivenToIDIsNil()).
		Order(ent.Asc(identity.FieldScope, identity.FieldID)).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("find whose number it is: %w", err)
	}
	for _, r := range rows {
		if r.CustomerID != rows[0].CustomerID {
			return nil, nil
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return rows[0], nil
}

// withheldCaller is a customer of this call alone: nobody knows him, and nobody joins him.
func (w *work) withheldCaller(ctx context.Context, ch *ent.Channel, a voice.Arrival, callID gid.ID) (calling, error) {
	c, err := w.tx.Customer.Create().SetDisplayName(clean.Line(a.Name, maxCallerName)).SetCreatedAt(w.at).Save(ctx)
	if err != nil {
		return calling{}, fmt.Errorf("write customer: %w", err)
	}
	w.emit(fact{typ: CustomerCreated, subject: c.ID, version: c.Version, customer: c.ID})
	row, err := w.tx.Identity.Create().SetCustomerID(c.ID).SetKind(channels.IdentityPhone).SetScope(ch.ID.String()).SetChannelID(ch.ID).SetValue(personal.Of("")).
		SetClaim(callID.String()).SetVerification(identity.VerificationCLAIMED).SetFirstSeenAt(w.at).SetLastSeenAt(w.at).SetCreatedAt(w.at).Save(ctx)
	if err != nil {
		return calling{}, fmt.Errorf("write identity: %w", err)
	}
	return calling{"", row, call.CallerProofWITHHELD}, nil
}

// callerReason is how an offer says what the caller's number is worth.
func callerReason(p call.CallerProof) string { return "caller_" + strings.ToLower(string(p)) }
