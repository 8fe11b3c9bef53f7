package badday_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"tributary/test/rig"
)

const said = `subscription($a:EventCursor){events(after:$a,filter:{scope:ALL}){events{type subject{__typename id
 ... on Message{text} ... on Note{text} ... on Conversation{id lastMessage{text} timeline(first:5){nodes{__typename ... on MessageItem{message{text}} ... on NoteItem{note{text}}}}}
 ... on Interaction{withheld messages(first:5){nodes{text}}}}}}}`

// TestWhatARestrictedQueueHoldsReachesItsMembersAlone: two admins of one role and one reach follow the same document, one
// is a member of the restricted queue's team. One encoding for both would give the secret away. Then the restriction
// falls on a queue that is followed already.
func TestWhatARestrictedQueueHoldsReachesItsMembersAlone(t *testing.T) {
	each(t, func(t *testing.T, o rig.Options) {
		n := rig.Start(t, o)
		w := n.NewWorkspace(t)
		team := w.Admin.Must(t, `mutation{teamCreate(input:{name:"medical"}){team{id} userErrors{code message}}}`, nil).At("teamCreate", "team", "id").String()
		queue := w.Admin.Must(t, `mutation($t:ID!){queueCreate(input:{name:"medical",teamId:$t,restricted:true}){queue{id restricted} userErrors{code message}}}`, rig.M{"t": team}).
			At("queueCreate", "queue", "id").String()
		member, other := w.NewAgent(t, "Member", "admin", team), w.NewAgent(t, "Other", "admin")
		start := cursor(t, w.Admin)
		inside, outside := follow(t, member.Client, start), follow(t, other.Client, start)

		v := n.Visit(t, w.Site(t, queue), "")
		v.Say(t, "a secret word")
		rig.Eventually(t, 20*time.Second, "the member reads it", func() bool { return strings.Contains(inside.text(), "a secret word") })
		id := conversationOf(t, member.Client)
		member.Must(t, `mutation($c:ID!,$i:ID!){noteCreate(input:{conversationId:$c,interactionId:$i,text:"a secret note"}){note{id} userErrors{code message}}}`,
			rig.M{"c": id, "i": firstContact(t, member.Client)})
		rig.Eventually(t, 20*time.Second, "the member reads the note", func() bool { return strings.Contains(inside.text(), "a secret note") })
		rig.Eventually(t, 20*time.Second, "the other one hears that something happened", func() bool { return strings.Contains(outside.text(), "NOTE_CREATED") })
		for _, all := range []string{
			outside.text(), other.Must(t, `query($a:EventCursor){events(after:$a,filter:{scope:ALL}){events{type subject{... on Message{text} ... on Note{text}}}}}`, rig.M{"a": start}).JSON(),
			other.Must(t, `{conversations(first:5){nodes{lastMessage{text} timeline(first:9){nodes{... on MessageItem{message{text}} ... on NoteItem{note{text}}}}}} interactions(first:5){nodes{withheld messages(first:5){totalCount nodes{text}}}}}`, nil).JSON(),
		} {
			if strings.Contains(all, "secret") {
				t.Errorf("who is no member reads: %s", all)
			}
		}
		if got := other.Must(t, `{conversations(first:5){totalCount} interactions(first:5){nodes{withheld}}}`, nil); got.At("conversations", "totalCount").Int() != 1 || !got.At("interactions", "nodes", 0, "withheld").Bool() {
			t.Errorf("the placeholder: %s", got.JSON())
		}

		// In force on a stream that runs: the sockets are proved again every five seconds.
		member.Must(t, `mutation($q:ID!){queueUpdate(id:$q,input:{restricted:false}){queue{id} userErrors{code message}}}`, rig.M{"q": queue})
		rig.Eventually(t, 30*time.Second, "the lifted restriction reaches a running stream", func() bool {
			v.Say(t, "an open word")
			time.Sleep(time.Second)
			return strings.Contains(outside.text(), "an open word")
		})
	})
}

// followed collects what a stream brings.
type followed struct {
	frames chan string
	all    strings.Builder
}

func follow(t *testing.T, c *rig.Client, after string) *followed {
	t.Helper()
	s, err := c.Subscribe(context.Background(), said, rig.M{"a": after})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	f := &followed{frames: make(chan string, 4096)}
	go func() {
		for v := range s.C {
			f.frames <- v.JSON()
		}
		f.frames <- fmt.Sprint("ended: ", s.Err)
	}()
	return f
}

func (f *followed) text() string {
	for {
		select {
		case s := <-f.frames:
			f.all.WriteString(s)
		default:
			return f.all.String()
		}
	}
}

func conversationOf(t *testing.T, c *rig.Client) string {
	t.Helper()
	return c.Must(t, `{conversations(first:1){nodes{id}}}`, nil).At("conversations", "nodes", 0, "id").String()
}

func firstContact(t *testing.T, c *rig.Client) string {
	t.Helper()
	return c.Must(t, `{interactions(first:1){nodes{id}}}`, nil).At("interactions", "nodes", 0, "id").String()
}
