package desk

import (
	"context"
	"fmt"
	"slices"

	"tributary/ent"
	"tributary/ent/apikey"
	"tributary/ent/app"
	"tributary/ent/customer"
	"tributary/ent/job"
	"tributary/ent/message"
	"tributary/ent/queue"
	"tributary/ent/rawinbound"
	"tributary/ent/team"
	"tributary/internal/clean"
	"tributary/internal/crypt"
	"tributary/internal/gid"
	"tributary/internal/jobs"
	"tributary/internal/viewer"
)

// bounds of a queue's numbers, in seconds but for misses.
var queueBounds = map[string][2]int{
	"offerSeconds": {1, 600}, "wrapUpSeconds": {0, 3600}, "stickySeconds": {0, 86400}, "breakAfterMisses": {0, 100},
	"pauseAfterReplySeconds": {1, 30 * 86400}, "silentAfterSeconds": {1, 30 * 86400}, "ringSeconds": {5, 120},
}

func inBounds(n *int, field string) error {
	if b := queueBounds[field]; n != nil && (*n < b[0] || *n > b[1]) {
		return refuse(Invalid, fmt.Sprintf("%s is %d to %d", field, b[0], b[1]), "input", field)
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// CreateQueue makes a queue.
func (d *Desk) CreateQueue(ctx context.Context, in QueueCreateInput, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.RoutingWrite); err != nil {
		return gid.ID{}, err
	}
	name, err := checkName(in.Name, "input", "name")
	if err != nil {
		return gid.ID{}, err
	}
	err = firstError(inBounds(in.OfferSeconds, "offerSeconds"), inBounds(in.WrapUpSeconds, "wrapUpSeconds"), inBounds(in.StickySeconds, "stickySeconds"),
		inBounds(in.BreakAfterMisses, "breakAfterMisses"), inBounds(in.PauseAfterReplySeconds, "pauseAfterReplySeconds"), inBounds(in.SilentAfterSeconds, "silentAfterSeconds"),
		inBounds(in.RingSeconds, "ringSeconds"))
	if err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"queueCreate", in}, func(ctx context.Context, w *work) (gid.ID, error) {
		if there, err := w.tx.Queue.Query().Where(queue.Name(name)).Exist(ctx); err != nil || there {
			return gid.ID{}, orDuplicate(err, "a queue of this name exists", "input", "name")
		}
		if err := firstError(w.teamExists(ctx, in.TeamID), w.promptExists(ctx, in.WaitingPromptID)); err != nil {
			return gid.ID{}, err
		}
		if in.TeamID == nil && deref(in.Restricted, false) {
			return gid.ID{}, errNoMembers
		}
		q, err := w.tx.Queue.Create().SetName(name).SetNillableDescription(in.Description).SetNillableTeamID(in.TeamID).SetNillableOfferSeconds(in.OfferSeconds).
			SetNillableWrapUpSeconds(in.WrapUpSeconds).SetNillableStickySeconds(in.StickySeconds).SetNillablePauseAfterReplySeconds(in.PauseAfterReplySeconds).
			SetNillableSilentAfterSeconds(in.SilentAfterSeconds).SetNillableBreakAfterMisses(in.BreakAfterMisses).SetNillableRestricted(in.Restricted).
			SetNillableRingSeconds(in.RingSeconds).SetNillableRecording(in.Recording).SetNillableWaitingPromptID(in.WaitingPromptID).SetCreatedAt(w.at).Save(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("write queue: %w", err)
		}
		if len(in.Needs) > 0 {
			if err := w.setNeeds(ctx, q.ID, in.Needs); err != nil {
				return gid.ID{}, err
			}
		}
		if q.Restricted {
			w.viewer.clear() // nobody is a member of what he does not know yet
		}
		w.emit(fact{typ: SettingChanged, subject: q.ID, version: q.Version})
		return q.ID, nil
	})
}

var errNoMembers = refuse(Invalid, "a restricted queue needs a team: its members see the content", "input", "restricted")

func (w *work) teamExists(ctx context.Context, id *gid.ID) error {
	if id == nil {
		return nil
	}
	ok, err := w.tx.Team.Query().Where(team.ID(*id)).Exist(ctx)
	if err != nil {
		return fmt.Errorf("read team: %w", err)
	}
	if !ok {
		return notFound("team", "input", "teamId")
	}
	return nil
}

// UpdateQueue changes a queue; in force for the next decision.
func (d *Desk) UpdateQueue(ctx context.Context, id gid.ID, in QueueUpdateInput, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.RoutingWrite); err != nil {
		return gid.ID{}, err
	}
	err := firstError(inBounds(in.OfferSeconds, "offerSeconds"), inBounds(in.WrapUpSeconds, "wrapUpSeconds"), inBounds(in.StickySeconds, "stickySeconds"),
		inBounds(in.BreakAfterMisses, "breakAfterMisses"), inBounds(in.PauseAfterReplySeconds.V, "pauseAfterReplySeconds"), inBounds(in.SilentAfterSeconds.V, "silentAfterSeconds"),
		inBounds(in.RingSeconds, "ringSeconds"))
	if err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"queueUpdate", id, in, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		q, err := w.tx.Queue.Get(ctx, id)
		if ent.IsNotFound(err) {
			return gid.ID{}, notFound("queue", "id")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("read queue: %w", err)
		}
		if err := fits(q.Version, ifVersion); err != nil {
			return id, err
		}
		if q.Restricted && (in.Restricted != nil || in.TeamID.Set) && viewer.From(ctx).Withholds(&id) {
			return id, refuse(NotAllowed, "only a member lifts a restriction, or gives the queue to another team", "id")
		}
		u := w.tx.Queue.UpdateOneID(id).Where(queue.Version(q.Version)).AddVersion(1).SetUpdatedAt(w.at).SetNillableRestricted(in.Restricted)
		if err := w.queueChanges(ctx, u, id, in); err != nil {
			return id, err
		}
		n, err := u.Save(ctx)
		if ent.IsNotFound(err) {
			return id, refuse(StaleVersion, "somebody changed it meanwhile", "ifVersion")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("save queue: %w", err)
		}
		if n.Restricted && n.TeamID == nil {
			return id, errNoMembers
		}
		if err := w.queueMoved(ctx, q, n); err != nil {
			return id, err
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: n.Version})
		return id, nil
	})
}

func (w *work) queueChanges(ctx context.Context, u *ent.QueueUpdateOne, id gid.ID, in QueueUpdateInput) error {
	if in.Name != nil {
		n, err := checkName(*in.Name, "input", "name")
		if err != nil {
			return err
		}
		if there, err := w.tx.Queue.Query().Where(queue.Name(n), queue.IDNEQ(id)).Exist(ctx); err != nil || there {
			return orDuplicate(err, "a queue of this name exists", "input", "name")
		}
		u.SetName(n)
	}
	if in.Description.Set {
		u.SetNillableDescription(in.Description.V)
		if in.Description.V == nil {
			u.ClearDescription()
		}
	}
	if in.TeamID.Set {
		if err := w.teamExists(ctx, in.TeamID.V); err != nil {
			return err
		}
		u.SetNillableTeamID(in.TeamID.V)
		if in.TeamID.V == nil {
			u.ClearTeamID()
		}
	}
	u.SetNillableOfferSeconds(in.OfferSeconds).SetNillableWrapUpSeconds(in.WrapUpSeconds).SetNillableStickySeconds(in.StickySeconds).SetNillableBreakAfterMisses(in.BreakAfterMisses)
	if in.PauseAfterReplySeconds.Set {
		u.SetNillablePauseAfterReplySeconds(in.PauseAfterReplySeconds.V)
		if in.PauseAfterReplySeconds.V == nil {
			u.ClearPauseAfterReplySeconds()
		}
	}
	if in.Needs != nil {
		if err := w.setNeeds(ctx, id, *in.Needs); err != nil {
			return err
		}
	}
	if in.SilentAfterSeconds.Set {
		u.SetNillableSilentAfterSeconds(in.SilentAfterSeconds.V)
		if in.SilentAfterSeconds.V == nil {
			u.ClearSilentAfterSeconds()
		}
	}
	return w.callChanges(ctx, u, in)
}

// callChanges are those of a queue's calls.
func (w *work) callChanges(ctx context.Context, u *ent.QueueUpdateOne, in QueueUpdateInput) error {
	u.SetNillableRingSeconds(in.RingSeconds).SetNillableRecording(in.Recording)
	if !in.WaitingPromptID.Set {
		return nil
	}
	u.SetNillableWaitingPromptID(in.WaitingPromptID.V)
	if in.WaitingPromptID.V == nil {
		u.ClearWaitingPromptID()
	}
	return w.promptExists(ctx, in.WaitingPromptID.V)
}

// CreateApp makes an app.
func (d *Desk) CreateApp(ctx context.Context, in AppCreateInput, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.APIWrite); err != nil {
		return gid.ID{}, err
	}
	name, err := checkName(in.DisplayName, "input", "displayName")
	if err != nil {
		return gid.ID{}, err
	}
	if err := ownScopes(ctx, in.Scopes); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"appCreate", in}, func(ctx context.Context, w *work) (gid.ID, error) {
		a, err := w.tx.App.Create().SetDisplayName(name).SetScopes(in.Scopes).SetCreatedAt(w.at).Save(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("write app: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: a.ID, version: a.Version})
		return a.ID, nil
	})
}

// ownScopes: nobody gives what he does not hold, and no app holds what belongs to visitors or to the operator.
func ownScopes(ctx context.Context, scopes []viewer.Scope) error {
	v := viewer.From(ctx)
	for _, s := range scopes {
		if s == viewer.SystemAdmin || s == viewer.Visitor || !v.Has(s) {
			return refuse(NotAllowed, "you cannot give the scope "+string(s), "input", "scopes")
		}
	}
	return nil
}

// readScopes are what a BI key may hold.
var readScopes = []viewer.Scope{viewer.Self, viewer.CustomerRead, viewer.ConversationRead, viewer.RoutingRead, viewer.PeopleRead, viewer.ChannelRead, viewer.MetricRead, viewer.SettingRead}

// CreateAPIKey makes a key. The secret is empty on a repeat: it is shown once.
func (d *Desk) CreateAPIKey(ctx context.Context, in APIKeyInput, key *string) (gid.ID, string, error) {
	if err := need(ctx, viewer.APIWrite); err != nil {
		return gid.ID{}, "", err
	}
	if err := ownScopes(ctx, in.Scopes); err != nil {
		return gid.ID{}, "", err
	}
	secret, hash := crypt.Token(prefixKey)
	id, fresh, err := d.onceFresh(ctx, key, []any{"apiKeyCreate", in}, func(ctx context.Context, w *work) (gid.ID, error) {
		a, err := w.tx.App.Query().Where(app.ID(in.AppID)).Only(ctx)
		if ent.IsNotFound(err) {
			return gid.ID{}, notFound("app", "input", "appId")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("read app: %w", err)
		}
		for _, s := range in.Scopes {
			if !slices.Contains(a.Scopes, s) || in.Kind == apikey.KindBI && !slices.Contains(readScopes, s) {
				return gid.ID{}, refuse(NotAllowed, "this key cannot hold the scope "+string(s), "input", "scopes")
			}
		}
		k, err := w.tx.APIKey.Create().SetAppID(a.ID).SetKind(in.Kind).SetPrefix(secret[:len(prefixKey)+6]).SetHash(hash[:]).SetScopes(in.Scopes).
			SetNillableExpiresAt(in.ExpiresAt).SetCreatedAt(w.at).Save(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("write key: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: a.ID, version: a.Version, changed: []string{"keys"}})
		return k.ID, nil
	})
	if !fresh {
		secret = ""
	}
	return id, secret, err
}

// RevokeAPIKey ends a key at once.
func (d *Desk) RevokeAPIKey(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.APIWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"apiKeyRevoke", id}, func(ctx context.Context, w *work) (gid.ID, error) {
		n, err := w.tx.APIKey.Update().Where(apikey.ID(id)).SetRevokedAt(w.at).Save(ctx)
		if err == nil && n == 0 {
			return gid.ID{}, notFound("key", "id")
		}
		return id, err
	})
}

// UpdateCustomer changes a customer.
func (d *Desk) UpdateCustomer(ctx context.Context, id gid.ID, in CustomerUpdateInput, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.CustomerWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"customerUpdate", id, in, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		c, err := w.tx.Customer.Get(ctx, id)
		if ent.IsNotFound(err) {
			return gid.ID{}, notFound("customer", "id")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("read customer: %w", err)
		}
		if err := fits(c.Version, ifVersion); err != nil {
			return id, err
		}
		u := w.tx.Customer.UpdateOneID(id).Where(customer.Version(c.Version)).AddVersion(1).SetUpdatedAt(w.at)
		if in.DisplayName != nil {
			u.SetDisplayName(clean.Line(*in.DisplayName, 200))
		}
		if in.Locale.Set {
			u.SetNillableLocale(in.Locale.V)
			if in.Locale.V == nil {
				u.ClearLocale()
			}
		}
		n, err := u.Save(ctx)
		if ent.IsNotFound(err) {
			return id, refuse(StaleVersion, "somebody changed it meanwhile", "ifVersion")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("save customer: %w", err)
		}
		w.emit(fact{typ: CustomerUpdated, subject: id, version: n.Version, customer: id})
		return id, nil
	})
}

// RetryDeadLetters tries dead jobs again, from their first try on.
func (d *Desk) RetryDeadLetters(ctx context.Context, ids []gid.ID, key *string) error {
	return d.deadLetters(ctx, "deadLetterRetry", ids, key, func(ctx context.Context, w *work) error {
		err := w.tx.RawInbound.Update().Where(rawinbound.IDIn(w.subjects(ctx, ids)...), rawinbound.StateEQ(rawinbound.StateFAILED)).SetState(rawinbound.StateNEW).ClearError().Exec(ctx)
		if err != nil {
			return fmt.Errorf("reset events: %w", err)
		}
		if err := w.sendGivenUp(ctx, ids); err != nil {
			return err
		}
		_, err = jobs.Retry(ctx, w.tx, ids...)
		return err
	})
}

// sendGivenUp queues the messages behind dead send jobs again: a retry of the one is a "send again" of the other. One that
// was sent again or settled meanwhile is not sent twice.
func (w *work) sendGivenUp(ctx context.Context, ids []gid.ID) error {
	rows, err := w.tx.Job.Query().Where(job.IDIn(ids...), job.Kind(jobSend), job.SubjectIDNotNil()).Order(ent.Asc(job.FieldID)).All(ctx)
	if err != nil {
		return fmt.Errorf("read send jobs: %w", err)
	}
	sys := asSystem(ctx)
	for _, r := range rows {
		m, err := w.tx.Message.Get(sys, *r.SubjectID)
		if err != nil {
			return fmt.Errorf("read message: %w", err)
		}
		if m.Delivery != message.DeliveryUNCERTAIN && m.Delivery != message.DeliveryFAILED {
			return &Refusal{Code: WrongState, Message: "its message is " + string(m.Delivery) + " by now", Field: []string{"ids"}, ConflictID: m.ID}
		}
		if _, err := w.delivered(sys, m, message.DeliveryQUEUED, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// DiscardDeadLetters gives dead jobs up.
func (d *Desk) DiscardDeadLetters(ctx context.Context, ids []gid.ID, reason string, key *string) error {
	return d.deadLetters(ctx, "deadLetterDiscard "+reason, ids, key, func(ctx context.Context, w *work) error {
		err := w.tx.RawInbound.Update().Where(rawinbound.IDIn(w.subjects(ctx, ids)...)).SetState(rawinbound.StateDISCARDED).SetError(shortText(reason)).Exec(ctx)
		if err != nil {
			return fmt.Errorf("discard events: %w", err)
		}
		_, err = jobs.Discard(ctx, w.tx, ids...)
		return err
	})
}

// subjects are the raw events behind dead jobs.
func (w *work) subjects(ctx context.Context, ids []gid.ID) []gid.ID {
	rows, err := w.tx.Job.Query().Where(job.IDIn(ids...), job.Kind(jobIngest), job.SubjectIDNotNil()).Select(job.FieldSubjectID).All(ctx)
	if err != nil {
		return nil
	}
	var out []gid.ID
	for _, r := range rows {
		out = append(out, *r.SubjectID)
	}
	return out
}

func (d *Desk) deadLetters(ctx context.Context, name string, ids []gid.ID, key *string, f func(context.Context, *work) error) error {
	if err := need(ctx, viewer.ChannelWrite); err != nil {
		return err
	}
	if len(ids) == 0 || len(ids) > 100 {
		return refuse(Invalid, "name 1 to 100 dead letters", "ids")
	}
	_, err := d.once(ctx, key, []any{name, ids}, func(ctx context.Context, w *work) (gid.ID, error) {
		n, err := w.tx.Job.Query().Where(job.IDIn(ids...), job.StateEQ(job.StateDead)).Count(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("read jobs: %w", err)
		}
		if n != len(unique(slices.Clone(ids))) {
			return gid.ID{}, notFound("open dead letter", "ids")
		}
		return ids[0], f(ctx, w)
	})
	return err
}
