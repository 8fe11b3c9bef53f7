package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/interaction"
	"tributary/ent/visitorsession"
	"tributary/internal/crypt"
	"tributary/internal/gid"
	"tributary/internal/personal"
	"tributary/internal/viewer"
)

// errStale answers a token whose visit has gone on as a known customer's: at the door, nobody.
var errStale = fmt.Errorf("the visit goes on under another token: %w", viewer.ErrNone)

// Identify proves who a visitor is in a running visit. The end is the same as if he had been known from the start: one
// customer, one chat, all that he said. The visit goes on under a new session: whoever had the anonymous one's token or
// secret, on a computer that others use, too, does not become the known customer with it.
func (d *Desk) Identify(ctx context.Context, token string, key *string) (*VisitorTokens, error) {
	v, sys, err := visitor(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.limited(ctx, "prove|"+v.Identity.String(), d.MessagesPerMinute, time.Minute); err != nil {
		return nil, err
	}
	ch, err := d.db.Channel.Get(sys, v.Channel)
	if err != nil {
		return nil, fmt.Errorf("read channel: %w", err)
	}
	o, err := d.runningChannel(sys, ch)
	if err != nil {
		return nil, err
	}
	proved, name, err := verified(ctx, o, ch, VisitorSessionInput{IdentityToken: &token})
	if r, ok := RefusalOf(err); ok {
		r.Field = []string{"identityToken"}
	}
	if err != nil {
		return nil, err
	}
	if len(proved) == 0 {
		return nil, refuse(Required, "a signed token is needed", "identityToken")
	}
	secret, hash := crypt.Token(prefixVisitor)
	id, fresh, err := d.onceFresh(ctx, key, []any{"visitorIdentify", token}, func(ctx context.Context, w *work) (gid.ID, error) {
		return w.identify(asSystem(ctx), ch, v.Token, proved, name, hash[:])
	})
	if err != nil {
		return nil, err
	}
	if !fresh || id == v.Token { // shown by the call alone that made it
		secret = ""
	}
	return d.identified(sys, ch, o, v.Token, id, secret)
}

// identified is what the visitor goes on with.
func (d *Desk) identified(ctx context.Context, ch *ent.Channel, o *opened, old, id gid.ID, secret string) (*VisitorTokens, error) {
	if old != id {
		d.viewer.drop(old)
	}
	s, err := d.db.VisitorSession.Query().Where(visitorsession.ID(id)).WithIdentity().Only(ctx)
	if err != nil {
		return nil, fmt.Errorf("read visit: %w", err)
	}
	return d.visit(ctx, ch, o, s, s.Edges.Identity, secret)
}

// comeBack is a returning browser: it goes on with its visit, or with a signed token becomes the known customer. nil: a
// new visit begins, for the secret is none of this site's or the token is somebody else's.
func (d *Desk) comeBack(ctx context.Context, ch *ent.Channel, o *opened, secret string, proved []channels.IdentityKey, name string) (*VisitorTokens, error) {
	if len(proved) == 0 {
		return d.continueVisit(ctx, ch, o, secret)
	}
	if !crypt.CheckToken(prefixVisitor, secret) {
		return nil, nil
	}
	h := crypt.HashToken(secret)
	old, err := d.db.VisitorSession.Query().Where(visitorsession.SecretHash(h[:]), visitorsession.ChannelID(ch.ID), visitorsession.RevokedAtIsNil()).WithIdentity().Only(ctx)
	if ent.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find visit: %w", err)
	}
	if old.Edges.Identity.Kind != visitorKind { // of a known customer: what he said is found by the token alone
		return nil, nil
	}
	next, hash := crypt.Token(prefixVisitor)
	var id gid.ID
	err = d.do(ctx, nil, func(ctx context.Context, w *work) error {
		var err error
		id, err = w.identify(ctx, ch, old.ID, proved, name, hash[:])
		return err
	})
	if _, no := RefusalOf(err); no || errors.Is(err, errStale) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return d.identified(ctx, ch, o, old.ID, id, next)
}

// identify makes the anonymous visitor of a session the customer whom the keys prove, and opens the session he goes on
// with.
func (w *work) identify(ctx context.Context, ch *ent.Channel, sessionID gid.ID, keys []channels.IdentityKey, name string, hash []byte) (gid.ID, error) {
	s, err := w.tx.VisitorSession.Query().Where(visitorsession.ID(sessionID)).WithIdentity().Only(ctx)
	if err != nil {
		return gid.ID{}, fmt.Errorf("read visit: %w", err)
	}
	anon := s.Edges.Identity
	if s.RevokedAt != nil || anon.GivenToID != nil {
		return gid.ID{}, errStale
	}
	proved, claimed := byProof(keys)
	if anon.Kind == proved[0].Kind && anon.ValueBlind == blind(ch.WorkspaceID, proved[0].Value) { // proved before
		_, err := w.sender(ctx, ch, channels.Inbound{Sender: keys, SenderName: name, Proof: channels.Proof{Kind: channels.ProofToken}})
		return sessionID, err
	}
	if anon.Kind != visitorKind {
		return gid.ID{}, refuse(NotAllowed, "this visit is another customer's: begin a new one", "identityToken")
	}
	who, err := w.become(ctx, ch, anon, proved, name)
	if err != nil {
		return gid.ID{}, err
	}
	if err := w.claim(ctx, ch, who.CustomerID, claimed); err != nil {
		return gid.ID{}, err
	}
	if err := w.tx.VisitorSession.Update().Where(visitorsession.IdentityID(anon.ID), visitorsession.RevokedAtIsNil()).SetRevokedAt(w.at).Exec(ctx); err != nil {
		return gid.ID{}, fmt.Errorf("end visit: %w", err)
	}
	n, err := w.tx.VisitorSession.Create().SetChannelID(ch.ID).SetIdentityID(who.ID).SetSecretHash(hash).SetClient(s.Client).SetCreatedAt(w.at).Save(ctx)
	if err != nil {
		return gid.ID{}, fmt.Errorf("write visit: %w", err)
	}
	return n.ID, w.touchCustomer(ctx, who.CustomerID)
}

// byProof parts what is proved from what is only said.
func byProof(keys []channels.IdentityKey) (proved, claimed []channels.IdentityKey) {
	for _, k := range keys {
		if k.Level >= channels.ChannelProved {
			proved = append(proved, k)
		} else {
			claimed = append(claimed, k)
		}
	}
	return proved, claimed
}

// become joins the anonymous visitor and the customer of the proved values, and gives the proved identity what was said.
func (w *work) become(ctx context.Context, ch *ent.Channel, anon *ent.Identity, proved []channels.IdentityKey, name string) (*ent.Identity, error) {
	known, err := w.knownIdentities(ctx, ch, proved)
	if err != nil {
		return nil, err
	}
	talk, err := w.talkOf(ctx, ch, anon, known[0])
	if err != nil {
		return nil, err
	}
	all := append([]gid.ID{anon.CustomerID}, strangers(anon.CustomerID, known)...)
	into, err := w.survivor(ctx, all)
	if err != nil {
		return nil, err
	}
	g, err := w.lockMatters(ctx, without(all, into), []gid.ID{into}, talk.conversations)
	if err != nil {
		return nil, err
	}
	if err := w.standsStill(ctx, ch, g, talk, anon, known[0]); err != nil {
		return nil, err
	}
	one := []gid.ID{anon.CustomerID}
	if known[0] != nil {
		one = append(one, known[0].CustomerID)
	}
	if singleValues(g.identities, one, map[string]string{proved[0].Kind: blind(ch.WorkspaceID, proved[0].Value)}) != nil {
		return nil, refuse(NotAllowed, "this visitor is known as another customer: begin a new visit", "identityToken")
	}
	cust, err := w.joinThem(ctx, g, ch.WorkspaceID, anon.CustomerID, proved, known, talk.home(), true)
	if err != nil {
		return nil, err
	}
	if known[0] != nil && known[0].CustomerID == anon.CustomerID { // one customer already, by a person's word
		if err := w.regroupTalk(ctx, g, talk); err != nil {
			return nil, err
		}
	}
	if known, err = w.knownIdentities(ctx, ch, proved); err != nil {
		return nil, err
	}
	if err := w.addProved(ctx, ch, cust, proved, known, name); err != nil {
		return nil, err
	}
	if err := w.nameCustomer(ctx, cust, name); err != nil {
		return nil, err
	}
	return known[0], w.give(ctx, g, ch, anon.ID, known[0].ID)
}

// talk is what an anonymous visitor and the identity that he proves have said on a site: open contacts, and the placing
// that the known one's thread says (MODEL 4, rule 1).
type talk struct {
	anonymous, known *ent.Interaction // open ones
	thread           placing
	conversations    []gid.ID // of all of it
}

// home is where the anonymous contact belongs by the known one's thread, by its conversation.
func (t *talk) home() map[gid.ID]placing {
	if t.anonymous == nil || t.thread.conv == nil {
		return nil
	}
	return map[gid.ID]placing{t.anonymous.ConversationID: t.thread}
}

func (w *work) talkOf(ctx context.Context, ch *ent.Channel, anon, known *ent.Identity) (*talk, error) {
	t := &talk{}
	said, err := w.tx.Interaction.Query().Where(interaction.IdentityID(anon.ID)).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read chats: %w", err)
	}
	for _, i := range said {
		t.conversations = append(t.conversations, i.ConversationID)
		if i.State != interaction.StateENDED {
			t.anonymous = i
		}
	}
	if known == nil {
		return t, nil
	}
	last, err := w.tx.Interaction.Query().Where(interaction.ChannelID(ch.ID), interaction.ThreadKey(chatKey(ch.WorkspaceID, known.ID))).
		Order(ent.Desc(interaction.FieldStartedAt, interaction.FieldID)).WithConversation().First(ctx)
	if ent.IsNotFound(err) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read chats: %w", err)
	}
	t.conversations = append(t.conversations, last.ConversationID)
	if last.State != interaction.StateENDED {
		t.known, t.thread = last, placing{conv: last.Edges.Conversation, rule: interaction.JoinedByTHREAD}
		return t, nil
	}
	if p := w.continueThread(last, arrival{channel: ch}); p.conv != nil {
		t.thread = p
	}
	return t, nil
}

// standsStill finds what changed between the look and the locks.
func (w *work) standsStill(ctx context.Context, ch *ent.Channel, g *ground, before *talk, anon, known *ent.Identity) error {
	for _, i := range g.identities {
		if i.ID == anon.ID && (i.CustomerID != anon.CustomerID || i.GivenToID != nil) || known != nil && i.ID == known.ID && i.CustomerID != known.CustomerID {
			return errAgain
		}
	}
	now, err := w.talkOf(ctx, ch, anon, known)
	if err != nil {
		return err
	}
	if !slices.Equal(unique(slices.Clone(now.conversations)), unique(slices.Clone(before.conversations))) {
		return errAgain
	}
	*before = *now
	return nil
}

// regroupTalk runs the rules for the anonymous contact where both sides were one customer before.
func (w *work) regroupTalk(ctx context.Context, g *ground, t *talk) error {
	if t.anonymous == nil {
		return nil
	}
	c := g.conversation(t.anonymous.ConversationID)
	ours := slices.DeleteFunc(g.of(c.CustomerID), func(o *ent.Conversation) bool { return o.ID == c.ID })
	return w.regroup(ctx, g, []*ent.Conversation{c}, ours, t.home())
}

// visitorThread is the thread that a visitor's word belongs to: his own, or, where a contact that was accepted before he
// was known is the only open one, that contact's.
func (w *work) visitorThread(ctx context.Context, ch *ent.Channel, who *ent.Identity) (string, error) {
	if who.GivenToID != nil {
		return "", errStale
	}
	own := who.ID.String()
	if who.Kind == visitorKind {
		return own, nil
	}
	open, err := w.tx.Interaction.Query().Where(interaction.IdentityID(who.ID), interaction.ChannelID(ch.ID), interaction.StateNEQ(interaction.StateENDED)).
		Order(ent.Desc(interaction.FieldStartedAt)).All(ctx)
	if err != nil {
		return "", fmt.Errorf("read chats: %w", err)
	}
	thread := own
	for n, i := range open {
		switch t := i.Thread.Clear(); {
		case t == own:
			return own, nil
		case n == 0:
			thread = t
		}
	}
	return thread, nil
}

func chatKey(workspace gid.ID, thread gid.ID) string {
	return personal.Blind(workspace, "interaction.thread", thread.String())
}

// nameCustomer takes the token's name where none is known.
func (w *work) nameCustomer(ctx context.Context, id gid.ID, name string) error {
	if name == "" {
		return nil
	}
	c, err := w.tx.Customer.Get(ctx, id)
	if err != nil {
		return fmt.Errorf("read customer: %w", err)
	}
	if c.DisplayName != "" {
		return nil
	}
	n, err := w.tx.Customer.UpdateOneID(id).SetDisplayName(name).AddVersion(1).SetUpdatedAt(w.at).Save(ctx)
	if err != nil {
		return fmt.Errorf("save customer: %w", err)
	}
	w.emit(fact{typ: CustomerUpdated, subject: n.ID, version: n.Version, customer: n.ID, changed: []string{"displayName"}})
	return nil
}
