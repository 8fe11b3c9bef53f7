package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/channel"
	"tributary/internal/clean"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

type (
	// ChannelTestTarget is where a trial sends to.
	ChannelTestTarget struct {
		IdentityKind, Value string
		Text                *string
	}
	// ChannelTest is what a trial of a channel gave.
	ChannelTest struct {
		Ok    bool
		Steps []*ChannelTestStep
	}
	// ChannelTestStep is one step of it.
	ChannelTestStep struct {
		Name         string
		Ok, Skipped  bool
		Detail       *string
		Milliseconds int
	}
)

const (
	testsPerMinute = 10
	testPatience   = 15 * time.Second
	testText       = "This is a test message. Nothing needs to be done."
)

// trial is a channel being tried, apart from the one that runs: the row as it is now, also a paused one.
type trial struct {
	*Desk
	row  *ent.Channel
	kind channels.Kind
	open channels.Channel
	out  ChannelTest
}

// TestChannel opens a channel with its settings, asks its provider whether the credentials work and sends one message to
// the address that the caller names. It stores nothing; the log of this node says who did it.
func (d *Desk) TestChannel(ctx context.Context, id gid.ID, to *ChannelTestTarget) (*ChannelTest, error) {
	if err := need(ctx, viewer.ChannelWrite); err != nil {
		return nil, err
	}
	row, err := d.db.Channel.Query().Where(channel.ID(id)).Only(within(ctx))
	if ent.IsNotFound(err) {
		return nil, notFound("channel", "id")
	}
	if err != nil {
		return nil, fmt.Errorf("read channel: %w", err)
	}
	if err := d.limited(ctx, "channel.test|"+id.String(), testsPerMinute, time.Minute); err != nil {
		return nil, err
	}
	k, _ := channels.Lookup(row.Kind)
	t := &trial{Desk: d, row: row, kind: k}
	if to != nil && !slices.Contains(k.Identities, to.IdentityKind) {
		return nil, refuse(Invalid, "this kind of channel knows "+strings.Join(k.Identities, ", "), "sendTo", "identityKind")
	}
	d.Log.InfoContext(ctx, "channel is tried", "channel", id, "actor", viewer.From(ctx).Actor, "sends", to != nil)
	if t.step("settings", t.settings) {
		defer t.close(ctx)
		if err := t.provider(ctx, to); err != nil {
			return nil, err
		}
	}
	t.out.Ok = !slices.ContainsFunc(t.out.Steps, func(s *ChannelTestStep) bool { return !s.Ok && !s.Skipped })
	return &t.out, nil
}

// step runs one step and notes it; false: it failed.
func (t *trial) step(name string, f func() error) bool {
	began := time.Now()
	err := f()
	s := &ChannelTestStep{Name: name, Ok: err == nil, Milliseconds: int(time.Since(began) / time.Millisecond)}
	if err != nil {
		why := explain(err)
		s.Detail = &why
	}
	t.out.Steps = append(t.out.Steps, s)
	return err == nil
}

func (t *trial) skip(name, why string) {
	t.out.Steps = append(t.out.Steps, &ChannelTestStep{Name: name, Skipped: true, Detail: &why})
}

// settings opens the channel as its row says.
func (t *trial) settings() error {
	if t.kind.Open == nil {
		return channels.ConfigError(nil).WithText("this build knows no such kind of channel")
	}
	secrets, err := t.channelSecrets(t.row)
	if err != nil {
		return err
	}
	cfg, err := channels.DecodeConfig(t.kind, t.row.Config, secrets.valid(t.now()))
	if err != nil {
		return err
	}
	t.open, err = t.kind.Open(cfg, t.Host)
	return err
}

func (t *trial) close(ctx context.Context) {
	if err := t.open.Close(); err != nil {
		t.Log.WarnContext(ctx, "close channel", "channel", t.row.ID, "error", err)
	}
}

// provider asks, then sends. What the channel cannot do at all is refused where it was asked for, and named where not.
func (t *trial) provider(ctx context.Context, to *ChannelTestTarget) error {
	_, surface := t.open.(channels.Surface)
	sender, sends := t.open.(channels.Sender)
	switch {
	case to != nil && surface:
		return refuse(NotSupported, "this kind has no provider: its visitors use the API itself", "sendTo")
	case to != nil && !sends:
		return refuse(NotSupported, "this channel only takes in", "sendTo")
	}
	var letter channels.Outbound
	if to != nil {
		var err error
		if letter, err = t.letter(*to); err != nil {
			return err
		}
	}
	checker, asks := t.open.(channels.HealthChecker)
	switch {
	case surface:
		t.skip("credentials", "this kind has no provider")
	case !asks:
		t.skip("credentials", "the provider cannot be asked: send a message")
	case !t.step("credentials", func() error { return t.patiently(ctx, checker.CheckHealth) }):
		return nil
	}
	if to == nil {
		return nil
	}
	t.step("send", func() error {
		return t.patiently(ctx, func(ctx context.Context) error {
			_, err := sender.Send(ctx, letter)
			return err
		})
	})
	return nil
}

func (t *trial) patiently(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, testPatience)
	defer cancel()
	return f(ctx)
}

// letter is the message of a trial. Its id is that of no row, so a receipt for it finds nothing.
func (t *trial) letter(to ChannelTestTarget) (channels.Outbound, error) {
	value := clean.Line(to.Value, 500)
	if strings.TrimSpace(value) == "" {
		return channels.Outbound{}, refuse(Required, "an address is needed", "sendTo", "value")
	}
	text := deref(to.Text, testText)
	if n := len([]rune(text)); n == 0 || n > 1000 {
		return channels.Outbound{}, refuse(Invalid, "a text has 1 to 1000 characters", "sendTo", "text")
	}
	key := channels.IdentityKey{Kind: to.IdentityKind, Value: value}
	switch to.IdentityKind {
	case channels.IdentityExternal, channels.IdentityPhone, channels.IdentityEmail:
	default:
		key.Scope = channels.ScopeChannel
	}
	return channels.Outbound{
		ID: gid.Make(gid.Message).String(), ThreadKey: value, To: []channels.IdentityKey{key}, Attempt: 1,
		Parts: []channels.Part{{Type: channels.PartText, Text: text}},
	}, nil
}

// classText says what a class of failure means, where the kind has no better words.
var classText = map[channels.Class]string{
	channels.ClassRetry: "the provider could not be reached", channels.ClassThrottled: "the provider wants us to be slower",
	channels.ClassWindowClosed: "the recipient may not be written to now", channels.ClassBlocked: "the recipient refuses us",
	channels.ClassInvalidRecipient: "there is no such recipient", channels.ClassContentRejected: "the provider refuses this content",
	channels.ClassAuthExpired: "the credentials have run out", channels.ClassAuthBroken: "the credentials are refused",
	channels.ClassConfig: "a setting is wrong", channels.ClassBalance: "the provider wants money",
	channels.ClassPermanent: "the provider refuses it", channels.ClassUncertain: "the provider may have taken it",
}

// explain is an error for people: never its chain, which may hold addresses.
func explain(err error) string {
	var f *channels.FieldError
	if errors.As(err, &f) {
		return f.Error()
	}
	return reason(err, classText[channels.ClassOf(err)])
}
