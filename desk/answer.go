package desk

import (
	"context"
	"fmt"
	"net/mail"
	"slices"
	"strings"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/identity"
	"tributary/ent/message"
	"tributary/ent/participant"
	"tributary/ent/recipient"
	"tributary/internal/clean"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// answer is how an answer in a contact is addressed and called.
type answer struct {
	subject     string
	refs        []string
	to, all     []addressee // all: those beside to who get an answer to all
	warnings    []string
	inReplyToID *gid.ID
}

type addressee struct {
	who  *ent.Identity
	name string
}

// answerTo computes recipients, subject and references of an answer (MODEL 1): to who wrote the answered message or where
// he asks answers to go, to all: everybody it was addressed to but us. Answered is the one that is named, else the last one
// that a person wrote, else the last.
func (d *Desk) answerTo(ctx context.Context, db *ent.Client, i *ent.Interaction, named *gid.ID) (answer, error) {
	var out answer
	in, err := answered(ctx, db, i, named)
	if err != nil {
		return out, fmt.Errorf("read what is answered: %w", err)
	}
	if in == nil {
		return d.firstWord(ctx, db, i)
	}
	out.warnings, out.inReplyToID = in.Warnings, &in.ID
	out.refs = slices.Clone(in.Refs)
	if in.RefID != nil {
		out.refs = append(out.refs, *in.RefID)
	}
	if in.Subject != nil {
		out.subject = replySubject(*in.Subject)
	}
	var others []addressee
	for _, r := range in.Edges.Recipients {
		a := addressee{r.Edges.Identity, r.Name}
		if r.Role == recipient.RoleREPLY_TO {
			out.to = append(out.to, a)
		} else {
			others = append(others, a)
		}
	}
	if len(out.to) == 0 && in.Edges.Sender != nil {
		out.to = []addressee{{who: in.Edges.Sender}}
	}
	for _, a := range others {
		if !hasAddress(out.to, a.who) && !hasAddress(out.all, a.who) {
			out.all = append(out.all, a)
		}
	}
	return out, nil
}

// answered is the message of the customer's side that an answer goes by; nil where there is none.
func answered(ctx context.Context, db *ent.Client, i *ent.Interaction, named *gid.ID) (*ent.Message, error) {
	q := db.Message.Query().Where(message.InteractionID(i.ID), message.DirectionEQ(message.DirectionINBOUND)).
		Order(ent.Asc(message.FieldAutomatic), ent.Desc(message.FieldNumber)).
		WithSender().WithRecipients(func(q *ent.RecipientQuery) { q.WithIdentity().Order(ent.Asc(recipient.FieldID)) })
	if named != nil {
		m, err := q.Clone().Where(message.ID(*named)).Only(ctx)
		if err == nil || !ent.IsNotFound(err) { // else one of ours, or of another contact: the thread goes by its last
			return m, err
		}
	}
	m, err := q.First(ctx)
	if ent.IsNotFound(err) {
		return nil, nil
	}
	return m, err
}

// firstWord is the answer where nobody has written: to the contact's own address.
func (d *Desk) firstWord(ctx context.Context, db *ent.Client, i *ent.Interaction) (answer, error) {
	var out answer
	if i.IdentityID == nil {
		return out, nil
	}
	who, err := db.Identity.Get(ctx, *i.IdentityID)
	if err != nil {
		return out, fmt.Errorf("read identity: %w", err)
	}
	c, err := db.Conversation.Get(ctx, i.ConversationID)
	if err != nil {
		return out, fmt.Errorf("read conversation: %w", err)
	}
	if c.Subject != nil {
		out.subject = *c.Subject
	}
	out.to = []addressee{{who: who}}
	return out, nil
}

// hasAddress compares values: one address may be two identities, a claimed and a proved one.
func hasAddress(list []addressee, who *ent.Identity) bool {
	return slices.ContainsFunc(list, func(a addressee) bool { return a.who.Kind == who.Kind && a.who.ValueBlind == who.ValueBlind })
}

// replyPrefixes are marks of an answer in front of a subject, as mail programs in several languages write them.
var replyPrefixes = []string{"re:", "aw:", "sv:", "antw:", "res:", "回复:", "回复：", "答复:", "答复：", "回覆:", "回覆："}

// replySubject calls an answer: "Re:" once, whatever stood there.
func replySubject(s string) string {
	for again := true; again; {
		again = false
		s = strings.TrimSpace(s)
		for _, p := range replyPrefixes {
			if len(s) >= len(p) && strings.EqualFold(s[:len(p)], p) {
				s, again = s[len(p):], true
			}
		}
	}
	if s == "" {
		return "Re:"
	}
	return "Re: " + s
}

// Composer says how an answer in a contact would be addressed and called, before it is written.
type Composer struct {
	Subject             string
	ReplyTo, ReplyAllTo []*Addressee
	Warnings            []string
}

// Addressee is one to whom a message would go.
type Addressee struct {
	Identity *ent.Identity
	Role     recipient.Role
	Name     string
}

// Composer of a contact, nil where its channel's messages have no recipients.
func (d *Desk) Composer(ctx context.Context, i *ent.Interaction) (*Composer, error) {
	if err := need(ctx, viewer.ConversationRead); err != nil {
		return nil, err
	}
	if i.ChannelID == nil || viewer.From(ctx).Withholds(i.QueueID) {
		return nil, nil
	}
	sys := within(asSystem(ctx))
	ch, err := d.db.Channel.Get(sys, *i.ChannelID)
	if err != nil {
		return nil, fmt.Errorf("read channel: %w", err)
	}
	// Settings that do not work are shown in the channel's health, and to who sends.
	if o, err := d.runningChannel(sys, ch); err != nil || !o.capabilities().Recipients {
		return nil, nil //nolint:nilerr // no answer goes by it
	}
	a, err := d.answerTo(sys, d.db, i, nil)
	if err != nil {
		return nil, err
	}
	out := &Composer{Subject: a.subject, Warnings: orEmpty(a.warnings), ReplyTo: []*Addressee{}, ReplyAllTo: []*Addressee{}}
	for _, x := range a.to {
		out.ReplyTo = append(out.ReplyTo, &Addressee{x.who, recipient.RoleTO, x.name})
	}
	out.ReplyAllTo = append(out.ReplyAllTo, out.ReplyTo...)
	for _, x := range a.all {
		out.ReplyAllTo = append(out.ReplyAllTo, &Addressee{x.who, recipient.RoleCC, x.name})
	}
	return out, nil
}

// answering addresses a message that is about to be written: as computed, or as its author cut it. Nil where messages
// have no recipients.
func (w *work) answering(ctx context.Context, i *ent.Interaction, in MessageInput, can channels.Capabilities) (*answer, error) {
	if !can.Recipients {
		if len(in.To)+len(in.Cc) > 0 || deref(in.ReplyAll, false) {
			return nil, refuse(Invalid, "messages of this channel have one recipient", "input", "to")
		}
		if in.Subject != nil && !can.Subject {
			return nil, refuse(Invalid, "messages of this channel have no subject", "input", "subject")
		}
		return nil, nil
	}
	if len(in.To)+len(in.Cc) > maxAddressed {
		return nil, refuse(LimitReached, fmt.Sprintf("a message has at most %d recipients", maxAddressed), "input", "cc")
	}
	sys := asSystem(ctx)
	a, err := w.answerTo(sys, w.tx.Client(), i, in.InReplyToID)
	if err != nil {
		return nil, err
	}
	if !deref(in.ReplyAll, false) {
		a.all = nil
	}
	for _, list := range []struct {
		name string
		in   []RecipientInput
		out  *[]addressee
	}{{"to", in.To, &a.to}, {"cc", in.Cc, &a.all}} {
		if list.in == nil {
			continue
		}
		if *list.out, err = w.chosen(sys, i, list.in, list.name); err != nil {
			return nil, err
		}
	}
	a.all = slices.DeleteFunc(a.all, func(x addressee) bool { return hasAddress(a.to, x.who) })
	if len(a.to) == 0 {
		return nil, refuse(IdentityUnreachable, "there is no address to send to", "input", "to")
	}
	if in.Subject != nil {
		a.subject = clean.Line(*in.Subject, maxSubject)
	}
	return &a, nil
}

// chosen are the recipients that an author named.
func (w *work) chosen(ctx context.Context, i *ent.Interaction, list []RecipientInput, field string) ([]addressee, error) {
	ch, err := w.tx.Channel.Get(ctx, *i.ChannelID)
	if err != nil {
		return nil, fmt.Errorf("read channel: %w", err)
	}
	out := []addressee{}
	for n, r := range list {
		who, err := w.chosenOne(ctx, ch, i, r, []string{"input", field, fmt.Sprint(n)})
		if err != nil {
			return nil, err
		}
		if !hasAddress(out, who) {
			out = append(out, addressee{who: who})
		}
	}
	return out, nil
}

func (w *work) chosenOne(ctx context.Context, ch *ent.Channel, i *ent.Interaction, r RecipientInput, field []string) (*ent.Identity, error) {
	switch {
	case (r.IdentityID == nil) == (r.Address == nil):
		return nil, refuse(Invalid, "a recipient is either an identity or an address", field...)
	case r.IdentityID != nil:
		who, err := w.tx.Identity.Query().Where(identity.ID(*r.IdentityID), identity.Kind(channels.IdentityEmail)).Only(ctx)
		if ent.IsNotFound(err) {
			return nil, notFound("mail address", field...)
		}
		return who, err
	}
	a, err := mail.ParseAddress(*r.Address)
	if err != nil || a.Name != "" || len(a.Address) > 254 {
		return nil, refuse(Invalid, "this is no mail address", field...)
	}
	return w.identityOf(ctx, ch, channels.Address{IdentityKey: channels.IdentityKey{Kind: channels.IdentityEmail, Value: strings.ToLower(a.Address)}})
}

// sentTo notes the recipients of a message that was just written; whoever gets it takes part.
func (w *work) sentTo(ctx context.Context, c *ent.Conversation, m *ent.Message, a *answer) error {
	if a == nil {
		return nil
	}
	sys := asSystem(ctx)
	for _, list := range []struct {
		role recipient.Role
		all  []addressee
	}{{recipient.RoleTO, a.to}, {recipient.RoleCC, a.all}} {
		for _, x := range list.all {
			if err := w.address(sys, m, x.who, list.role, x.name); err != nil {
				return err
			}
			role := participant.RoleCC
			if x.who.CustomerID == c.CustomerID {
				role = participant.RoleCUSTOMER
			} else if list.role == recipient.RoleTO {
				role = participant.RoleTHIRD_PARTY
			}
			if err := w.takesPart(sys, c, x.who, role); err != nil {
				return err
			}
		}
	}
	return nil
}
