package desk

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"tributary/ent"
	"tributary/ent/mention"
	"tributary/ent/note"
	"tributary/ent/timelineitem"
	"tributary/internal/clean"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

const (
	maxNote     = 20_000 // characters
	maxMentions = 20
)

func checkNote(text string) (string, error) {
	t := clean.Text(text)
	switch {
	case strings.TrimSpace(t) == "":
		return "", refuse(Required, "a note has a text", "input", "text")
	case utf8.RuneCountInString(t) > maxNote:
		return "", refuse(TooLong, fmt.Sprintf("a note has at most %d characters", maxNote), "input", "text")
	}
	return t, nil
}

// CreateNote writes internal text. About an interaction it is withheld together with it.
func (d *Desk) CreateNote(ctx context.Context, in NoteCreateInput, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.ConversationWrite); err != nil {
		return gid.ID{}, err
	}
	text, err := checkNote(in.Text)
	if err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"noteCreate", in}, func(ctx context.Context, w *work) (gid.ID, error) {
		c, i, err := w.noteOn(ctx, in)
		if err != nil {
			return gid.ID{}, err
		}
		row := w.tx.Note.Create().SetConversationID(c.ID).SetNillableInteractionID(in.InteractionID).SetText(text).SetPinned(deref(in.Pinned, false)).SetCreatedAt(w.at)
		item := w.tx.TimelineItem.Create().SetType(timelineitem.TypeNOTE).SetAt(w.at).SetConversationID(c.ID).SetCustomerID(c.CustomerID).SetNillableInteractionID(in.InteractionID)
		switch v := viewer.From(ctx); v.Actor.Kind() {
		case gid.Agent:
			row.SetAgentID(v.Actor)
			item.SetAgentID(v.Actor)
		case gid.App:
			row.SetAppID(v.Actor)
		}
		n, err := row.Save(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("write note: %w", err)
		}
		if err := item.SetNoteID(n.ID).Exec(ctx); err != nil {
			return gid.ID{}, fmt.Errorf("write timeline: %w", err)
		}
		w.emit(fact{typ: NoteCreated, subject: n.ID, version: n.Version, conv: c, inter: i})
		return n.ID, w.mention(asSystem(ctx), c, i, n, in.MentionIds)
	})
}

// noteOn locks what a note is about.
func (w *work) noteOn(ctx context.Context, in NoteCreateInput) (*ent.Conversation, *ent.Interaction, error) {
	if in.InteractionID != nil {
		c, i, err := w.lockInteraction(ctx, *in.InteractionID)
		if err != nil {
			return nil, nil, fieldTo(err, "input", "interactionId")
		}
		if in.ConversationID != nil && *in.ConversationID != c.ID {
			return nil, nil, notFound("interaction in this conversation", "input", "interactionId")
		}
		return c, i, withheld(ctx, i, "input", "interactionId")
	}
	if in.ConversationID == nil {
		return nil, nil, refuse(Required, "name a conversation or an interaction", "input", "conversationId")
	}
	c, err := w.lockConversation(ctx, *in.ConversationID)
	if ent.IsNotFound(err) {
		return nil, nil, notFound("conversation", "input", "conversationId")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("lock conversation: %w", err)
	}
	return c, nil, whole(c, "input", "conversationId")
}

// mention makes exactly these agents the mentioned ones. Who is new follows the conversation and is told.
func (w *work) mention(ctx context.Context, c *ent.Conversation, i *ent.Interaction, n *ent.Note, agents []gid.ID) error {
	agents = unique(slices.Clone(agents))
	if len(agents) > maxMentions {
		return refuse(LimitReached, fmt.Sprintf("a note names at most %d agents", maxMentions), "input", "mentionIds")
	}
	old, err := w.tx.Mention.Query().Where(mention.NoteID(n.ID)).All(ctx)
	if err != nil {
		return fmt.Errorf("read mentions: %w", err)
	}
	known := map[gid.ID]bool{}
	for _, m := range old {
		known[m.AgentID] = true
	}
	if _, err := w.tx.Mention.Delete().Where(mention.NoteID(n.ID), mention.AgentIDNotIn(agents...)).Exec(ctx); err != nil {
		return fmt.Errorf("end mentions: %w", err)
	}
	agents = slices.DeleteFunc(agents, func(a gid.ID) bool { return known[a] })
	if len(agents) == 0 {
		return nil
	}
	if err := w.agentsExist(ctx, agents, "input", "mentionIds"); err != nil {
		return err
	}
	for _, a := range agents {
		if err := w.tx.Mention.Create().SetNoteID(n.ID).SetAgentID(a).Exec(ctx); err != nil {
			return fmt.Errorf("write mention: %w", err)
		}
	}
	if c, err = w.follow(ctx, c, agents, true); err != nil {
		return err
	}
	for _, a := range agents {
		w.emit(fact{typ: Mentioned, subject: n.ID, version: n.Version, conv: c, inter: i, audience: []gid.ID{a}, private: true})
	}
	return nil
}

// UpdateNote changes a note: its author may, and a supervisor; pin it whoever sees it.
func (d *Desk) UpdateNote(ctx context.Context, id gid.ID, in NoteUpdateInput, ifVersion *int, key *string) (gid.ID, error) {
	text := ""
	if in.Text != nil {
		var err error
		if text, err = checkNote(*in.Text); err != nil {
			return gid.ID{}, err
		}
	}
	return d.noted(ctx, id, key, []any{"noteUpdate", in, ifVersion}, func(ctx context.Context, w *work, c *ent.Conversation, i *ent.Interaction, n *ent.Note) error {
		if in.Text != nil || in.MentionIds != nil {
			if err := authorOf(ctx, n); err != nil {
				return err
			}
		}
		if err := fits(n.Version, ifVersion); err != nil {
			return err
		}
		u := w.tx.Note.UpdateOneID(id).Where(note.Version(n.Version)).AddVersion(1).SetUpdatedAt(w.at).SetNillablePinned(in.Pinned)
		if in.Text != nil {
			u.SetText(text)
		}
		m, err := u.Save(ctx)
		if ent.IsNotFound(err) {
			return refuse(StaleVersion, "somebody changed it meanwhile", "ifVersion")
		}
		if err != nil {
			return fmt.Errorf("save note: %w", err)
		}
		w.emit(fact{typ: NoteUpdated, subject: id, version: m.Version, conv: c, inter: i})
		if in.MentionIds == nil {
			return nil
		}
		return w.mention(asSystem(ctx), c, i, m, *in.MentionIds)
	})
}

// DeleteNote deletes a note for good, with its place in the timeline.
func (d *Desk) DeleteNote(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	return d.noted(ctx, id, key, "noteDelete", func(ctx context.Context, w *work, c *ent.Conversation, i *ent.Interaction, n *ent.Note) error {
		if err := authorOf(ctx, n); err != nil {
			return err
		}
		sys := asSystem(ctx)
		if _, err := w.tx.TimelineItem.Delete().Where(timelineitem.NoteID(id)).Exec(sys); err != nil {
			return fmt.Errorf("delete note's place: %w", err)
		}
		if _, err := w.tx.Mention.Delete().Where(mention.NoteID(id)).Exec(sys); err != nil {
			return fmt.Errorf("delete mentions: %w", err)
		}
		if err := w.tx.Note.DeleteOneID(id).Exec(sys); err != nil {
			return fmt.Errorf("delete note: %w", err)
		}
		w.emit(fact{typ: NoteDeleted, subject: id, version: n.Version + 1, conv: c, inter: i})
		return nil
	})
}

func authorOf(ctx context.Context, n *ent.Note) error {
	v := viewer.From(ctx)
	if n.AgentID != nil && *n.AgentID == v.Actor || n.AppID != nil && *n.AppID == v.Actor || v.Has(viewer.Supervise) {
		return nil
	}
	return refuse(NotAllowed, "its author changes it, or a supervisor", "id")
}

// noted is the frame of operations on one note.
func (d *Desk) noted(ctx context.Context, id gid.ID, key *string, what any, f func(context.Context, *work, *ent.Conversation, *ent.Interaction, *ent.Note) error) (gid.ID, error) {
	if err := need(ctx, viewer.ConversationWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{what, id}, func(ctx context.Context, w *work) (gid.ID, error) {
		n, err := w.tx.Note.Query().Where(note.ID(id)).WithInteraction().Only(ctx)
		if ent.IsNotFound(err) {
			return gid.ID{}, notFound("note", "id")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("read note: %w", err)
		}
		c, err := w.lockConversation(ctx, n.ConversationID)
		if err != nil {
			return gid.ID{}, fmt.Errorf("lock conversation: %w", err)
		}
		return id, f(ctx, w, c, n.Edges.Interaction, n)
	})
}
