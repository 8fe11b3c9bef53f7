package desk

import (
	"context"
	"fmt"
	"time"

	"tributary/ent"
	"tributary/ent/interaction"
	"tributary/ent/job"
	"tributary/ent/message"
	"tributary/internal/viewer"
)

// Gauges are numbers named after promises, over all workspaces: an operator's first look.
type Gauges struct {
	OldestUnrouted time.Duration // how long the oldest interaction has waited without an offer
	Waiting        int           // QUEUED or OFFERED
	Uncertain      int           // messages of which nobody knows whether they arrived
	DeadLetters    int           // work that was given up
	// Stray interactions break the invariant that whatever is open has a queue, an offer or a server. It is always 0.
	Stray int
}

// Gauges reads them.
func (d *Desk) Gauges(ctx context.Context) (g Gauges, err error) {
	ctx = within(viewer.Global(ctx))
	if g.Waiting, err = d.db.Interaction.Query().Where(interaction.StateIn(interaction.StateQUEUED, interaction.StateOFFERED)).Count(ctx); err != nil {
		return g, fmt.Errorf("count what waits: %w", err)
	}
	if g.Uncertain, err = d.db.Message.Query().Where(message.DeliveryEQ(message.DeliveryUNCERTAIN)).Count(ctx); err != nil {
		return g, fmt.Errorf("count uncertain messages: %w", err)
	}
	if g.DeadLetters, err = d.db.Job.Query().Where(job.StateEQ(job.StateDead)).Count(ctx); err != nil {
		return g, fmt.Errorf("count dead letters: %w", err)
	}
	g.Stray, err = d.db.Interaction.Query().Where(interaction.Or(
		interaction.And(interaction.StateEQ(interaction.StateQUEUED), interaction.QueueIDIsNil()),
		interaction.And(interaction.StateEQ(interaction.StateOFFERED), interaction.OpenOfferIDIsNil()),
		interaction.And(interaction.StateIn(interaction.StateACTIVE, interaction.StateWRAP_UP), interaction.AgentIDIsNil()))).Count(ctx)
	if err != nil {
		return g, fmt.Errorf("count strays: %w", err)
	}
	oldest, err := d.db.Interaction.Query().Where(interaction.StateEQ(interaction.StateQUEUED), interaction.QueuedAtNotNil()).
		Order(ent.Asc(interaction.FieldQueuedAt)).First(ctx)
	switch {
	case ent.IsNotFound(err):
		return g, nil
	case err != nil:
		return g, fmt.Errorf("read the oldest: %w", err)
	}
	g.OldestUnrouted = d.now().Sub(*oldest.QueuedAt)
	return g, nil
}
