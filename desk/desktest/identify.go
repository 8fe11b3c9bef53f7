package desktest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"tributary/desk"
	"tributary/ent"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// IdentitySecret is what SignedSite's operator signs with.
const IdentitySecret = "an identity secret of thirty-two bytes or more"

// SignedSite makes a web chat that takes signed tokens.
func (w *World) SignedSite() *ent.Channel {
	w.T.Helper()
	return w.Channel(desk.ChannelCreateInput{Kind: "webchat", Secrets: []desk.SecretInput{{Name: "identitySecret", Value: IdentitySecret}}})
}

// TokenOf is a token of the operator's own system for one of its customers; more adds members, such as a phone.
func (w *World) TokenOf(customer string, more M) string {
	w.T.Helper()
	mac := hmac.New(sha256.New, []byte(IdentitySecret))
	mac.Write([]byte(customer))
	form := M{"externalId": customer, "hash": hex.EncodeToString(mac.Sum(nil))}
	for k, v := range more {
		form[k] = v
	}
	b, err := json.Marshal(form)
	w.ok(err)
	return string(b)
}

// Identify proves who the visitor is; the visit goes on as what comes back.
func (v *Visitor) Identify(token string) (*Visitor, error) {
	v.world.T.Helper()
	got, err := v.world.Desk.Identify(v, token, nil)
	if err != nil {
		return nil, err
	}
	n, err := v.world.Desk.Authenticate(v.world.base, got.Token)
	if err != nil {
		return nil, err
	}
	return &Visitor{Context: viewer.With(v.world.base, n), Token: got.Token, Secret: got.VisitorToken, world: v.world}, nil
}

// Sees asks whether an agent sees a conversation.
func (w *World) Sees(a *Agent, conv gid.ID) bool {
	w.T.Helper()
	q, err := w.Desk.Conversation(a, conv)
	w.ok(err)
	there, err := q.Exist(a)
	w.ok(err)
	return there
}
