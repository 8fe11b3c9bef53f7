package desk

import (
	"context"
	stdsql "database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"tributary/ent"
	"tributary/ent/conversation"
	"tributary/ent/idempotencykey"
	"tributary/internal/bus"
	"tributary/internal/crypt"
	"tributary/internal/gid"
	"tributary/internal/store"
	"tributary/internal/viewer"
)

// work is one transaction of the desk: its client, its time, and the events it will write last.
type work struct {
	*Desk
	tx     *ent.Tx
	at     time.Time
	key    *string
	events []fact
	// calls are those that changed; moved are interactions whose calls are to be made as the desk wants them.
	calls map[gid.ID]*callChange
	moved []gid.ID
}

// fact is an outbox row to be.
type fact struct {
	typ       EventType
	subject   gid.ID
	version   int
	conv      *ent.Conversation
	inter     *ent.Interaction
	customer  gid.ID
	agent     gid.ID // whose load or status changed
	identity  gid.ID
	changed   []string
	audience  []gid.ID // beside the conversation's
	except    []gid.ID // not for them
	private   bool     // for audience alone
	workspace gid.ID
}

func (w *work) emit(e fact) { w.events = append(w.events, e) }

// flush writes the outbox rows: the last statement of the transaction, after all locks, or an effect could be numbered
// before its cause (MODEL 8).
func (w *work) flush(ctx context.Context) error {
	if err := w.emitCalls(ctx); err != nil {
		return err
	}
	if len(w.events) == 0 {
		return nil
	}
	rows := make([]*ent.OutboxCreate, len(w.events))
	v := viewer.From(ctx)
	for i, e := range w.events {
		row := w.tx.Outbox.Create().SetType(string(e.typ)).SetAt(w.at).SetSubjectID(e.subject).SetSubjectVersion(e.version).
			SetNillableCausedByKey(w.key).SetPrivate(e.private).SetChanged(orEmpty(e.changed))
		ws := v.Workspace
		if !e.workspace.IsZero() {
			ws = e.workspace
		}
		row.SetWorkspaceID(ws)
		audience := slices.Clone(e.audience)
		if e.conv != nil {
			row.SetConversationID(e.conv.ID).SetCustomerID(e.conv.CustomerID)
			if !e.private {
				audience = append(audience, e.conv.Audience...)
			}
		}
		if e.inter != nil {
			row.SetInteractionID(e.inter.ID).SetNillableQueueID(e.inter.QueueID).SetNillableIdentityID(e.inter.IdentityID)
		}
		if !e.customer.IsZero() {
			row.SetCustomerID(e.customer)
		}
		if !e.agent.IsZero() {
			row.SetAgentID(e.agent)
		}
		if !e.identity.IsZero() {
			row.SetIdentityID(e.identity)
		}
		if !v.Actor.IsZero() {
			row.SetActorID(v.Actor)
		}
		rows[i] = row.SetAudience(orEmpty(unique(audience))).SetHiddenFrom(orEmpty(e.except))
	}
	if err := w.tx.Outbox.CreateBulk(rows...).Exec(ctx); err != nil {
		return fmt.Errorf("write outbox: %w", err)
	}
	store.Announce(ctx, bus.Note{Topic: bus.Outbox})
	return nil
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func unique(ids []gid.ID) []gid.ID {
	slices.SortFunc(ids, func(a, b gid.ID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

// maxTries bounds how often a transaction that lost a race is run again: at a unique index, where the next try finds the
// winner's row, or for a lock whose ground was moved, which people may do several times in a row.
const maxTries = 20

// do runs f in one transaction and writes its events last. f may run again from the start: it must set, never add to,
// what it captured.
func (d *Desk) do(ctx context.Context, key *string, f func(context.Context, *work) error) error {
	ctx = within(ctx)
	var err error
	for range maxTries {
		var moved []gid.ID
		err = d.Store.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error {
			w := &work{Desk: d, tx: tx, at: d.now(), key: key}
			if err := f(ctx, w); err != nil {
				return err
			}
			moved = w.moved
			return w.flush(ctx)
		})
		if err == nil && d.Switchboard != nil {
			d.conform.add(moved)
		}
		// Somebody made the same thread, identity or row meanwhile, or moved what this stood on: the next try finds it.
		if !ent.IsConstraintError(err) && !errors.Is(err, errAgain) {
			return err
		}
	}
	return err
}

// once is do with an idempotency key (MODEL 9): the key's row is written in the effect's transaction and keeps the id of
// the result. The same key with the same input answers with that id and has no second effect.
func (d *Desk) once(ctx context.Context, key *string, input any, f func(context.Context, *work) (gid.ID, error)) (id gid.ID, err error) {
	id, _, err = d.onceFresh(ctx, key, input, f)
	return id, err
}

// onceFresh also tells whether this call had the effect; secrets are shown by that call alone.
func (d *Desk) onceFresh(ctx context.Context, key *string, input any, f func(context.Context, *work) (gid.ID, error)) (id gid.ID, fresh bool, err error) {
	hash := ""
	if key != nil {
		if len(*key) == 0 || len(*key) > 200 {
			return id, false, refuse(Invalid, "an idempotency key has 1 to 200 bytes", "idempotencyKey")
		}
		if hash, err = inputHash(input); err != nil {
			return id, false, err
		}
	}
	err = d.do(ctx, key, func(ctx context.Context, w *work) error {
		id, fresh = gid.ID{}, true
		var claim gid.ID
		if key != nil {
			var known *ent.IdempotencyKey
			var err error
			if claim, known, err = w.claimKey(ctx, *key, hash); err != nil {
				return err
			}
			if known != nil {
				fresh = false
				if known.ResultID != nil {
					id = *known.ResultID
				}
				return nil
			}
		}
		var err error
		if id, err = f(ctx, w); err != nil || key == nil {
			return err
		}
		return w.tx.IdempotencyKey.UpdateOneID(claim).SetResultID(id).Exec(ctx)
	})
	return id, fresh, err
}

// claimKey inserts the key's row, or returns the one that is there. On PostgreSQL the second caller waits here for the
// first one's commit; SQLite lets one writer in at a time.
func (w *work) claimKey(ctx context.Context, key, hash string) (gid.ID, *ent.IdempotencyKey, error) {
	v, id := viewer.From(ctx), gid.Make(gid.Other)
	actor := v.Actor
	if v.Kind == viewer.KindCustomer { // the customer may become another one between the tries
		actor = v.Identity
	}
	err := w.tx.IdempotencyKey.Create().SetID(id).SetWorkspaceID(v.Workspace).SetActorID(actor).SetKey(key).SetInputHash(hash).SetAt(w.at).
		OnConflictColumns(idempotencykey.FieldWorkspaceID, idempotencykey.FieldActorID, idempotencykey.FieldKey).DoNothing().Exec(ctx)
	if err != nil && !errors.Is(err, stdsql.ErrNoRows) {
		return id, nil, fmt.Errorf("claim idempotency key: %w", err)
	}
	row, err := w.tx.IdempotencyKey.Query().Where(idempotencykey.ActorID(actor), idempotencykey.Key(key)).Only(ctx)
	switch {
	case err != nil:
		return id, nil, fmt.Errorf("read idempotency key: %w", err)
	case row.ID == id:
		return id, nil, nil
	case row.InputHash != hash:
		return id, nil, refuse(IdempotencyReused, "this key was used with other input", "idempotencyKey")
	}
	return id, row, nil
}

// inputHash is keyed, so that personal input leaves no trace that could be guessed.
func inputHash(input any) (string, error) {
	b, err := json.Marshal(input)
	if err != nil {
		return "", fmt.Errorf("hash input: %w", err)
	}
	return crypt.Current().Blind([16]byte{}, "idempotency", string(b)), nil
}

// lockConversation takes the one lock under which the conversation's interactions change. The reach of the viewer cuts
// it: out of reach is absent.
func (w *work) lockConversation(ctx context.Context, id gid.ID) (*ent.Conversation, error) {
	q := w.tx.Conversation.Query().Where(conversation.ID(id))
	if w.pg {
		q.ForUpdate()
	}
	return q.Only(ctx)
}

// lockInteraction locks the interaction's conversation, then reads both.
func (w *work) lockInteraction(ctx context.Context, id gid.ID) (*ent.Conversation, *ent.Interaction, error) {
	i, err := w.tx.Interaction.Get(ctx, id)
	if ent.IsNotFound(err) {
		return nil, nil, notFound("interaction", "id")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read interaction: %w", err)
	}
	c, err := w.lockConversation(ctx, i.ConversationID)
	if err != nil {
		return nil, nil, fmt.Errorf("lock conversation: %w", err)
	}
	if !w.pg {
		return c, i, nil
	}
	// What was read before the lock may be old.
	if i, err = w.tx.Interaction.Get(ctx, id); err != nil {
		return nil, nil, fmt.Errorf("read interaction: %w", err)
	}
	if i.ConversationID != c.ID { // its conversation's lock must not be waited for under this one
		return nil, nil, errAgain
	}
	return c, i, nil
}
