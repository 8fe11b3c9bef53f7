package desk

import (
	"context"
	"fmt"
	"time"

	"tributary/ent"
	"tributary/ent/assignment"
	"tributary/ent/interaction"
	"tributary/ent/rawinbound"
	"tributary/internal/gid"
	"tributary/internal/jobs"
)

// Register gives the runner the desk's work.
func (d *Desk) Register(r *jobs.Runner) {
	r.Register(jobIngest, d.ingest, jobs.Options{Concurrency: 8, OnDead: d.ingestDead})
	r.Register(jobSend, d.deliver, jobs.Options{Concurrency: 8, Timeout: sendTimeout, OnDead: d.sendDead})
	r.Register(jobFetch, d.fetchMedia, jobs.Options{Concurrency: 4, Timeout: fetchTimeout, MaxAttempts: 8, OnDead: d.fetchDead})
	r.Register(jobDismiss, d.takeAll, jobs.Options{Concurrency: 2})
	r.Register(jobWake, d.wake, jobs.Options{Concurrency: 2})
	r.Register(jobQueueMoved, d.moveQueueSight, jobs.Options{Concurrency: 1})
	r.Register(jobOfferExpire, d.expireOffer, jobs.Options{Concurrency: 4})
	r.Register(jobPause, d.timer(func(ctx context.Context, w *work, c *ent.Conversation, i *ent.Interaction, args timerArgs) error {
		if i.State != interaction.StateACTIVE || i.UnansweredSince != nil || i.Live {
			return nil
		}
		as, err := w.serving(ctx, i)
		if err != nil || as != nil && as.StartedAt.After(args.Since) { // somebody else took it since: his silence has a timer of its own
			return err
		}
		return w.pause(ctx, c, i)
	}), jobs.Options{Concurrency: 2})
	r.Register(jobSilent, d.silent, jobs.Options{Concurrency: 2})
	r.Register(jobWrapUp, d.timer(func(ctx context.Context, w *work, c *ent.Conversation, i *ent.Interaction, _ timerArgs) error {
		// The customer may have written and the contact ended again: that work has a timer of its own.
		if i.State != interaction.StateWRAP_UP || i.WrapUpUntil != nil && i.WrapUpUntil.After(w.at.Add(time.Second)) {
			return nil
		}
		_, err := w.leave(ctx, c, i, onWrapUpDone, nil)
		return err
	}), jobs.Options{Concurrency: 2})
}

// timer makes a job of what shall happen to an interaction unless something was said meanwhile.
func (d *Desk) timer(f func(context.Context, *work, *ent.Conversation, *ent.Interaction, timerArgs) error) jobs.Handler {
	return func(ctx context.Context, cl *jobs.Claim) error {
		var args timerArgs
		if err := cl.Decode(&args); err != nil {
			return jobs.Permanent(err)
		}
		return d.do(ctx, nil, func(ctx context.Context, w *work) error {
			c, i, err := w.lockInteraction(ctx, args.Interaction)
			if err != nil {
				return err
			}
			if args.Number == 0 || i.LastNumber == args.Number {
				if err := f(ctx, w, c, i, args); err != nil {
					return err
				}
			}
			return cl.Complete(ctx, w.tx)
		})
	}
}

// silent takes an interaction from an agent whose silence has lasted since the timer was set.
func (d *Desk) silent(ctx context.Context, cl *jobs.Claim) error {
	var args silenceArgs
	if err := cl.Decode(&args); err != nil {
		return jobs.Permanent(err)
	}
	return d.do(ctx, nil, func(ctx context.Context, w *work) error {
		c, i, err := w.lockInteraction(ctx, args.Interaction)
		if err != nil {
			return err
		}
		since, err := w.silentSince(ctx, i)
		if err != nil {
			return err
		}
		if since != nil && since.Equal(args.Since) {
			if err := w.giveUp(ctx, c, i, "the agent was silent"); err != nil {
				return err
			}
		}
		return cl.Complete(ctx, w.tx)
	})
}

// silentSince is when the server's silence began: at the customer's first unanswered word, or when he took it after
// that; nil if nobody is silent.
func (w *work) silentSince(ctx context.Context, i *ent.Interaction) (*time.Time, error) {
	if i.State != interaction.StateACTIVE || i.UnansweredSince == nil {
		return nil, nil
	}
	as, err := w.serving(ctx, i)
	if err != nil {
		return nil, err
	}
	if as != nil && as.StartedAt.After(*i.UnansweredSince) {
		return &as.StartedAt, nil
	}
	return i.UnansweredSince, nil
}

// serving is the open assignment of who serves an interaction, not of who helps; nil if there is none.
func (w *work) serving(ctx context.Context, i *ent.Interaction) (*ent.Assignment, error) {
	as, err := w.tx.Assignment.Query().Where(assignment.InteractionID(i.ID), assignment.EndedAtIsNil(), assignment.KindNEQ(assignment.KindCONSULT)).
		Order(ent.Desc(assignment.FieldStartedAt)).First(ctx)
	if err != nil && !ent.IsNotFound(err) {
		return nil, fmt.Errorf("read assignment: %w", err)
	}
	return as, nil
}

// giveUp takes an interaction from an agent who is lost or silent and puts it back with its age and raised priority.
func (w *work) giveUp(ctx context.Context, c *ent.Conversation, i *ent.Interaction, why string) error {
	before, after := string(i.State), string(interaction.StateQUEUED)
	if err := w.changed(ctx, c, i, "interaction.state", &before, &after, &why); err != nil {
		return err
	}
	server := i.AgentID
	_, err := w.leave(ctx, c, i, onAgentLost, func(u *ent.InteractionUpdateOne) {
		u.SetPriority(raised(i.Priority)).ClearPreferID().ClearPreferUntil()
		if server != nil {
			u.SetRefused([]gid.ID{*server})
		}
		w.keepAge(u, i)
	})
	return err
}

func raised(p interaction.Priority) interaction.Priority {
	switch p {
	case interaction.PriorityLOW:
		return interaction.PriorityNORMAL
	case interaction.PriorityNORMAL:
		return interaction.PriorityHIGH
	default:
		return interaction.PriorityURGENT
	}
}

// inTx runs f in a transaction that somebody else began, and writes its events last.
func (d *Desk) inTx(ctx context.Context, tx *ent.Tx, f func(context.Context, *work) error) error {
	ctx = within(ctx)
	w := &work{Desk: d, tx: tx, at: d.now()}
	if err := f(ctx, w); err != nil {
		return err
	}
	return w.flush(ctx)
}

// ingestDead keeps a poisoned event as a visible failure; what comes behind it goes on.
func (d *Desk) ingestDead(ctx context.Context, tx *ent.Tx, c *jobs.Claim, cause error) error {
	var args ingestArgs
	if err := c.Decode(&args); err != nil {
		return nil //nolint:nilerr // arguments that cannot be read name no event
	}
	return d.inTx(ctx, tx, func(ctx context.Context, w *work) error {
		err := w.tx.RawInbound.Update().Where(rawinbound.ID(args.Raw), rawinbound.StateEQ(rawinbound.StateNEW)).
			SetState(rawinbound.StateFAILED).SetError(shortText(cause.Error())).Exec(ctx)
		if err != nil {
			return fmt.Errorf("mark event: %w", err)
		}
		w.emit(fact{typ: DeadLetterCreated, subject: c.ID, version: 1})
		return nil
	})
}

func shortText(s string) string {
	if len(s) > 500 {
		s = s[:500]
	}
	return s
}
