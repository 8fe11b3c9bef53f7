package desk

import (
	"context"
	"fmt"
	"time"

	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/conversation"
	"tributary/ent/counter"
	"tributary/ent/interaction"
	"tributary/ent/predicate"
	"tributary/ent/queue"
	"tributary/internal/gid"
	"tributary/internal/personal"
)

// placing is where a contact goes and why.
type placing struct {
	conv    *ent.Conversation // nil: a new one
	related *gid.ID           // what a new one follows
	rule    interaction.JoinedBy
	prefer  *gid.ID // who should serve it
	last    *ent.Interaction
}

// place finds the interaction that a message belongs to, or opens one by the rules of MODEL 4, in the ingest transaction.
// The conversation comes back locked.
func (w *work) place(ctx context.Context, a arrival) (*ent.Conversation, *ent.Interaction, error) {
	thread := interaction.And(interaction.ChannelID(a.channel.ID), interaction.ThreadKey(threadKey(a)))
	open, err := w.tx.Interaction.Query().Where(thread, interaction.StateNEQ(interaction.StateENDED)).Only(ctx)
	if err != nil && !ent.IsNotFound(err) {
		return nil, nil, fmt.Errorf("find thread: %w", err)
	}
	if open != nil {
		c, i, err := w.lockInteraction(ctx, open.ID)
		if err != nil {
			return nil, nil, err
		}
		if i.State != interaction.StateENDED {
			return c, i, nil
		}
		// It ended between the look and the lock: go on as if it had ended before.
	}
	p, err := w.joinRule(ctx, a, thread)
	if err != nil {
		return nil, nil, err
	}
	// A machine's word reopens nothing and opens nothing where the thread is known: it stands where the thread ended.
	if a.in.Automatic && p.last != nil {
		c, err := w.lockConversation(ctx, p.last.ConversationID)
		if err != nil {
			return nil, nil, fmt.Errorf("lock conversation: %w", err)
		}
		return c, p.last, stays(c)
	}
	return w.openInteraction(ctx, a, p)
}

// threadKey is the blind index of the provider's name of the thread, which may be a person's address.
func threadKey(a arrival) string {
	if a.thread.key != "" {
		return a.thread.key
	}
	return personal.Blind(a.channel.WorkspaceID, "interaction.thread", a.in.ThreadKey)
}

// joinRule decides which conversation a contact without an open thread joins.
func (w *work) joinRule(ctx context.Context, a arrival, thread predicate.Interaction) (placing, error) {
	last, err := w.tx.Interaction.Query().Where(thread).Order(ent.Desc(interaction.FieldStartedAt, interaction.FieldID)).WithConversation().First(ctx)
	if err != nil && !ent.IsNotFound(err) {
		return placing{}, fmt.Errorf("find thread's history: %w", err)
	}
	if last == nil {
		last = a.thread.follows
	}
	if last != nil {
		return w.continueThread(last, a), nil
	}
	if !a.channel.JoinOpen {
		return placing{rule: interaction.JoinedByNEW}, nil
	}
	open, err := w.tx.Conversation.Query().Where(conversation.CustomerID(a.identity.CustomerID),
		conversation.StateIn(conversation.StateOPEN, conversation.StatePENDING, conversation.StateSNOOZED)).All(ctx)
	if err != nil {
		return placing{}, fmt.Errorf("find open conversations: %w", err)
	}
	return chooseOpen(open, w.at.Add(-hours(a.channel.JoinWithinHours))), nil
}

// continueThread is rule 1 for a thread that ended: back into its conversation while that may reopen, else a new one
// that follows it.
func (w *work) continueThread(last *ent.Interaction, a arrival) placing {
	c := last.Edges.Conversation
	p := placing{rule: interaction.JoinedByTHREAD, last: last}
	if c == nil {
		p.rule = interaction.JoinedByNEW
		return p
	}
	// The days count from the resolution, or from the thread's end where that is missing.
	ended := c.ResolvedAt
	if ended == nil {
		ended = last.EndedAt
	}
	late := ended != nil && w.at.Sub(*ended) > time.Duration(a.channel.ReopenWithinDays)*24*time.Hour
	if c.State == conversation.StateARCHIVED || c.State == conversation.StateRESOLVED && late {
		p.rule, p.related = interaction.JoinedByNEW, &c.ID
		return p
	}
	p.conv, p.prefer = c, c.OwnerID
	return p
}

// chooseOpen is rule 2: the one open conversation; of several the one active last within the time, as a guess.
func chooseOpen(open []*ent.Conversation, notBefore time.Time) placing {
	switch len(open) {
	case 0:
		return placing{rule: interaction.JoinedByNEW}
	case 1:
		return placing{conv: open[0], rule: interaction.JoinedByOPEN_CONVERSATION, prefer: open[0].OwnerID}
	}
	var best *ent.Conversation
	for _, c := range open {
		if activeAt(c).Before(notBefore) {
			continue
		}
		if best == nil || activeAt(c).After(activeAt(best)) {
			best = c
		}
	}
	if best == nil {
		return placing{rule: interaction.JoinedByNEW}
	}
	return placing{conv: best, rule: interaction.JoinedByGUESS, prefer: best.OwnerID}
}

func activeAt(c *ent.Conversation) time.Time {
	if c.LastMessageAt != nil {
		return *c.LastMessageAt
	}
	return c.OpenedAt
}

// openInteraction opens the interaction, in a new conversation if there is none to join.
func (w *work) openInteraction(ctx context.Context, a arrival, p placing) (*ent.Conversation, *ent.Interaction, error) {
	q, err := w.queueFor(ctx, a.channel, p.last)
	if err == nil && a.regains != nil {
		q, err = w.queueAgain(ctx, a.regains, q)
	}
	if err != nil {
		return nil, nil, err
	}
	c := p.conv
	if c != nil {
		if c, err = w.lockConversation(ctx, c.ID); err != nil {
			return nil, nil, fmt.Errorf("lock conversation: %w", err)
		}
		if err := stays(c); err != nil {
			return nil, nil, err
		}
	} else if c, err = w.newConversation(ctx, a, p); err != nil {
		return nil, nil, err
	}
	row := w.tx.Interaction.Create().SetConversationID(c.ID).SetCustomerID(a.identity.CustomerID).SetChannelID(a.channel.ID).SetChannelKind(a.channel.Kind).
		SetIdentityID(a.identity.ID).SetThreadKey(threadKey(a)).SetThread(personal.Of(a.in.ThreadKey)).SetState(interaction.StateQUEUED).SetLive(a.live).SetPriority(interaction.Priority(c.Priority)).
		SetQueueID(q.ID).SetJoinedBy(p.rule).SetStartedAt(w.at).SetCreatedAt(w.at)
	sticky := time.Duration(q.StickySeconds) * time.Second
	if p.prefer != nil {
		row.SetPreferID(*p.prefer).SetPreferUntil(w.at.Add(sticky))
	}
	switch {
	case a.inFlow:
		row.SetState(interaction.StateIN_FLOW)
	case a.regains != nil:
		a.regains.restore(row, sticky, w.at)
	default:
		row.SetQueuedAt(w.at)
	}
	i, err := row.Save(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("write interaction: %w", err)
	}
	if q.TeamID != nil {
		if c, err = w.grant(ctx, c, *q.TeamID, access.ReasonQUEUE); err != nil {
			return nil, nil, err
		}
	}
	if p.conv == nil {
		w.emit(fact{typ: ConversationCreated, subject: c.ID, version: c.Version, conv: c})
	}
	w.emit(fact{typ: InteractionStarted, subject: i.ID, version: i.Version, conv: c, inter: i})
	return c, i, nil
}

func (w *work) newConversation(ctx context.Context, a arrival, p placing) (*ent.Conversation, error) {
	n, err := w.nextNumber(ctx, "conversation")
	if err != nil {
		return nil, err
	}
	c, err := w.tx.Conversation.Create().SetCustomerID(a.identity.CustomerID).SetNumber(n).SetNillableRelatedID(p.related).SetNillableSubject(some(a.in.Subject)).SetOpenedAt(w.at).SetCreatedAt(w.at).Save(ctx)
	if err != nil {
		return nil, fmt.Errorf("write conversation: %w", err)
	}
	return c, nil
}

// nextNumber counts in a row of the workspace: numbers for people are dense as far as transactions commit.
func (w *work) nextNumber(ctx context.Context, name string) (int, error) {
	n, err := w.tx.Counter.Update().Where(counter.Name(name)).AddLast(1).Save(ctx)
	if err == nil && n == 0 {
		err = w.tx.Counter.Create().SetName(name).SetLast(1).Exec(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", name, err)
	}
	row, err := w.tx.Counter.Query().Where(counter.Name(name)).Only(ctx)
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", name, err)
	}
	return row.Last, nil
}

// queueFor is where the next contact of a thread waits: a restricted matter goes on where it was.
func (w *work) queueFor(ctx context.Context, ch *ent.Channel, last *ent.Interaction) (*ent.Queue, error) {
	if last != nil && last.QueueID != nil {
		q, err := w.tx.Queue.Get(ctx, *last.QueueID)
		if err != nil {
			return nil, fmt.Errorf("read queue: %w", err)
		}
		if q.Restricted {
			return q, nil
		}
	}
	return w.queueOf(ctx, ch)
}

// queueOf is the channel's queue, or the workspace's default one.
func (w *work) queueOf(ctx context.Context, ch *ent.Channel) (*ent.Queue, error) {
	id := ch.QueueID
	if id == nil {
		ws, err := w.tx.Workspace.Get(ctx, ch.WorkspaceID)
		if err != nil {
			return nil, fmt.Errorf("read workspace: %w", err)
		}
		id = ws.DefaultQueueID
	}
	if id == nil {
		return nil, fmt.Errorf("workspace %s has no default queue", ch.WorkspaceID)
	}
	q, err := w.tx.Queue.Query().Where(queue.ID(*id)).Only(ctx)
	if err != nil {
		return nil, fmt.Errorf("read queue: %w", err)
	}
	return q, nil
}

// queueAgain is the queue of a lost call, if it is still there.
func (w *work) queueAgain(ctx context.Context, l *lost, fallback *ent.Queue) (*ent.Queue, error) {
	q, err := w.tx.Queue.Query().Where(queue.ID(*l.inter.QueueID)).Only(ctx)
	if ent.IsNotFound(err) {
		return fallback, nil
	}
	return q, wrapped("read queue", err)
}

func hours(n int) time.Duration { return time.Duration(n) * time.Hour }
