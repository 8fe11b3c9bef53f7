package channels_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tributary/channels"
)

type clock struct{}

func (clock) Now() time.Time                         { return time.Now() }
func (clock) After(d time.Duration) <-chan time.Time { return time.After(d) }

func kind(name string, config any) channels.Kind {
	return channels.Kind{
		Name: name, Title: name, Config: config, Live: channels.Asynchronous,
		Open: func(any, channels.Host) (channels.Channel, error) { return nil, nil },
	}
}

func init() {
	for _, name := range []string{"test_b", "test_a", "test_twice"} {
		channels.Register(kind(name, struct{}{}))
	}
}

func TestRegisterAndLookup(t *testing.T) {
	t.Parallel()
	if _, ok := channels.Lookup("test_a"); !ok {
		t.Error("a registered kind is not found")
	}
	if _, ok := channels.Lookup("test_c"); ok {
		t.Error("an unregistered kind is found")
	}
	list := channels.Kinds()
	for i := 1; i < len(list); i++ {
		if list[i-1].Name >= list[i].Name {
			t.Errorf("%q stands before %q", list[i-1].Name, list[i].Name)
		}
	}
}

func TestRegisterPanics(t *testing.T) {
	t.Parallel()
	noOpen := kind("test_no_open", struct{}{})
	noOpen.Open = nil
	noTitle := kind("test_no_title", struct{}{})
	noTitle.Title = ""
	noLive := kind("test_no_live", struct{}{})
	noLive.Live = "sometimes"
	for name, k := range map[string]channels.Kind{
		"twice":        kind("test_twice", struct{}{}),
		"bad name":     kind("Test", struct{}{}),
		"no open":      noOpen,
		"no title":     noTitle,
		"no liveness":  noLive,
		"no config":    kind("test_none", nil),
		"no struct":    kind("test_int", 7),
		"no json name": kind("test_tag", struct{ A string }{}),
		"bad type": kind("test_map", struct {
			A map[string]int `json:"a"`
		}{}),
		"bad default": kind("test_default", struct {
			A int `json:"a" default:"many"`
		}{}),
		"bad format": kind("test_format", struct {
			A string `json:"a" format:"colour"`
		}{}),
		"bad bound": kind("test_bound", struct {
			A string `json:"a" max:"lots"`
		}{}),
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			channels.Register(k)
		}()
	}
}

func TestErrorClasses(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	for want, err := range map[channels.Class]error{
		channels.ClassRetry:             cause,
		channels.ClassThrottled:         channels.Throttled(cause, channels.ScopeOfRecipient, time.Second),
		channels.ClassWindowClosed:      channels.WindowClosed(cause),
		channels.ClassBlocked:           channels.Blocked(cause),
		channels.ClassInvalidRecipient:  channels.InvalidRecipient(cause),
		channels.ClassContentRejected:   channels.ContentRejected(cause),
		channels.ClassAttachmentExpired: channels.AttachmentExpired(cause),
		channels.ClassAuthExpired:       channels.AuthExpired(cause),
		channels.ClassAuthBroken:        channels.AuthBroken(cause),
		channels.ClassConfig:            channels.ConfigError(cause),
		channels.ClassBalance:           channels.Balance(cause),
		channels.ClassPermanent:         channels.Permanent(cause),
		channels.ClassUncertain:         channels.Uncertain(cause),
	} {
		wrapped := fmt.Errorf("send: %w", err)
		if got := channels.ClassOf(wrapped); got != want {
			t.Errorf("class is %q, want %q", got, want)
		}
		if !errors.Is(wrapped, cause) {
			t.Errorf("class %q hides its cause", want)
		}
	}
	if got := channels.ClassOf(nil); got != "" {
		t.Errorf("class of nil is %q", got)
	}
	err := channels.RetryAfter(cause, 3*time.Second).WithCode("E7").WithText("later")
	if channels.RetryAfterOf(err) != 3*time.Second || channels.ClassOf(err) != channels.ClassRetry {
		t.Errorf("RetryAfter gave %+v", err)
	}
	if text := err.Error(); text != "retry (E7): cause" || err.Text != "later" {
		t.Errorf("text is %q", text)
	}
	if got := channels.RetryAfterOf(channels.Throttled(cause, channels.ScopeOfChannel, -time.Second)); got != 0 {
		t.Errorf("a wait in the past is %v, want 0", got)
	}
}

func TestInboundRoundTrip(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 8, 0, 0, 123, time.UTC)
	key := channels.IdentityKey{Kind: "phone", Value: "+8613800138000", Level: channels.ChannelProved}
	in := channels.Inbound{
		Kind: channels.InboundMessage, ExternalID: "e1", Sender: []channels.IdentityKey{key}, SenderName: "王芳",
		Proof: channels.Proof{Kind: channels.ProofSignature, Scheme: "hmac-sha256", KeyID: "current"},
		To:    []channels.Address{{IdentityKey: key, Name: "desk", Own: true}}, ThreadKey: "t", InReplyTo: "e0",
		Parts: []channels.Part{
			{Type: channels.PartText, Text: "退货"},
			{Type: channels.PartImage, Media: &channels.MediaRef{Kind: channels.MediaImage, URL: "https://x.example/a", Size: 7, ExpiresAt: at}},
			{Type: channels.PartLocation, Location: &channels.Location{Latitude: 1, Longitude: 2, Label: "here"}},
		},
		Grant:      &channels.WindowGrant{Trigger: "message", Until: at, Count: 5},
		OccurredAt: at, MessageID: "msg_1", TargetID: "e0", State: channels.DeliveryFailed, Reason: "r",
		Raw: channels.Raw{ContentType: "application/json", Bytes: []byte{0, 255}},
	}
	stored, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var back channels.Inbound
	if err := json.Unmarshal(stored, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(in, back) {
		t.Errorf("read\n%+v\nwant\n%+v", back, in)
	}
	if media := back.Media(); len(media) != 1 || media[0].URL != "https://x.example/a" {
		t.Errorf("media are %+v", media)
	}
	if !strings.Contains(string(stored), `"level":"CHANNEL_PROVED"`) {
		t.Errorf("level is not stored by name: %s", stored)
	}
}

func TestLevelNames(t *testing.T) {
	t.Parallel()
	if channels.Claimed >= channels.ChannelProved || channels.ChannelProved >= channels.Strong {
		t.Error("levels are not in order")
	}
	var l channels.Level
	if err := l.UnmarshalText([]byte("MAGIC")); err == nil {
		t.Error("an unknown level was read")
	}
	if _, err := channels.Level(9).MarshalText(); err == nil {
		t.Error("an unknown level was written")
	}
}

func TestTextLimit(t *testing.T) {
	t.Parallel()
	const text = "a王😀"
	for unit, want := range map[channels.TextUnit]int{channels.TextRunes: 3, channels.TextUTF16: 4, channels.TextBytes: 8} {
		limit := channels.TextLimit{Unit: unit, Max: want}
		if got := limit.Length(text); got != want || !limit.Allows(text) {
			t.Errorf("%s: length %d, want %d and allowed", unit, got, want)
		}
		if limit.Max--; limit.Allows(text) {
			t.Errorf("%s: one too many is allowed", unit)
		}
	}
	if !(channels.TextLimit{}).Allows(text) {
		t.Error("no limit refuses")
	}
}

func TestAllowsOrigin(t *testing.T) {
	t.Parallel()
	rules := channels.SurfaceRules{AllowedOrigins: []string{"https://www.example.com", "https://*.example.org"}}
	for origin, want := range map[string]bool{
		"https://www.example.com": true, "https://WWW.example.com": true, "": true,
		"https://a.example.org": true, "https://a.b.example.org": true,
		"http://www.example.com": false, "https://www.example.com:8443": false, "https://example.org": false,
		"https://evilexample.org": false, "https://a.example.org.evil.com": false, "null": false,
		"https://x@a.example.org": false, "https://a.example.org/path": false, "http://a.example.org": false,
	} {
		if got := rules.AllowsOrigin(origin); got != want {
			t.Errorf("origin %q: %v, want %v", origin, got, want)
		}
	}
	if !(channels.SurfaceRules{}).AllowsOrigin("https://any.example") {
		t.Error("an empty list refuses")
	}
}

func TestWithTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := channels.WithTimeout(t.Context(), clock{}, 10*time.Second)
		time.Sleep(10*time.Second - time.Nanosecond)
		synctest.Wait()
		if ctx.Err() != nil {
			t.Error("ended early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			t.Errorf("cause is %v", context.Cause(ctx))
		}
		cancel()
		ctx, cancel = channels.WithTimeout(t.Context(), clock{}, time.Hour)
		cancel()
		if !errors.Is(ctx.Err(), context.Canceled) {
			t.Errorf("cancelled: %v", ctx.Err())
		}
	})
}
