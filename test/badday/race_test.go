package badday_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"tributary/test/rig"
)

const (
	rounds = 1000 // of each race in each dialect
	units  = 1000 // what one agent can carry
	pairs  = 8    // races at a time
)

const (
	acceptDoc = `mutation($id:ID!){offerAccept(id:$id){offer{state} userErrors{code message conflict{id}}}}`
	claimDoc  = `mutation($id:ID!){interactionClaim(id:$id){interaction{state} userErrors{code message conflict{id}}}}`
)

// bid is one call in a race for an interaction.
type bid struct {
	interaction, agent, call string
	won                      bool
	code, conflict           string
	took                     time.Duration
	fault                    string // neither won nor refused
}

// served is how an interaction stands after the race.
type served struct {
	state, agent, conversation string
	open                       []string // whose assignments have not ended
}

// standing is all that stands after the races.
type standing struct {
	interactions map[string]served
	capacity     map[string]int // what each agent carries, as he is told
}

// TestAcceptAgainstClaim lets the offered agent accept while another able one claims, and TestClaimAgainstClaim two claim
// at once. The conditional update behind it cannot be taken out from outside, so the negative control is a forged
// history (TestRaceCheckerSees).
func TestAcceptAgainstClaim(t *testing.T) {
	each(t, func(t *testing.T, o rig.Options) {
		n := rig.Start(t, o)
		for range sets() {
			r := newRing(t, n, "AVAILABLE")
			offers := r.offers(t)
			r.fill(t)
			r.run(t, func(turn int) (one, two func() bid) {
				o := <-offers
				rival := r.agents[0]
				if rival == o.agent {
					rival = r.agents[1]
				}
				accept := func() bid { return call(o.agent, acceptDoc, o.id, o.interaction) }
				claim := func() bid { return call(rival, claimDoc, o.interaction, o.interaction) }
				if turn%2 == 0 {
					return accept, claim
				}
				return claim, accept
			})
		}
	})
}

// TestClaimAgainstClaim lets two agents take one waiting interaction at once.
func TestClaimAgainstClaim(t *testing.T) {
	each(t, func(t *testing.T, o rig.Options) {
		n := rig.Start(t, o)
		for range sets() {
			r := newRing(t, n, "BUSY") // no offers: both find it waiting
			waiting := r.waiting(t)
			r.run(t, func(turn int) (one, two func() bid) {
				i := <-waiting
				a, b := r.agents[turn%2], r.agents[1-turn%2]
				return func() bid { return call(a, claimDoc, i, i) }, func() bid { return call(b, claimDoc, i, i) }
			})
		}
	})
}

func sets() int {
	if long() {
		return 10
	}
	return 1
}

// ring is a workspace with two agents of one team, and a bridge into its queue.
type ring struct {
	*rig.Workspace
	queue  string
	bridge *rig.Bridge
	agents [2]*rig.Agent
}

func newRing(t *testing.T, n *rig.Node, state string) *ring {
	t.Helper()
	w := n.NewWorkspace(t)
	team := w.Team(t)
	r := &ring{Workspace: w, queue: w.Queue(t, team, rig.M{"offerSeconds": 600})}
	profile := w.Profile(t, units)
	for k, name := range []string{"Ann", "Ben"} {
		r.agents[k] = w.NewAgent(t, name, "agent", team)
		w.Carry(t, r.agents[k].ID, profile)
		r.agents[k].SetStatus(t, state)
	}
	r.bridge = w.NewBridge(t, "", r.queue, nil)
	return r
}

// fill makes interactions, each of a person of his own, a hundred in a request.
func (r *ring) fill(t *testing.T) {
	t.Helper()
	for range rounds / 100 {
		events := make([]rig.M, 100)
		for k := range events {
			events[k] = fresh("who is first?")
		}
		if code, body, err := r.bridge.Deliver(context.Background(), events...); err != nil || code != 200 {
			t.Fatalf("deliver: %d %s %v", code, body, err)
		}
	}
}

type offered struct {
	id, interaction string
	agent           *rig.Agent
}

// offers are the offers that both agents hear of.
func (r *ring) offers(t *testing.T) <-chan offered {
	t.Helper()
	out := make(chan offered, rounds)
	for _, a := range r.agents {
		s, err := a.Subscribe(context.Background(), `subscription{events(filter:{scope:MINE,types:[OFFER_CREATED]}){events{subjectId interactionId}}}`, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		go func() {
			for p := range s.C {
				for _, e := range p.At("data", "events", "events").List() {
					out <- offered{e.At("subjectId").String(), e.At("interactionId").String(), a}
				}
			}
		}()
	}
	return out
}

// waiting are the interactions in the queue, once all are there.
func (r *ring) waiting(t *testing.T) <-chan string {
	t.Helper()
	r.fill(t)
	out := make(chan string, rounds)
	rig.Eventually(t, 60*time.Second, "everything waits", func() bool {
		return r.Admin.Must(t, `query($q:[ID!]){pool(queueIds:$q,first:1){totalCount}}`, rig.M{"q": []string{r.queue}}).At("pool", "totalCount").Int() == rounds
	})
	for id := range r.standing(t).interactions {
		out <- id
	}
	return out
}

// run plays the rounds, some at a time, and judges them.
func (r *ring) run(t *testing.T, next func(turn int) (one, two func() bid)) {
	t.Helper()
	began := time.Now()
	turns, bids := make(chan int, rounds), make(chan bid, 2*rounds)
	for n := range rounds {
		turns <- n
	}
	close(turns)
	var all sync.WaitGroup
	for range pairs {
		all.Go(func() {
			for turn := range turns {
				one, two := next(turn)
				gate := make(chan struct{})
				var both sync.WaitGroup
				for _, f := range []func() bid{one, two} {
					both.Go(func() {
						<-gate
						bids <- f()
					})
				}
				close(gate)
				both.Wait()
			}
		})
	}
	all.Wait()
	close(bids)
	var list []bid
	for b := range bids {
		list = append(list, b)
	}
	s := r.standing(t)
	for _, a := range r.agents {
		s.capacity[a.ID] = r.Used(t, a.ID)
	}
	report(t, judge(list, s, rounds))
	tell(t, list, time.Since(began))
}

// call makes one bid.
func call(a *rig.Agent, doc, id, interaction string) bid {
	began := time.Now()
	o := a.Try(context.Background(), doc, rig.M{"id": id})
	b := bid{interaction: interaction, agent: a.ID, call: doc[len("mutation($id:ID!){"):][:5], won: o.Done(), code: o.Refused.Code, conflict: o.Refused.Conflict, took: time.Since(began)}
	if !o.Done() && o.Refused.Code == "" {
		b.fault = o.String()
	}
	return b
}

// standing reads how every interaction of the queue stands.
func (r *ring) standing(t *testing.T) standing {
	t.Helper()
	s := standing{map[string]served{}, map[string]int{}}
	query := `query($q:[ID!],$a:Cursor){interactions(filter:{queueIds:$q},first:100,after:$a){nodes{id state agent{id} conversation{id} assignments{endedAt agent{id}}} pageInfo{hasNextPage endCursor}}}`
	vars := rig.M{"q": []string{r.queue}}
	for {
		page := r.Admin.Must(t, query, vars).At("interactions")
		for _, i := range page.At("nodes").List() {
			x := served{state: i.At("state").String(), agent: i.At("agent", "id").String(), conversation: i.At("conversation", "id").String()}
			for _, as := range i.At("assignments").List() {
				if as.At("endedAt").Nil() {
					x.open = append(x.open, as.At("agent", "id").String())
				}
			}
			s.interactions[i.At("id").String()] = x
		}
		if !page.At("pageInfo", "hasNextPage").Bool() {
			return s
		}
		vars["a"] = page.At("pageInfo", "endCursor").String()
	}
}

// judge says what is wrong with a history of races and what stands after it.
func judge(bids []bid, s standing, want int) (found []string) {
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	races := map[string][]bid{}
	for _, b := range bids {
		races[b.interaction] = append(races[b.interaction], b)
	}
	if len(races) != want {
		add("%d interactions were raced for, not %d", len(races), want)
	}
	for id, list := range races {
		winner := ""
		for _, b := range list {
			if b.won && winner != "" {
				add("%s: both %s and %s won", id, winner, b.agent)
			}
			if b.won {
				winner = b.agent
			}
		}
		if winner == "" {
			add("%s: nobody won: %+v", id, list)
			continue
		}
		for _, b := range list {
			late := b.call == "offer" && b.code == "OFFER_EXPIRED"
			if !b.won && !late && (b.code != "ALREADY_TAKEN" || b.conflict != winner) {
				add("%s: the loser of a %s got %q, conflict %q, %s; the winner is %s", id, b.call, b.code, b.conflict, b.fault, winner)
			}
		}
		i := s.interactions[id]
		if i.state != "ACTIVE" || i.agent != winner {
			add("%s: %s won, but it is %s with %q", id, winner, i.state, i.agent)
		}
		if !slices.Equal(i.open, []string{winner}) {
			add("%s: open assignments of %v, the winner is %s", id, i.open, winner)
		}
	}
	return append(found, overloaded(s)...)
}

// overloaded compares what each agent is told to carry with the conversations that he serves.
func overloaded(s standing) (found []string) {
	serves := map[string]map[string]bool{}
	for _, i := range s.interactions {
		if i.state == "ACTIVE" {
			if serves[i.agent] == nil {
				serves[i.agent] = map[string]bool{}
			}
			serves[i.agent][i.conversation] = true
		}
	}
	for agent, used := range s.capacity {
		if used != len(serves[agent]) {
			found = append(found, fmt.Sprintf("agent %s carries %d, but serves %d conversations", agent, used, len(serves[agent])))
		}
	}
	return found
}

// tell prints who won how often, and how long the calls took.
func tell(t *testing.T, list []bid, took time.Duration) {
	t.Helper()
	wins, times := map[string]int{}, make([]time.Duration, 0, len(list))
	for _, b := range list {
		times = append(times, b.took)
		if b.won {
			wins[b.call]++
		}
	}
	slices.Sort(times)
	figures(t, "%d races in %s, wins by call %v, p50 %s, p99 %s, slowest %s", len(list)/2, took.Round(time.Millisecond), wins,
		times[len(times)/2].Round(time.Millisecond), times[len(times)*99/100].Round(time.Millisecond), times[len(times)-1].Round(time.Millisecond))
}

// TestRaceCheckerSees is the negative control of the races.
func TestRaceCheckerSees(t *testing.T) {
	t.Parallel()
	history := func() ([]bid, standing) {
		return []bid{{interaction: "i", agent: "ann", call: "offer", won: true}, {interaction: "i", agent: "ben", call: "inter", code: "ALREADY_TAKEN", conflict: "ann"}},
			standing{map[string]served{"i": {"ACTIVE", "ann", "c", []string{"ann"}}}, map[string]int{"ann": 1, "ben": 0}}
	}
	bids, s := history()
	report(t, judge(bids, s, 1))
	for what, forge := range map[string]func(b []bid, s *standing){
		"two winners":              func(b []bid, _ *standing) { b[1].won = true },
		"no winner":                func(b []bid, _ *standing) { b[0].won = false },
		"a winner who is not told": func(b []bid, _ *standing) { b[1].conflict = "" },
		"another code":             func(b []bid, _ *standing) { b[1].code = "CAPACITY_FULL" },
		"an expired claim":         func(b []bid, _ *standing) { b[1].code, b[1].conflict = "OFFER_EXPIRED", "" },
		"an answer without a code": func(b []bid, _ *standing) { b[1].code, b[1].fault = "", "INTERNAL" },
		"another server":           func(_ []bid, s *standing) { s.interactions["i"] = served{"ACTIVE", "ben", "c", []string{"ann"}} },
		"an interaction that is lost": func(_ []bid, s *standing) {
			delete(s.interactions, "i")
		},
		"two assignments": func(_ []bid, s *standing) {
			s.interactions["i"] = served{"ACTIVE", "ann", "c", []string{"ann", "ben"}}
		},
		"a unit kept by the loser":  func(_ []bid, s *standing) { s.capacity["ben"] = 1 },
		"a unit lost by the winner": func(_ []bid, s *standing) { s.capacity["ann"] = 0 },
	} {
		bids, s := history()
		forge(bids, &s)
		wants(t, what, judge(bids, s, 1))
	}
	bids, s = history()
	wants(t, "a race that was not run", judge(bids, s, 2))
}
