package desk

import (
	"context"
	"fmt"

	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/queue"
	"tributary/internal/gid"
	"tributary/internal/jobs"
)

// Sight follows a queue whose team changed (MODEL 6): the conversations with an interaction in it are walked after the
// commit, in batches, each in a transaction of its own, for there may be many.

type queueMovedArgs struct {
	Queue gid.ID  `json:"queue"`
	Was   *gid.ID `json:"was"`
	After gid.ID  `json:"after"`
}

const queueMovedBatch = 200

// queueMoved starts the walk if the team changed; viewers are made anew if what is withheld from them may have.
func (w *work) queueMoved(ctx context.Context, from, to *ent.Queue) error {
	if from.Restricted == to.Restricted && same(from.TeamID, to.TeamID) {
		return nil
	}
	w.viewer.clear()
	if same(from.TeamID, to.TeamID) {
		return nil
	}
	return w.walkQueue(asSystem(ctx), queueMovedArgs{Queue: to.ID, Was: from.TeamID})
}

func (w *work) walkQueue(ctx context.Context, args queueMovedArgs) error {
	_, _, err := jobs.Enqueue(ctx, w.tx, jobs.New{Kind: jobQueueMoved, Group: "queue|" + args.Queue.String(), Args: args, Subject: args.Queue})
	return err
}

// moveQueueSight is one step of the walk. A step that is repeated changes nothing twice.
func (d *Desk) moveQueueSight(ctx context.Context, cl *jobs.Claim) error {
	var args queueMovedArgs
	if err := cl.Decode(&args); err != nil {
		return jobs.Permanent(err)
	}
	ids, err := d.db.Conversation.Query().Where(conversation.IDGT(args.After), conversation.HasInteractionsWith(interaction.QueueID(args.Queue))).
		Order(ent.Asc(conversation.FieldID)).Limit(queueMovedBatch).IDs(within(ctx))
	if err != nil {
		return fmt.Errorf("read queue's conversations: %w", err)
	}
	for _, id := range ids {
		if err := d.do(ctx, nil, func(ctx context.Context, w *work) error { return w.seeQueue(ctx, id, args) }); err != nil {
			return err
		}
	}
	if len(ids) < queueMovedBatch {
		return nil
	}
	return d.do(ctx, nil, func(ctx context.Context, w *work) error {
		args.After = ids[len(ids)-1]
		if err := w.walkQueue(ctx, args); err != nil {
			return err
		}
		return cl.Complete(ctx, w.tx)
	})
}

// seeQueue gives one conversation to the queue's team of now and takes it from the one before.
func (w *work) seeQueue(ctx context.Context, id gid.ID, args queueMovedArgs) error {
	c, err := w.lockConversation(ctx, id)
	if err != nil {
		return fmt.Errorf("lock conversation: %w", err)
	}
	rows, err := w.tx.Interaction.Query().Where(interaction.ConversationID(id), interaction.HasQueueWith(queue.TeamIDNotNil())).WithQueue().All(ctx)
	if err != nil {
		return fmt.Errorf("read interactions: %w", err)
	}
	was := false
	for _, i := range rows {
		q := i.Edges.Queue
		was = was || same(q.TeamID, args.Was)
		if q.ID != args.Queue {
			continue
		}
		if c, err = w.grant(ctx, c, *q.TeamID, access.ReasonQUEUE); err != nil {
			return err
		}
	}
	if args.Was == nil || was {
		return nil
	}
	_, err = w.revoke(ctx, c, *args.Was, access.ReasonQUEUE)
	return err
}
