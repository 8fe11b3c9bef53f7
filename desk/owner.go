package desk

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/agent"
	"tributary/ent/conversation"
	"tributary/ent/follower"
	"tributary/ent/interaction"
	"tributary/internal/clean"
	"tributary/internal/gid"
	"tributary/internal/jobs"
	"tributary/internal/viewer"
)

// matter is the frame of operations on one conversation; what names the operation with its input.
func (d *Desk) matter(ctx context.Context, id gid.ID, key *string, what any, f func(context.Context, *work, *ent.Conversation) error) (gid.ID, error) {
	return d.inMatter(ctx, id, key, what, func(ctx context.Context, w *work, c *ent.Conversation) (gid.ID, error) { return id, f(ctx, w, c) })
}

// inMatter is the frame of operations that make something in a conversation.
func (d *Desk) inMatter(ctx context.Context, id gid.ID, key *string, what any, f func(context.Context, *work, *ent.Conversation) (gid.ID, error)) (gid.ID, error) {
	if err := need(ctx, viewer.ConversationWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{what, id}, func(ctx context.Context, w *work) (gid.ID, error) {
		c, err := w.lockConversation(ctx, id)
		if ent.IsNotFound(err) {
			return gid.ID{}, notFound("conversation", "id")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("lock conversation: %w", err)
		}
		if err := whole(c, "id"); err != nil {
			return id, err
		}
		return f(ctx, w, c)
	})
}

// whole refuses to work on what went into another conversation, and names that.
func whole(c *ent.Conversation, field ...string) error {
	if c.MergedIntoID == nil {
		return nil
	}
	return &Refusal{Code: WrongState, Message: "it went into another conversation", Field: field, ConflictID: *c.MergedIntoID}
}

// passMatter gives the matter to an agent (nil: to nobody) as far as sight goes; own is the change of its row, for the
// settle that follows. Only a first accept and a transfer of the matter do this (MODEL 1).
func (w *work) passMatter(ctx context.Context, c *ent.Conversation, to *gid.ID) (*ent.Conversation, func(*ent.ConversationUpdateOne), error) {
	before, after := textOfID(c.OwnerID), textOfID(to)
	if c.OwnerID != nil {
		var err error
		if err = w.changed(ctx, c, nil, "conversation.owner", before, after, nil); err != nil {
			return nil, nil, err
		}
		if !same(c.OwnerID, to) {
			if c, err = w.revoke(ctx, c, *c.OwnerID, access.ReasonOWNER); err != nil {
				return nil, nil, err
			}
		}
	}
	if to == nil {
		return c, func(u *ent.ConversationUpdateOne) { u.ClearOwnerID() }, nil
	}
	c, err := w.grant(ctx, c, *to, access.ReasonOWNER)
	return c, func(u *ent.ConversationUpdateOne) { u.SetOwnerID(*to) }, err
}

func textOfID(id *gid.ID) *string {
	if id == nil {
		return nil
	}
	s := id.String()
	return &s
}

// mayPass checks who may transfer the matter: its owner, whoever sees an ownerless one, a supervisor.
func mayPass(ctx context.Context, c *ent.Conversation, field ...string) error {
	v := viewer.From(ctx)
	if c.OwnerID == nil || *c.OwnerID == v.Actor || v.Has(viewer.Supervise) {
		return nil
	}
	return &Refusal{Code: NotAllowed, Message: "its owner transfers the matter, or a supervisor", Field: field, ConflictID: *c.OwnerID}
}

// SetOwner transfers the matter. Its owner may, anybody who sees an ownerless one, and a supervisor.
func (d *Desk) SetOwner(ctx context.Context, id gid.ID, to *gid.ID, key *string) (gid.ID, error) {
	return d.matter(ctx, id, key, []any{"conversationOwnerSet", to}, func(ctx context.Context, w *work, c *ent.Conversation) error {
		if err := mayPass(ctx, c, "id"); err != nil {
			return err
		}
		if to != nil {
			if err := w.agentsExist(ctx, []gid.ID{*to}, "agentId"); err != nil {
				return err
			}
		}
		sys := asSystem(ctx)
		// What was handed over with the matter before takes it along no more: this word is the newer one.
		err := w.tx.Interaction.Update().Where(interaction.ConversationID(id), interaction.TakesMatter(true)).SetTakesMatter(false).Exec(sys)
		if err != nil {
			return fmt.Errorf("save interactions: %w", err)
		}
		c, own, err := w.passMatter(sys, c, to)
		if err != nil {
			return err
		}
		_, err = w.settle(sys, c, own)
		return err
	})
}

// agentsExist checks that these are active agents of the workspace.
func (w *work) agentsExist(ctx context.Context, ids []gid.ID, field ...string) error {
	ids = unique(slices.Clone(ids))
	n, err := w.tx.Agent.Query().Where(agent.IDIn(ids...), agent.Active(true)).Count(ctx)
	if err != nil {
		return fmt.Errorf("read agents: %w", err)
	}
	if n != len(ids) {
		return notFound("agent", field...)
	}
	return nil
}

// maxFollowers bounds who follows one conversation.
const maxFollowers = 100

// Follow lets agents follow a conversation, or no more. Others than the caller may be named by whoever sees it.
func (d *Desk) Follow(ctx context.Context, id gid.ID, follow bool, agents []gid.ID, key *string) (gid.ID, error) {
	return d.matter(ctx, id, key, []any{"conversationFollow", follow, agents}, func(ctx context.Context, w *work, c *ent.Conversation) error {
		v := viewer.From(ctx)
		if len(agents) == 0 && v.Actor.Kind() == gid.Agent {
			agents = []gid.ID{v.Actor}
		}
		if len(agents) == 0 || len(agents) > maxFollowers {
			return refuse(Invalid, fmt.Sprintf("name 1 to %d agents", maxFollowers), "agentIds")
		}
		if err := w.mayFollow(ctx, c, follow, agents); err != nil {
			return err
		}
		c, err := w.follow(asSystem(ctx), c, agents, follow)
		if err != nil {
			return err
		}
		return w.tellConversation(asSystem(ctx), c, "followers")
	})
}

// mayFollow: whoever sees a conversation may bring active agents to it; to take others away is for its owner and
// supervisors, for it may take their sight.
func (w *work) mayFollow(ctx context.Context, c *ent.Conversation, follow bool, agents []gid.ID) error {
	if follow {
		stands, err := w.stands(ctx, c)
		if err != nil {
			return err
		}
		if !stands {
			return refuse(NotAllowed, "a pending offer alone lets nobody follow", "id")
		}
		return w.agentsExist(ctx, agents, "agentIds")
	}
	me := viewer.From(ctx).Actor
	if slices.ContainsFunc(agents, func(a gid.ID) bool { return a != me }) {
		return mayPass(ctx, c, "agentIds")
	}
	return nil
}

// stands reports whether the viewer sees a conversation by more than a pending offer, whose sight ends with it.
func (w *work) stands(ctx context.Context, c *ent.Conversation) (bool, error) {
	v := viewer.From(ctx)
	if v.SeesAll() {
		return true, nil
	}
	there, err := w.tx.Access.Query().Where(access.ConversationID(c.ID), access.SubjectIDIn(v.Subjects()...), access.ReasonNEQ(access.ReasonOFFER)).Exist(ctx)
	if err != nil {
		return false, fmt.Errorf("read access: %w", err)
	}
	return there, nil
}

// follow writes who follows, and what he sees by it.
func (w *work) follow(ctx context.Context, c *ent.Conversation, agents []gid.ID, follow bool) (*ent.Conversation, error) {
	for _, a := range unique(slices.Clone(agents)) {
		var err error
		if !follow {
			if _, err = w.tx.Follower.Delete().Where(follower.ConversationID(c.ID), follower.AgentID(a)).Exec(ctx); err != nil {
				return nil, fmt.Errorf("end following: %w", err)
			}
			if c, err = w.revoke(ctx, c, a, access.ReasonFOLLOWS); err != nil {
				return nil, err
			}
			continue
		}
		err = w.tx.Follower.Create().SetConversationID(c.ID).SetAgentID(a).
			OnConflictColumns(follower.FieldWorkspaceID, follower.FieldConversationID, follower.FieldAgentID).DoNothing().Exec(ctx)
		if err != nil && !isNoRows(err) {
			return nil, fmt.Errorf("write follower: %w", err)
		}
		if c, err = w.grant(ctx, c, a, access.ReasonFOLLOWS); err != nil {
			return nil, err
		}
	}
	if !follow {
		return c, nil
	}
	n, err := w.tx.Follower.Query().Where(follower.ConversationID(c.ID)).Count(ctx)
	if err != nil {
		return nil, fmt.Errorf("count followers: %w", err)
	}
	if n > maxFollowers {
		return nil, refuse(LimitReached, fmt.Sprintf("at most %d follow a conversation", maxFollowers), "agentIds")
	}
	return c, nil
}

// tellConversation raises the version and tells what changed beside the state.
func (w *work) tellConversation(ctx context.Context, c *ent.Conversation, changed ...string) error {
	n, err := w.tx.Conversation.UpdateOneID(c.ID).AddVersion(1).SetUpdatedAt(w.at).Save(ctx)
	if err != nil {
		return fmt.Errorf("save conversation: %w", err)
	}
	w.emit(fact{typ: ConversationUpdated, subject: n.ID, version: n.Version, conv: n, changed: changed})
	return nil
}

// UpdateConversation changes subject, urgency or team. The urgency counts for its contacts that wait, too.
func (d *Desk) UpdateConversation(ctx context.Context, id gid.ID, in ConversationUpdateInput, ifVersion *int, key *string) (gid.ID, error) {
	return d.matter(ctx, id, key, []any{"conversationUpdate", in, ifVersion}, func(ctx context.Context, w *work, c *ent.Conversation) error {
		if err := fits(c.Version, ifVersion); err != nil {
			return err
		}
		sys, was := asSystem(ctx), c
		c, err := w.changeTeam(ctx, c, in)
		if err != nil {
			return err
		}
		n, err := w.settle(sys, c, func(u *ent.ConversationUpdateOne) {
			if in.Subject.Set {
				u.ClearSubject()
				if s := clean.Line(deref(in.Subject.V, ""), 300); s != "" {
					u.SetSubject(s)
				}
			}
			u.SetNillablePriority(in.Priority)
			if in.TeamID.Set {
				u.ClearTeamID().SetNillableTeamID(in.TeamID.V)
			}
		})
		if err != nil || n.Priority == was.Priority {
			return err
		}
		before, after := string(was.Priority), string(n.Priority)
		if err := w.changed(ctx, n, nil, "conversation.priority", &before, &after, nil); err != nil {
			return err
		}
		return w.hurry(sys, n)
	})
}

func (w *work) changeTeam(ctx context.Context, c *ent.Conversation, in ConversationUpdateInput) (*ent.Conversation, error) {
	if !in.TeamID.Set || same(c.TeamID, in.TeamID.V) {
		return c, nil
	}
	if err := w.teamExists(ctx, in.TeamID.V); err != nil {
		return nil, err
	}
	if err := w.changed(ctx, c, nil, "conversation.team", textOfID(c.TeamID), textOfID(in.TeamID.V), nil); err != nil {
		return nil, err
	}
	sys := asSystem(ctx)
	var err error
	if in.TeamID.V != nil {
		if c, err = w.grant(sys, c, *in.TeamID.V, access.ReasonTEAM); err != nil {
			return nil, err
		}
	}
	if c.TeamID != nil {
		c, err = w.revoke(sys, c, *c.TeamID, access.ReasonTEAM)
	}
	return c, err
}

// hurry gives the conversation's urgency to those of its interactions that wait.
func (w *work) hurry(ctx context.Context, c *ent.Conversation) error {
	rows, err := w.tx.Interaction.Query().Where(interaction.ConversationID(c.ID), interaction.StateIn(interaction.StateQUEUED, interaction.StateOFFERED)).All(ctx)
	if err != nil {
		return fmt.Errorf("read interactions: %w", err)
	}
	for _, i := range rows {
		n, err := w.tx.Interaction.UpdateOneID(i.ID).SetPriority(interaction.Priority(c.Priority)).AddVersion(1).SetUpdatedAt(w.at).Save(ctx)
		if err != nil {
			return fmt.Errorf("save interaction: %w", err)
		}
		w.told(c, n, gid.ID{}, "priority")
	}
	return nil
}

// maxSnooze bounds how long a matter can be put aside.
const maxSnooze = 366 * 24 * time.Hour

type snoozeArgs struct {
	Conversation gid.ID    `json:"conversation"`
	Until        time.Time `json:"until"`
}

// Snooze puts a matter in which the customer's turn is aside until a time or the next message (MODEL 3).
func (d *Desk) Snooze(ctx context.Context, id gid.ID, until time.Time, key *string) (gid.ID, error) {
	until = until.UTC().Truncate(time.Microsecond)
	return d.matter(ctx, id, key, []any{"conversationSnooze", until}, func(ctx context.Context, w *work, c *ent.Conversation) error {
		switch {
		case !until.After(w.at) || until.Sub(w.at) > maxSnooze:
			return refuse(Invalid, "a time to come, at most a year ahead", "until")
		case c.State != conversation.StatePENDING && c.State != conversation.StateSNOOZED:
			return refuse(WrongState, "only a matter in which the customer's turn is can be put aside; this one is "+string(c.State), "id")
		}
		before, after := string(c.State), string(conversation.StateSNOOZED)
		if err := w.changed(ctx, c, nil, "conversation.state", &before, &after, nil); err != nil {
			return err
		}
		sys := asSystem(ctx)
		n, err := w.tx.Conversation.UpdateOneID(id).SetState(conversation.StateSNOOZED).SetSnoozedUntil(until).AddVersion(1).SetUpdatedAt(w.at).Save(sys)
		if err != nil {
			return fmt.Errorf("snooze conversation: %w", err)
		}
		w.emit(fact{typ: ConversationUpdated, subject: id, version: n.Version, conv: n, changed: []string{"state", "snoozedUntil"}})
		return w.wakeLater(sys, id, until)
	})
}

func (w *work) wakeLater(ctx context.Context, id gid.ID, until time.Time) error {
	_, _, err := jobs.Enqueue(ctx, w.tx, jobs.New{Kind: jobWake, Args: snoozeArgs{id, until}, Subject: id, RunAt: until})
	return err
}

// wake is the timer of a snooze; it has work only if that snooze still stands.
func (d *Desk) wake(ctx context.Context, cl *jobs.Claim) error {
	var args snoozeArgs
	if err := cl.Decode(&args); err != nil {
		return jobs.Permanent(err)
	}
	return d.do(ctx, nil, func(ctx context.Context, w *work) error {
		c, err := w.lockConversation(ctx, args.Conversation)
		if err != nil {
			return fmt.Errorf("lock conversation: %w", err)
		}
		if c.State == conversation.StateSNOOZED && c.SnoozedUntil != nil && c.SnoozedUntil.Equal(args.Until) {
			if _, err := w.settle(ctx, c, nil, awake); err != nil {
				return err
			}
		}
		return cl.Complete(ctx, w.tx)
	})
}
