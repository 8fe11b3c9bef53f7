package desk_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"tributary/channels"
	"tributary/desk/desktest"
	"tributary/ent/pull"
	"tributary/internal/dial"
)

// Whoever set up a channel must read why it does not work, without the operator's log: here the words for a stream that
// cannot be fetched.
func TestAServerThatIsNotReachedSaysWhy(t *testing.T) {
	_, refused := dial.New(nil).DialContext(t.Context(), "mail", "tcp", "127.0.0.1:993")
	each(t, func(t *testing.T, w *desktest.World) {
		w.Puller()
		for _, x := range []struct {
			cause error
			want  string
		}{
			{fmt.Errorf("connect: %w", refused), "--allow-dial"},
			{&net.DNSError{Err: "no such host", Name: "nope"}, "name cannot be resolved"},
			{closedPort(t), "nobody answers"},
			{context.DeadlineExceeded, "did not answer in time"},
			{channels.RetryAfter(refused, 0).WithText("Its own words."), "Its own words."},
			{channels.RetryAfter(nil, 0), "the provider cannot be read"},
		} {
			p := w.Post(nil)
			p.Box.Fail(x.cause)
			w.Eventually(x.want, func() bool {
				row, err := w.Store.Ent.Pull.Query().Where(pull.ChannelID(p.ID)).Only(w.Sys)
				ok(t, err)
				return row.Error != nil && strings.Contains(*row.Error, x.want)
			})
		}
	})
}

// closedPort is what dialling a port gives where nobody listens.
func closedPort(t *testing.T) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	ok(t, l.Close())
	_, err = net.Dial("tcp", l.Addr().String())
	return err
}
