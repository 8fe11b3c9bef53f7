package desk_test

import (
	"context"
	"testing"

	"tributary/channels"
	"tributary/desk/desktest"
)

// Health names who leads what; what channels lock, and whose tokens are being refreshed, is nobody's to read.
func TestLocksOfChannelsAreNoLeaderships(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		lock, err := w.Desk.Host.Lock.Acquire(t.Context(), "stream")
		if err != nil {
			t.Fatal(err)
		}
		// Whoever the process acts for; none of them sees the row.
		for credential, ctx := range map[string]context.Context{"a": t.Context(), "b": w.Sys, "c": w.Admin} {
			_, err = w.Desk.Host.Tokens.Use(ctx, "acme", credential, func(context.Context, channels.Token) (channels.Token, error) {
				h, err := w.Desk.Health(w.Admin)
				if err != nil || len(h.Leaders) != 1 || h.Leaders[0].Name != "router" {
					t.Errorf("leaders are %v, %v", h, err)
				}
				return channels.Token{Value: "value"}, nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		if err := lock.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
