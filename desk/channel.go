package desk

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tributary/channels"
	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/channel"
	"tributary/ent/queue"
	"tributary/internal/crypt"
	"tributary/internal/gid"
	"tributary/internal/opt"
	"tributary/internal/viewer"
)

// secretValue is a channel's secret: while it rotates, the one before it is valid, too.
type secretValue struct {
	Value         string    `json:"value"`
	SetAt         time.Time `json:"setAt"`
	Previous      string    `json:"previous,omitempty"`
	PreviousUntil time.Time `json:"previousUntil,omitzero"`
}

type secretSet map[string]secretValue

// valid are the values in force, the newest first.
func (s secretSet) valid(now time.Time) map[string][]string {
	out := make(map[string][]string, len(s))
	for name, v := range s {
		out[name] = []string{v.Value}
		if v.Previous != "" && now.Before(v.PreviousUntil) {
			out[name] = append(out[name], v.Previous)
		}
	}
	return out
}

func (d *Desk) channelSecrets(row *ent.Channel) (secretSet, error) {
	out := secretSet{}
	if row.Secrets == nil {
		return out, nil
	}
	plain, err := crypt.Current().Unseal(*row.Secrets, []byte("channel.secrets|"+row.ID.UUID()))
	if err != nil {
		return nil, fmt.Errorf("unseal secrets of channel %s: %w", row.ID, err)
	}
	if err := json.Unmarshal(plain, &out); err != nil {
		return nil, fmt.Errorf("decode secrets of channel %s: %w", row.ID, err)
	}
	return out, nil
}

func sealSecrets(id gid.ID, s secretSet) ([]byte, error) {
	plain, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode secrets: %w", err)
	}
	return crypt.Current().Seal(plain, []byte("channel.secrets|"+id.UUID()))
}

func hookAD(id gid.ID) []byte { return []byte("channel.hook_secret|" + id.UUID()) }

func (d *Desk) hookSecretFits(row *ent.Channel, secret string) bool {
	own, err := crypt.Current().Unseal(row.HookSecret, hookAD(row.ID))
	return err == nil && subtle.ConstantTimeCompare(own, []byte(secret)) == 1
}

// WebhookURL is what the operator enters at the provider; empty for kinds without one.
func (d *Desk) WebhookURL(row *ent.Channel) (string, error) {
	if row.PublicKey != "" {
		return "", nil
	}
	secret, err := crypt.Current().Unseal(row.HookSecret, hookAD(row.ID))
	if err != nil {
		return "", fmt.Errorf("unseal address of channel %s: %w", row.ID, err)
	}
	return d.PublicURL + "/hooks/" + row.Kind + "/" + row.ID.String() + "/" + string(secret), nil
}

// sort is what the core must know of a channel when it is written: whether it is a surface of our own, and whether it is
// a line with calls.
type sort struct{ surface, line bool }

// checkConfig lets the kind read its configuration; what is wrong names its member.
func (d *Desk) checkConfig(k channels.Kind, raw json.RawMessage, secrets secretSet) (s sort, err error) {
	cfg, err := channels.DecodeConfig(k, raw, secrets.valid(d.now()))
	if err == nil {
		var ch channels.Channel
		if ch, err = k.Open(cfg, d.Host); err == nil {
			_, s.surface = ch.(channels.Surface)
			_, s.line = ch.(voice.Line)
			return s, ch.Close()
		}
	}
	var f *channels.FieldError
	if errors.As(err, &f) {
		return s, refuse(Invalid, f.Error(), "input", "config", f.Field)
	}
	return s, refuse(Invalid, err.Error(), "input", "config")
}

// bounds of how long contacts join and threads reopen.
const (
	maxJoinHours  = 365 * 24
	maxReopenDays = 3650
)

func checkJoining(hours, days *int) error {
	switch {
	case hours != nil && (*hours < 0 || *hours > maxJoinHours):
		return refuse(Invalid, fmt.Sprintf("joinWithinHours is 0 to %d", maxJoinHours), "input", "joinWithinHours")
	case days != nil && (*days < 0 || *days > maxReopenDays):
		return refuse(Invalid, fmt.Sprintf("reopenWithinDays is 0 to %d", maxReopenDays), "input", "reopenWithinDays")
	}
	return nil
}

// CreateChannel makes a channel; live at once.
func (d *Desk) CreateChannel(ctx context.Context, in ChannelCreateInput, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.ChannelWrite); err != nil {
		return gid.ID{}, err
	}
	if err := checkJoining(in.JoinWithinHours, in.ReopenWithinDays); err != nil {
		return gid.ID{}, err
	}
	k, ok := channels.Lookup(in.Kind)
	if !ok {
		return gid.ID{}, refuse(Invalid, "there is no such kind of channel", "input", "kind")
	}
	name, err := checkName(in.Name, "input", "name")
	if err != nil {
		return gid.ID{}, err
	}
	secrets := secretSet{}
	for _, s := range in.Secrets {
		secrets[s.Name] = secretValue{Value: s.Value, SetAt: d.now()}
	}
	s, err := d.checkConfig(k, in.Config, secrets)
	if err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"channelCreate", in}, func(ctx context.Context, w *work) (gid.ID, error) {
		if there, err := w.tx.Channel.Query().Where(channel.Name(name)).Exist(ctx); err != nil || there {
			return gid.ID{}, orDuplicate(err, "a channel of this name exists", "input", "name")
		}
		if err := firstError(w.queueExists(ctx, in.QueueID), w.carriesFlow(ctx, in.FlowID, s.line)); err != nil {
			return gid.ID{}, err
		}
		return w.writeChannel(ctx, k.Name, name, s.surface, in, secrets)
	})
}

func joinOpen(kind string) bool {
	k, _ := channels.Lookup(kind)
	return k.JoinOpen
}

func (w *work) queueExists(ctx context.Context, id *gid.ID) error {
	if id == nil {
		return nil
	}
	ok, err := w.tx.Queue.Query().Where(queue.ID(*id)).Exist(ctx)
	if err != nil {
		return fmt.Errorf("read queue: %w", err)
	}
	if !ok {
		return notFound("queue", "input", "queueId")
	}
	return nil
}

func (w *work) writeChannel(ctx context.Context, kind, name string, surface bool, in ChannelCreateInput, secrets secretSet) (gid.ID, error) {
	id := gid.Make(gid.Channel)
	sealed, err := sealSecrets(id, secrets)
	if err != nil {
		return gid.ID{}, err
	}
	hook, _ := crypt.Token(prefixHook)
	sealedHook, err := crypt.Current().Seal([]byte(hook), hookAD(id))
	if err != nil {
		return gid.ID{}, fmt.Errorf("seal address: %w", err)
	}
	config := in.Config
	if len(config) == 0 || string(config) == "null" {
		config = json.RawMessage("{}")
	}
	row := w.tx.Channel.Create().SetID(id).SetKind(kind).SetName(name).SetConfig(config).SetSecrets(sealed).SetHookSecret(sealedHook).SetNillableQueueID(in.QueueID).SetNillableFlowID(in.FlowID).
		SetNillableLocale(in.Locale).SetJoinOpen(deref(in.JoinOpen, joinOpen(kind))).SetJoinWithinHours(deref(in.JoinWithinHours, 72)).
		SetReopenWithinDays(deref(in.ReopenWithinDays, 14)).SetCreatedAt(w.at)
	if surface {
		public, _ := crypt.Token("site_")
		row.SetPublicKey(public[:31])
	}
	c, err := row.Save(ctx)
	if err != nil {
		return gid.ID{}, fmt.Errorf("write channel: %w", err)
	}
	w.emit(fact{typ: SettingChanged, subject: c.ID, version: c.Version})
	return c.ID, w.listPulls(ctx, c)
}

// UpdateChannel changes a channel; live at once.
func (d *Desk) UpdateChannel(ctx context.Context, id gid.ID, in ChannelUpdateInput, ifVersion *int, key *string) (gid.ID, error) {
	return d.changeChannel(ctx, id, ifVersion, key, []any{"channelUpdate", in}, func(ctx context.Context, w *work, c *ent.Channel, u *ent.ChannelUpdateOne) error {
		if err := checkJoining(in.JoinWithinHours, in.ReopenWithinDays); err != nil {
			return err
		}
		if in.Name != nil {
			n, err := checkName(*in.Name, "input", "name")
			if err != nil {
				return err
			}
			if there, err := w.tx.Channel.Query().Where(channel.Name(n), channel.IDNEQ(id)).Exist(ctx); err != nil || there {
				return orDuplicate(err, "a channel of this name exists", "input", "name")
			}
			u.SetName(n)
		}
		if len(in.Config) > 0 {
			secrets, err := d.channelSecrets(c)
			if err != nil {
				return err
			}
			k, _ := channels.Lookup(c.Kind)
			if _, err := d.checkConfig(k, in.Config, secrets); err != nil {
				return err
			}
			u.SetConfig(in.Config)
		}
		if in.QueueID.Set {
			if err := w.queueExists(ctx, in.QueueID.V); err != nil {
				return err
			}
			u.SetNillableQueueID(in.QueueID.V)
			if in.QueueID.V == nil {
				u.ClearQueueID()
			}
		}
		if err := w.flowChange(ctx, c, u, in.FlowID); err != nil {
			return err
		}
		u.SetNillableJoinOpen(in.JoinOpen).SetNillableJoinWithinHours(in.JoinWithinHours).SetNillableReopenWithinDays(in.ReopenWithinDays)
		return nil
	})
}

// flowChange sets or clears the flow of a channel.
func (w *work) flowChange(ctx context.Context, c *ent.Channel, u *ent.ChannelUpdateOne, to opt.ID) error {
	switch {
	case !to.Set:
		return nil
	case to.V == nil:
		u.ClearFlowID()
		return nil
	}
	o, err := w.runningChannel(ctx, c)
	if err != nil {
		return refuse(ChannelUnavailable, "the channel's settings do not work", "input", "flowId")
	}
	u.SetFlowID(*to.V)
	return w.carriesFlow(ctx, to.V, o.line() != nil)
}

// SetChannelSecret sets a secret; the one before it stays valid for a while.
func (d *Desk) SetChannelSecret(ctx context.Context, id gid.ID, in SecretInput, key *string) (gid.ID, error) {
	keep := deref(in.KeepPreviousSeconds, 0)
	if keep < 0 || keep > 7*24*3600 {
		return gid.ID{}, refuse(Invalid, "a secret is kept 0 to 604800 seconds", "input", "keepPreviousSeconds")
	}
	return d.changeChannel(ctx, id, nil, key, []any{"channelSecretSet", in}, func(_ context.Context, w *work, c *ent.Channel, u *ent.ChannelUpdateOne) error {
		secrets, err := d.channelSecrets(c)
		if err != nil {
			return err
		}
		old := secrets[in.Name]
		secrets[in.Name] = secretValue{Value: in.Value, SetAt: w.at}
		if keep > 0 && old.Value != "" {
			v := secrets[in.Name]
			v.Previous, v.PreviousUntil = old.Value, w.at.Add(time.Duration(keep)*time.Second)
			secrets[in.Name] = v
		}
		k, _ := channels.Lookup(c.Kind)
		if secrets[in.Name].Previous != "" && !rotates(k, in.Name) {
			return refuse(Invalid, "this secret has one value at a time", "input", "keepPreviousSeconds")
		}
		if _, err := d.checkConfig(k, c.Config, secrets); err != nil {
			return refuse(Invalid, "this kind has no such secret, or it has a wrong form", "input", "name")
		}
		sealed, err := sealSecrets(id, secrets)
		if err == nil {
			u.SetSecrets(sealed)
		}
		return err
	})
}

// EnableChannel switches a channel on or off. What waits stays and goes on later.
func (d *Desk) EnableChannel(ctx context.Context, id gid.ID, on bool, key *string) (gid.ID, error) {
	return d.switchChannel(ctx, id, on, nil, key)
}

func (d *Desk) changeChannel(ctx context.Context, id gid.ID, ifVersion *int, key *string, input []any, f func(context.Context, *work, *ent.Channel, *ent.ChannelUpdateOne) error) (gid.ID, error) {
	if err := need(ctx, viewer.ChannelWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, append(input, id, ifVersion), func(ctx context.Context, w *work) (gid.ID, error) {
		c, err := w.tx.Channel.Get(ctx, id)
		if ent.IsNotFound(err) {
			return gid.ID{}, notFound("channel", "id")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("read channel: %w", err)
		}
		if err := fits(c.Version, ifVersion); err != nil {
			return id, err
		}
		u := w.tx.Channel.UpdateOneID(id).Where(channel.Version(c.Version)).AddVersion(1).SetUpdatedAt(w.at)
		if err := f(ctx, w, c, u); err != nil {
			return id, err
		}
		n, err := u.Save(ctx)
		if ent.IsNotFound(err) {
			return id, refuse(StaleVersion, "somebody changed it meanwhile", "ifVersion")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("save channel: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: n.Version})
		return id, w.listPulls(ctx, n)
	})
}
