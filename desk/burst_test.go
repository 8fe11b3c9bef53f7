package desk_test

import (
	"testing"

	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/rawinbound"
)

// A panic in a kind ends neither the program nor the stream: it is shown, and the stream is begun anew.
func TestAKindThatPanicsIsFetchedAgain(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p := w.Post(nil)
		health := func() *ent.Pull {
			all, err := w.Desk.Pulls(w.Admin)
			ok(t, err)
			return all[p.ID][0]
		}
		well := func(letters int) func() bool {
			return func() bool {
				n, err := w.Store.Ent.RawInbound.Query().Where(rawinbound.ChannelID(p.ID)).Count(w.Sys)
				ok(t, err)
				h := health()
				return n == letters && h.Error == nil && h.Watching
			}
		}
		w.Puller()
		w.Eventually("it is watched", well(0))
		for n, doing := range []desktest.Doing{desktest.Fetching, desktest.Watching} {
			p.Box.Burst(doing)
			p.Box.Add(p.Mail(w.Unique("mail"), "x@c.test", "Hi", "one"))
			w.Eventually("the failure to "+string(doing)+" is shown", func() bool {
				h := health()
				return h.Error != nil && h.ErrorAt != nil && !h.Watching
			})
			p.Box.Burst("")
			w.Eventually("the letter is fetched, and the next one is waited for", well(n+1))
		}
	})
}
