package desk

import (
	"context"
	"fmt"
	"slices"

	"tributary/ent"
	"tributary/ent/attachment"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/ent/note"
	"tributary/ent/predicate"
	"tributary/ent/queue"
	"tributary/ent/timelineitem"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// Restricted queues (MODEL 6): only members of the queue's team see what is said in its interactions. To everybody else,
// whatever his reach, such an interaction is a placeholder. The predicate stands here once, for lists, counts, nodes,
// edges and what events show.

// restrictedTo are the workspace's restricted queues that none of these teams serves.
func restrictedTo(ctx context.Context, db *ent.Client, workspace gid.ID, teams []gid.ID) ([]gid.ID, error) {
	rows, err := db.Queue.Query().Where(queue.WorkspaceID(workspace), queue.Restricted(true)).Select(queue.FieldID, queue.FieldTeamID).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read restricted queues: %w", err)
	}
	var out []gid.ID
	for _, q := range rows {
		if q.TeamID == nil || !slices.Contains(teams, *q.TeamID) {
			out = append(out, q.ID)
		}
	}
	return unique(out), nil
}

// withhold registers the predicate on the client.
func (d *Desk) withhold() {
	db := d.db
	db.Message.Intercept(content(func(q *ent.MessageQuery, shown predicate.Interaction) {
		q.Where(message.HasInteractionWith(shown))
	}))
	db.Note.Intercept(content(func(q *ent.NoteQuery, shown predicate.Interaction) {
		q.Where(note.Or(note.InteractionIDIsNil(), note.HasInteractionWith(shown)))
	}))
	db.Attachment.Intercept(ent.TraverseFunc(func(ctx context.Context, q ent.Query) error {
		if v := viewer.From(ctx); v != nil && len(v.Withheld) > 0 {
			q.(*ent.AttachmentQuery).Where(attachment.Or(attachment.CreatorID(v.Actor), attachment.HasMessageWith(message.HasInteractionWith(shownTo(v)))))
		}
		return nil
	}))
	d.withholdCalls()
	// Messages, calls and assignments keep their place in the timeline, without content; notes and reasons are content.
	db.TimelineItem.Intercept(content(func(q *ent.TimelineItemQuery, shown predicate.Interaction) {
		q.Where(timelineitem.Or(timelineitem.TypeIn(timelineitem.TypeMESSAGE, timelineitem.TypeCALL, timelineitem.TypeASSIGNMENT),
			timelineitem.InteractionIDIsNil(), timelineitem.HasInteractionWith(shown)))
	}))
}

func shownTo(v *viewer.Viewer) predicate.Interaction {
	return interaction.Or(interaction.QueueIDIsNil(), interaction.QueueIDNotIn(v.Withheld...))
}

func content[Q ent.Query](cut func(Q, predicate.Interaction)) ent.Interceptor {
	return ent.TraverseFunc(func(ctx context.Context, q ent.Query) error {
		if v := viewer.From(ctx); v != nil && len(v.Withheld) > 0 {
			cut(q.(Q), shownTo(v))
		}
		return nil
	})
}

// allShown refuses to move what the viewer may not read: one interaction withheld from him holds its conversation.
func (w *work) allShown(ctx context.Context, conversationID gid.ID, field string) error {
	v := viewer.From(ctx)
	if len(v.Withheld) == 0 {
		return nil
	}
	i, err := w.tx.Interaction.Query().Where(interaction.ConversationID(conversationID), interaction.QueueIDIn(v.Withheld...)).First(asSystem(ctx))
	if ent.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read interactions: %w", err)
	}
	return withheld(ctx, i, field)
}

// restrictedAlike reports whether two interactions are hidden from the same people.
func (w *work) restrictedAlike(ctx context.Context, a, b *ent.Interaction) (bool, error) {
	if same(a.QueueID, b.QueueID) {
		return true, nil
	}
	var ids []gid.ID
	for _, i := range []*ent.Interaction{a, b} {
		if i.QueueID != nil {
			ids = append(ids, *i.QueueID)
		}
	}
	n, err := w.tx.Queue.Query().Where(queue.IDIn(ids...), queue.Restricted(true)).Count(ctx)
	if err != nil {
		return false, fmt.Errorf("read queues: %w", err)
	}
	return n == 0, nil
}

// withheldFromOthers is withheld, but for who serves it: one who is no member any more cannot read it, and can give it
// back or end it.
func withheldFromOthers(ctx context.Context, i *ent.Interaction) error {
	if me := viewer.From(ctx).Actor; i.AgentID != nil && *i.AgentID == me {
		return nil
	}
	return withheld(ctx, i, "id")
}

// withheld refuses to work on what the viewer may not read.
func withheld(ctx context.Context, i *ent.Interaction, field ...string) error {
	if viewer.From(ctx).Withholds(i.QueueID) {
		return refuse(NotAllowed, "it belongs to a restricted queue whose member you are not", field...)
	}
	return nil
}
