package email

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"tributary/channels"
	"tributary/channels/channeltest"
)

func TestConformance(t *testing.T) {
	channeltest.Run(t, channeltest.Suite{Kind: "email", New: func(t *testing.T) channeltest.Fake {
		return &fake{t: t, world: newWorld(t)}
	}})
}

// TestConformanceWithSentFolder: the same, and sends in doubt can be looked up.
func TestConformanceWithSentFolder(t *testing.T) {
	channeltest.Run(t, channeltest.Suite{Kind: "email", New: func(t *testing.T) channeltest.Fake {
		return &fake{t: t, world: newWorld(t), change: settings{"sentFolder": "Sent", "afterFetch": "seen"}}
	}})
}

// fake plays the suite's provider. Its servers have no clock: a mail server's
// time is in no reply.
type fake struct {
	*world
	t      *testing.T
	change settings
	filled int
}

func (f *fake) Config() (json.RawMessage, map[string][]string) {
	return encode(f.t, f.settings(f.change)), map[string][]string{"imapPassword": {secret}}
}

func (f *fake) Advance(time.Duration) {}

func (f *fake) Outbound(id string) channels.Outbound { return outbound(id) }

func (f *fake) Received() <-chan string { return f.received }

func (f *fake) Timeout() time.Duration { return finalPatience }

func (f *fake) Sends(id string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.taken {
		if e.id == id {
			n++
		}
	}
	return n
}

func (f *fake) Play(o channeltest.Outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.play = append(f.play, func(_ *envelope, c *smtp.Conn) error {
		switch o {
		case channeltest.Permanent:
			return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "This is spam"}
		case channeltest.Temporary:
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Not now"}
		case channeltest.RetryAfter:
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: fmt.Sprintf("Greylisted, try again in %d seconds", int(channeltest.RetryWait.Seconds()))}
		case channeltest.Lost:
			return c.Conn().Close()
		case channeltest.Hangs:
			<-f.gone
		}
		return nil
	})
}

func (f *fake) Fill(n int) {
	for range n {
		f.filled++
		f.arrive(f.t, "INBOX", fmt.Sprintf("mail %d", f.filled), channeltest.Start)
	}
}

func (f *fake) Refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.password = "changed by the provider"
}
