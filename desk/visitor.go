package desk

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/attachment"
	"tributary/ent/channel"
	"tributary/ent/event"
	"tributary/ent/identity"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/ent/visitorsession"
	"tributary/internal/auth"
	"tributary/internal/clean"
	"tributary/internal/crypt"
	"tributary/internal/gid"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

// visitorKind is the identity kind of a browser that nobody has identified: unique in its channel.
const visitorKind = "visitor_id"

const maxVisitorFiles = 5

// Site finds the channel of a public key; it tells the door which origins may call.
func (d *Desk) site(ctx context.Context, key string) (*ent.Channel, *opened, error) {
	if key == "" {
		return nil, nil, notFound("site", "input", "siteKey")
	}
	ch, err := d.db.Channel.Query().Where(channel.PublicKey(key), channel.Enabled(true)).Only(within(viewer.Global(ctx)))
	if ent.IsNotFound(err) {
		return nil, nil, notFound("site", "input", "siteKey")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("find site: %w", err)
	}
	o, err := d.runningChannel(ctx, ch)
	return ch, o, err
}

// StartVisit begins a visit, or continues the one whose secret the browser kept. A signed token makes the visitor a
// known customer; whatever else he says is only a claim.
func (d *Desk) StartVisit(ctx context.Context, in VisitorSessionInput, remote, origin string) (*VisitorTokens, error) {
	if err := d.limited(ctx, "visit|"+remote, d.StartsPerMinute, time.Minute); err != nil {
		return nil, err
	}
	ch, o, err := d.site(ctx, in.SiteKey)
	if err != nil {
		return nil, err
	}
	rules := o.channel.(channels.Surface).Surface()
	if !rules.AllowsOrigin(origin) {
		return nil, refuse(NotAllowed, "this origin may not use the site", "input", "siteKey")
	}
	proved, name, err := verified(ctx, o, ch, in)
	if err != nil {
		return nil, err
	}
	if rules.IdentificationRequired && len(proved) == 0 {
		return nil, refuse(Required, "this site needs a signed token", "input", "identityToken")
	}
	ctx = within(viewer.System(ctx, ch.WorkspaceID))
	if in.VisitorToken != nil {
		out, err := d.comeBack(ctx, ch, o, *in.VisitorToken, proved, name)
		if out != nil || err != nil {
			return out, err
		}
	}
	return d.beginVisit(ctx, ch, o, in, proved, name)
}

func verified(ctx context.Context, o *opened, ch *ent.Channel, in VisitorSessionInput) ([]channels.IdentityKey, string, error) {
	if in.IdentityToken == nil || *in.IdentityToken == "" {
		return nil, "", nil
	}
	v, ok := o.channel.(channels.TokenVerifier)
	if !ok {
		return nil, "", refuse(Invalid, "this site takes no signed tokens", "input", "identityToken")
	}
	t, err := v.VerifyToken(ctx, *in.IdentityToken, ch.PublicKey)
	if err != nil { // why stays in our log: the visitor learns nothing from it
		return nil, "", refuse(Invalid, "the identity token is unusable", "input", "identityToken")
	}
	return t.Identities, t.Name, nil
}

// continueVisit finds the visit of a returning browser; nil if the secret is none of this site's.
func (d *Desk) continueVisit(ctx context.Context, ch *ent.Channel, o *opened, secret string) (*VisitorTokens, error) {
	if !crypt.CheckToken(prefixVisitor, secret) {
		return nil, nil
	}
	h := crypt.HashToken(secret)
	s, err := d.db.VisitorSession.Query().Where(visitorsession.SecretHash(h[:]), visitorsession.ChannelID(ch.ID), visitorsession.RevokedAtIsNil()).WithIdentity().Only(ctx)
	if ent.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find visit: %w", err)
	}
	return d.visit(ctx, ch, o, s, s.Edges.Identity, secret)
}

func (d *Desk) beginVisit(ctx context.Context, ch *ent.Channel, o *opened, in VisitorSessionInput, proved []channels.IdentityKey, name string) (*VisitorTokens, error) {
	secret, hash := crypt.Token(prefixVisitor)
	var s *ent.VisitorSession
	var who *ent.Identity
	err := d.do(ctx, nil, func(ctx context.Context, w *work) error {
		keys := append([]channels.IdentityKey{}, proved...)
		if len(keys) == 0 {
			keys = []channels.IdentityKey{{Kind: visitorKind, Scope: channels.ScopeChannel, Value: gid.Make(gid.Other).String(), Level: channels.ChannelProved}}
		}
		var err error
		who, err = w.sender(ctx, ch, channels.Inbound{Sender: keys, SenderName: name, Proof: channels.Proof{Kind: channels.ProofToken}})
		if err != nil {
			return err
		}
		s, err = w.tx.VisitorSession.Create().SetChannelID(ch.ID).SetIdentityID(who.ID).SetSecretHash(hash[:]).SetClient(shortText(deref(in.Client, ""))).SetCreatedAt(w.at).Save(ctx)
		if err != nil {
			return fmt.Errorf("write visit: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d.visit(ctx, ch, o, s, who, secret)
}

func (d *Desk) visit(ctx context.Context, ch *ent.Channel, o *opened, s *ent.VisitorSession, who *ent.Identity, secret string) (*VisitorTokens, error) {
	head, _, err := d.Events.Head(ctx, ch.WorkspaceID)
	if err != nil {
		return nil, err
	}
	token, until, err := d.Tokens.Sign(auth.Claims{Kind: auth.Visitor, Workspace: ch.WorkspaceID, Session: s.ID}, auth.VisitorLife)
	if err != nil {
		return nil, err
	}
	return &VisitorTokens{Session: visitorSession(s.ID, who, o, until), Token: token, VisitorToken: secret, ExpiresAt: until, Cursor: page.EventCursor{Workspace: ch.WorkspaceID, Seq: head}}, nil
}

func visitorSession(id gid.ID, who *ent.Identity, o *opened, until time.Time) *VisitorSession {
	rules, caps := o.channel.(channels.Surface).Surface(), o.capabilities()
	out := &VisitorSession{ID: id, Level: string(who.Verification), ExpiresAt: until, Settings: &VisitorSettings{
		IdentificationRequired: rules.IdentificationRequired, MaxTextLength: caps.MaxText.Max, MaxAttachments: maxVisitorFiles, MaxAttachmentBytes: MaxUpload, Locales: orEmpty(rules.Locales),
	}}
	if out.Settings.MaxTextLength == 0 {
		out.Settings.MaxTextLength = maxText
	}
	if rules.Greeting != "" {
		out.Settings.Greeting = &rules.Greeting
	}
	return out
}

// visitor checks the right and gives the system's context: a visitor reads no row by himself.
func visitor(ctx context.Context) (*viewer.Viewer, context.Context, error) {
	if err := need(ctx, viewer.Visitor); err != nil {
		return nil, nil, err
	}
	return viewer.From(ctx), asSystem(ctx), nil
}

// Visit is the own session.
func (d *Desk) Visit(ctx context.Context) (*VisitorSession, error) {
	v, sys, err := visitor(ctx)
	if err != nil {
		return nil, err
	}
	who, err := d.db.Identity.Query().Where(identity.ID(v.Identity)).WithCustomer().Only(sys)
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	ch, err := d.db.Channel.Get(sys, v.Channel)
	if err != nil {
		return nil, fmt.Errorf("read channel: %w", err)
	}
	o, err := d.runningChannel(sys, ch)
	if err != nil {
		return nil, err
	}
	out := visitorSession(v.Token, who, o, d.now().Add(auth.VisitorLife))
	if c := who.Edges.Customer; c != nil && c.DisplayName != "" {
		out.DisplayName = &c.DisplayName
	}
	return out, nil
}

// RenewVisit makes the next token before the old one ends.
func (d *Desk) RenewVisit(ctx context.Context) (string, time.Time, error) {
	v, _, err := visitor(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	return d.Tokens.Sign(auth.Claims{Kind: auth.Visitor, Workspace: v.Workspace, Session: v.Token}, auth.VisitorLife)
}

// EndVisit voids token and secret of this browser.
func (d *Desk) EndVisit(ctx context.Context) error {
	v, sys, err := visitor(ctx)
	if err != nil {
		return err
	}
	err = d.do(sys, nil, func(ctx context.Context, w *work) error {
		return w.tx.VisitorSession.UpdateOneID(v.Token).SetRevokedAt(w.at).Exec(ctx)
	})
	d.viewer.drop(v.Token)
	return err
}

// VisitorSays takes a visitor's message in: our own surface, no provider between, so one transaction is all of it.
func (d *Desk) VisitorSays(ctx context.Context, in VisitorMessageInput, key *string) (gid.ID, error) {
	v, _, err := visitor(ctx)
	if err != nil {
		return gid.ID{}, err
	}
	if err := d.limited(ctx, "say|"+v.Identity.String(), d.MessagesPerMinute, time.Minute); err != nil {
		return gid.ID{}, err
	}
	text := clean.Text(deref(in.Text, ""))
	if strings.TrimSpace(text) == "" && len(in.AttachmentIds) == 0 {
		return gid.ID{}, refuse(Required, "a message has a text or a file", "input", "text")
	}
	if len(in.AttachmentIds) > maxVisitorFiles {
		return gid.ID{}, refuse(LimitReached, fmt.Sprintf("a message has at most %d files", maxVisitorFiles), "input", "attachmentIds")
	}
	online := d.isConnected(v.Identity)
	return d.once(ctx, key, []any{"visitorMessageSend", in}, func(ctx context.Context, w *work) (gid.ID, error) {
		sys := asSystem(ctx)
		who, err := w.tx.Identity.Get(sys, v.Identity)
		if err != nil {
			return gid.ID{}, fmt.Errorf("read identity: %w", err)
		}
		ch, err := w.tx.Channel.Get(sys, v.Channel)
		if err != nil {
			return gid.ID{}, fmt.Errorf("read channel: %w", err)
		}
		o, err := w.runningChannel(sys, ch)
		if err != nil {
			return gid.ID{}, err
		}
		limit := o.capabilities().MaxText
		if !ch.Enabled {
			return gid.ID{}, &Refusal{Code: ChannelUnavailable, Message: "the site is switched off", Retryable: true}
		}
		if !limit.Allows(text) || limit.Max == 0 && utf8.RuneCountInString(text) > maxText {
			return gid.ID{}, refuse(TooLong, "the text is too long", "input", "text")
		}
		thread, err := w.visitorThread(sys, ch, who)
		if err != nil {
			return gid.ID{}, err
		}
		m, err := w.arrive(sys, arrival{channel: ch, identity: who, live: online, uploads: in.AttachmentIds, in: channels.Inbound{
			Kind: channels.InboundMessage, ThreadKey: thread, Parts: []channels.Part{{Type: channels.PartText, Text: text}},
		}})
		if err != nil {
			return gid.ID{}, err
		}
		return m.ID, w.touchChannel(sys, ch)
	})
}

func (d *Desk) isConnected(subject gid.ID) bool {
	d.live.mu.Lock()
	defer d.live.mu.Unlock()
	c := d.live.count[subject]
	return c != nil && c.sockets > 0
}

// VisitorUpload announces a visitor's file.
func (d *Desk) VisitorUpload(ctx context.Context, in UploadInput, key *string) (Upload, error) {
	v, _, err := visitor(ctx)
	if err != nil {
		return Upload{}, err
	}
	if err := d.limited(ctx, "put|"+v.Identity.String(), d.MessagesPerMinute, time.Minute); err != nil {
		return Upload{}, err
	}
	return d.announce(ctx, in, key, v.Identity)
}

// VisitorReads notes that everything up to a number has been read; it never goes back.
func (d *Desk) VisitorReads(ctx context.Context, upTo int, key *string) error {
	v, _, err := visitor(ctx)
	if err != nil {
		return err
	}
	_, err = d.once(ctx, key, []any{"visitorMarkRead", upTo}, func(ctx context.Context, w *work) (gid.ID, error) {
		return v.Identity, w.reached(asSystem(ctx), v.Identity, upTo, message.DeliveryREAD)
	})
	return err
}

// VisitorGot notes that the visitor's cursor has passed a place in the log: what was said before it is DELIVERED. A
// cursor is an acknowledged position, not a socket write.
func (d *Desk) VisitorGot(ctx context.Context, seq int64) error {
	v, sys, err := visitor(ctx)
	if err != nil {
		return err
	}
	waiting, err := d.db.Message.Query().Where(message.IdentityID(v.Identity), message.DirectionEQ(message.DirectionOUTBOUND), message.DeliveryEQ(message.DeliverySENT)).
		Order(ent.Desc(message.FieldVisibleNumber)).Limit(200).All(sys)
	if err != nil || len(waiting) == 0 {
		return err
	}
	ids := make([]gid.ID, len(waiting))
	for n, m := range waiting {
		ids[n] = m.ID
	}
	var passed []gid.ID
	err = d.db.Event.Query().Where(event.IdentityID(v.Identity), event.SeqLTE(seq), event.Type(string(MessageCreated)), event.SubjectIDIn(ids...)).
		Select(event.FieldSubjectID).Scan(sys, &passed)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	for _, m := range waiting { // the newest first: what is before it has been passed, too
		if slices.Contains(passed, m.ID) {
			return d.do(sys, nil, func(ctx context.Context, w *work) error {
				return w.reached(ctx, v.Identity, *m.VisibleNumber, message.DeliveryDELIVERED)
			})
		}
	}
	return nil
}

// reached moves the messages to a visitor up to a number along their way.
func (w *work) reached(ctx context.Context, identityID gid.ID, upTo int, to message.Delivery) error {
	u := w.tx.Identity.Update()
	if to == message.DeliveryREAD {
		u.Where(identity.ID(identityID), identity.ReadUpToLT(upTo), identity.VisibleCountGTE(upTo)).SetReadUpTo(upTo)
	} else {
		u.Where(identity.ID(identityID), identity.DeliveredUpToLT(upTo)).SetDeliveredUpTo(upTo)
	}
	n, err := u.Save(ctx)
	if err != nil {
		return fmt.Errorf("save place: %w", err)
	}
	if n == 0 {
		return nil // not further than before, or beyond the last message
	}
	from := []message.Delivery{message.DeliverySENT}
	if to == message.DeliveryREAD {
		from = append(from, message.DeliveryDELIVERED)
	}
	rows, err := w.tx.Message.Query().Where(message.IdentityID(identityID), message.DirectionEQ(message.DirectionOUTBOUND), message.VisibleNumberLTE(upTo), message.DeliveryIn(from...)).
		Order(ent.Asc(message.FieldVisibleNumber)).Limit(200).All(ctx)
	if err != nil {
		return fmt.Errorf("read messages: %w", err)
	}
	for _, m := range rows {
		if _, err := w.delivered(ctx, m, to, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// VisitorLeaves ends the chat by the visitor's own word.
func (d *Desk) VisitorLeaves(ctx context.Context, key *string) error {
	v, _, err := visitor(ctx)
	if err != nil {
		return err
	}
	_, err = d.once(ctx, key, []any{"visitorConversationEnd"}, func(ctx context.Context, w *work) (gid.ID, error) {
		sys := asSystem(ctx)
		ids, err := w.tx.Interaction.Query().Where(interaction.IdentityID(v.Identity), interaction.ChannelID(v.Channel), interaction.StateNEQ(interaction.StateENDED)).IDs(sys)
		if err == nil {
			err = w.lockTheirs(sys, ids)
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("read chat: %w", err)
		}
		for _, id := range ids { // one, but where two served ones came to be of one person
			if err := w.visitorLeft(sys, id); err != nil {
				return gid.ID{}, err
			}
		}
		return v.Identity, nil
	})
	return err
}

func (w *work) visitorLeft(ctx context.Context, id gid.ID) error {
	c, i, err := w.lockInteraction(ctx, id)
	if err != nil {
		return err
	}
	switch i.State {
	case interaction.StateQUEUED, interaction.StateOFFERED, interaction.StateIN_FLOW:
		return w.abandon(ctx, c, i)
	case interaction.StateACTIVE, interaction.StatePAUSED:
		return w.end(ctx, c, i)
	}
	return nil
}

// VisitorChat is the chat as its visitor sees it; nil before the first word.
func (d *Desk) VisitorChat(ctx context.Context) (*VisitorConversation, error) {
	v, sys, err := visitor(ctx)
	if err != nil {
		return nil, err
	}
	// What holds no word went into another contact when the visitor became known.
	i, err := d.db.Interaction.Query().Where(interaction.IdentityID(v.Identity), interaction.ChannelID(v.Channel), interaction.LastNumberGT(0)).Order(ent.Desc(interaction.FieldStartedAt, interaction.FieldID)).WithAgent().First(sys)
	if ent.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read chat: %w", err)
	}
	who, err := d.db.Identity.Get(sys, v.Identity)
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	unread, err := d.db.Message.Query().Where(message.IdentityID(v.Identity), message.DirectionEQ(message.DirectionOUTBOUND), message.VisibleNumberGT(who.ReadUpTo)).Count(sys)
	if err != nil {
		return nil, fmt.Errorf("count unread: %w", err)
	}
	out := &VisitorConversation{ID: v.Identity, State: visitorState(i), UnreadCount: unread, StartedAt: i.StartedAt}
	if a := i.Edges.Agent; a != nil {
		out.AgentName = &a.DisplayName
	}
	return out, nil
}

func visitorState(i *ent.Interaction) VisitorState {
	switch {
	case i.State == interaction.StateENDED, i.State == interaction.StateWRAP_UP:
		return VisitorEnded
	case i.State == interaction.StatePAUSED, i.State == interaction.StateACTIVE && i.UnansweredSince == nil:
		return VisitorWaitingForYou
	case i.State == interaction.StateACTIVE:
		return VisitorWithAgent
	}
	return VisitorWaiting
}

// VisitorMessages is a page of what the visitor may see: messages of the own identity's interactions and answers to
// them; nothing else of the conversation, ever (MODEL 6).
func (d *Desk) VisitorMessages(ctx context.Context, a page.Args) (*VisitorMessageConnection, error) {
	v, sys, err := visitor(ctx)
	if err != nil {
		return nil, err
	}
	p, err := a.Plan(page.Order{Column: message.FieldVisibleNumber})
	if err != nil {
		return nil, refuse(Invalid, err.Error())
	}
	rows, err := d.db.Message.Query().Where(message.IdentityID(v.Identity), p.Where).Order(p.OrderBy).Limit(p.Limit + 1).WithAttachments(byID).WithAgent().All(sys)
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	nodes, cursors, info := page.Build(p, rows, func(m *ent.Message, _ string) any { return *m.VisibleNumber }, func(m *ent.Message) gid.ID { return m.ID })
	out := &VisitorMessageConnection{PageInfo: info, Nodes: make([]*VisitorMessage, len(nodes)), Edges: make([]*VisitorMessageEdge, len(nodes))}
	for n, m := range nodes {
		out.Nodes[n] = d.visitorMessage(m)
		out.Edges[n] = &VisitorMessageEdge{Cursor: cursors[n], Node: out.Nodes[n]}
	}
	return out, nil
}

func byID(q *ent.AttachmentQuery) { q.Order(ent.Asc(attachment.FieldID)) }

func (d *Desk) visitorMessage(m *ent.Message) *VisitorMessage {
	out := &VisitorMessage{
		ID: m.ID, Number: *m.VisibleNumber, Mine: m.Direction == message.DirectionINBOUND, Text: deref(m.Text, ""), Delivery: m.Delivery,
		At: m.CreatedAt, Attachments: []*VisitorAttachment{},
	}
	if out.Mine {
		out.ClientKey = m.CausedByKey
	} else if m.Edges.Agent != nil {
		out.AuthorName = &m.Edges.Agent.DisplayName
	}
	for _, a := range m.Edges.Attachments {
		out.Attachments = append(out.Attachments, &VisitorAttachment{ID: a.ID, Name: a.Name, ContentType: a.ContentType, Bytes: a.Bytes, URL: d.DownloadURL(a)})
	}
	return out
}

// VisitorMessage is one message of the own chat.
func (d *Desk) VisitorMessage(ctx context.Context, id gid.ID) (*VisitorMessage, error) {
	v, sys, err := visitor(ctx)
	if err != nil {
		return nil, err
	}
	m, err := d.db.Message.Query().Where(message.ID(id), message.IdentityID(v.Identity)).WithAttachments(byID).WithAgent().Only(sys)
	if ent.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	return d.visitorMessage(m), nil
}

// VisitorEvents turns events of the log into what this visitor may know of them; what is not his is left out.
func (d *Desk) VisitorEvents(ctx context.Context, evs []*ent.Event) ([]*VisitorEvent, error) {
	v, _, err := visitor(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]*VisitorEvent, 0, len(evs))
	for _, e := range evs {
		if e.IdentityID == nil || *e.IdentityID != v.Identity || e.Private {
			continue
		}
		x := &VisitorEvent{Event: e}
		switch EventType(e.Type) {
		case MessageCreated:
			x.Type = VisitorMessageCreated
		case MessageUpdated:
			x.Type = VisitorMessageUpdated
		case InteractionStarted, InteractionUpdated, InteractionEnded:
			x.Type = VisitorConversationUpdated
		default:
			continue
		}
		if x.Type == VisitorConversationUpdated {
			x.Conversation, err = d.VisitorChat(ctx)
		} else {
			x.Message, err = d.VisitorMessage(ctx, e.SubjectID)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}
