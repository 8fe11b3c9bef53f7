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

// Threads of kinds whose messages name earlier ones (MODEL 4, first rule): our mark in an address or id, then the newest
// of the named messages that we know, else the thread that the kind gave.

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
	i, err := w.marked(ctx, ch, in.Marks)
	if err != nil || i != nil {
		return own.goesOn(ch, i), err
	}
	return w.referred(ctx, ch, own, in.References)
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

// referred is the thread of the newest named message that is known, on this channel if it is known there.
func (w *work) referred(ctx context.Context, ch *ent.Channel, own thread, refs []string) (thread, error) {
	blinds := make([]string, len(refs))
	for n, r := range refs {
		blinds[n] = refBlind(ch.WorkspaceID, r)
	}
	rows, err := w.tx.ThreadRef.Query().Where(threadref.RefIn(blinds...)).All(ctx)
	if err != nil {
		return own, fmt.Errorf("find thread: %w", err)
	}
	slices.SortFunc(rows, func(a, b *ent.ThreadRef) int { return slices.Index(blinds, b.Ref) - slices.Index(blinds, a.Ref) })
	for _, r := range rows {
		if r.ChannelID == ch.ID {
			return thread{key: r.ThreadKey}, nil
		}
	}
	for _, r := range rows {
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
func (w *work) remember(ctx context.Context, ch *ent.Channel, key string, in channels.Inbound) error {
	ids := slices.Clone(in.References)
	if in.RefID != "" {
		ids = append(ids, in.RefID)
	}
	if len(ids) > refsKept {
		ids = append(ids[:refsKept/2:refsKept/2], ids[len(ids)-refsKept/2:]...)
	}
	if len(ids) == 0 {
		return nil
	}
	seen := map[string]bool{}
	rows := []*ent.ThreadRefCreate{}
	for _, id := range ids {
		if b := refBlind(ch.WorkspaceID, id); !seen[b] {
			seen[b] = true
			rows = append(rows, w.tx.ThreadRef.Create().SetChannelID(ch.ID).SetRef(b).SetThreadKey(key).SetAt(w.at))
		}
	}
	err := w.tx.ThreadRef.CreateBulk(rows...).OnConflictColumns(threadref.FieldWorkspaceID, threadref.FieldRef, threadref.FieldChannelID).DoNothing().Exec(ctx)
	if err != nil && !isNoRows(err) {
		return fmt.Errorf("write thread references: %w", err)
	}
	return nil
}
