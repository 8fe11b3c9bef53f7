package desk

import (
	"context"
	"fmt"
	"slices"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/interaction"
	"tributary/ent/threadref"
	"tributary/internal/gid"
	"tributary/internal/personal"
)

// Threads of kinds whose messages name earlier ones (MODEL 4, first rule): our mark of a message, then the newest of the
// named messages that we know on this channel, our mark of a conversation, a named message of another channel, else the
// thread that the kind gave. A message is more exact than its conversation, in which a restricted contact may stand.

// thread is where a message belongs before any rule of joining.
type thread struct {
	key     string           // blind name of the thread on its channel
	follows *ent.Interaction // a contact on another channel that it goes on from
}

// refsKept is how many of the named messages are remembered for a thread: the oldest and the newest half.
const refsKept = 40

func refBlind(workspace gid.ID, id string) string {
	return personal.Blind(workspace, "thread.ref", id)
}

// threadOf finds the thread of an event.
func (w *work) threadOf(ctx context.Context, ch *ent.Channel, in channels.Inbound) (thread, error) {
	own := thread{key: personal.Blind(ch.WorkspaceID, "interaction.thread", in.ThreadKey)}
	if len(in.Marks) == 0 && len(in.References) == 0 {
		return own, nil
	}
	i, err := w.markedContact(ctx, ch, in.Marks)
	if err != nil || i != nil {
		return own.goesOn(ch, i), err
	}
	refs, err := w.refsOf(ctx, ch, in.References)
	if err != nil {
		return own, err
	}
	for _, r := range refs {
		if r.ChannelID == ch.ID {
			return thread{key: r.ThreadKey}, nil
		}
	}
	if i, err = w.marked(ctx, ch, in.Marks); err != nil || i != nil {
		return own.goesOn(ch, i), err
	}
	return w.referred(ctx, ch, own, refs)
}

// goesOn is the thread of a known contact: its own one, or a new one after a contact of another channel.
func (t thread) goesOn(ch *ent.Channel, i *ent.Interaction) thread {
	switch {
	case i == nil:
		return t
	case i.ChannelID != nil && *i.ChannelID == ch.ID:
		return thread{key: i.ThreadKey}
	default:
		return thread{key: t.key, follows: i}
	}
}

// refsOf are what is known of named messages, the newest first.
func (w *work) refsOf(ctx context.Context, ch *ent.Channel, refs []string) ([]*ent.ThreadRef, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	blinds := make([]string, len(refs))
	for n, r := range refs {
		blinds[n] = refBlind(ch.WorkspaceID, r)
	}
	rows, err := w.tx.ThreadRef.Query().Where(threadref.RefIn(blinds...)).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("find thread: %w", err)
	}
	slices.SortFunc(rows, func(a, b *ent.ThreadRef) int { return slices.Index(blinds, b.Ref) - slices.Index(blinds, a.Ref) })
	return rows, nil
}

// referred is the thread of the newest named message that is known on another channel.
func (w *work) referred(ctx context.Context, ch *ent.Channel, own thread, refs []*ent.ThreadRef) (thread, error) {
	for _, r := range refs {
		i, err := w.tx.Interaction.Query().Where(interaction.ChannelID(r.ChannelID), interaction.ThreadKey(r.ThreadKey)).
			Order(ent.Desc(interaction.FieldStartedAt, interaction.FieldID)).WithConversation().First(ctx)
		if err == nil {
			return own.goesOn(ch, i), nil
		}
		if !ent.IsNotFound(err) {
			return own, fmt.Errorf("find thread's contact: %w", err)
		}
	}
	return own, nil
}

// remember notes which messages lead to the thread, also those that we never saw: two answers to one of them still meet.
func (w *work) remember(ctx context.Context, m *ent.Message, in channels.Inbound) error {
	if in.RefID == "" && len(in.References) == 0 {
		return nil
	}
	// Where it stands, which may be another channel's contact: a machine's word opens none of its own.
	i, err := w.tx.Interaction.Get(ctx, m.InteractionID)
	if err != nil {
		return fmt.Errorf("read interaction: %w", err)
	}
	if i.ChannelID == nil {
		return nil
	}
	ids := slices.Clone(in.References)
	if in.RefID != "" {
		ids = append(ids, in.RefID)
	}
	if len(ids) > refsKept {
		ids = append(ids[:refsKept/2:refsKept/2], ids[len(ids)-refsKept/2:]...)
	}
	seen := map[string]bool{}
	rows := []*ent.ThreadRefCreate{}
	for _, id := range ids {
		if b := refBlind(m.WorkspaceID, id); !seen[b] {
			seen[b] = true
			rows = append(rows, w.tx.ThreadRef.Create().SetChannelID(*i.ChannelID).SetRef(b).SetThreadKey(i.ThreadKey).SetAt(w.at))
		}
	}
	err = w.tx.ThreadRef.CreateBulk(rows...).OnConflictColumns(threadref.FieldWorkspaceID, threadref.FieldRef, threadref.FieldChannelID).DoNothing().Exec(ctx)
	if err != nil && !isNoRows(err) {
		return fmt.Errorf("write thread references: %w", err)
	}
	return nil
}
